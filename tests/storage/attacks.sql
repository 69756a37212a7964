-- One attack a line.
-- the own file and its log
COPY (SELECT 'x'::BLOB) TO 'telltale.duckdb' (FORMAT blob, USE_TMP_FILE false)
COPY (SELECT from_hex('00')) TO 'telltale.duckdb.wal' (FORMAT blob)
COPY (SELECT 1) TO 'telltale.duckdb.wal.recovery' (FORMAT blob)
COPY calls TO 'x.csv'
COPY calls FROM 'x.csv'
COPY FROM DATABASE telltale TO memory
EXPORT DATABASE 'x'
IMPORT DATABASE 'x'
SELECT * FROM read_blob('telltale.duckdb')
SELECT * FROM read_duckdb('telltale.duckdb', table_name := 'calls')
-- files
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_csv_auto('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_json('/etc/passwd')
SELECT * FROM read_json_objects('/etc/passwd')
SELECT * FROM read_ndjson('/etc/passwd')
SELECT * FROM read_parquet('x.parquet')
SELECT * FROM parquet_scan('x.parquet')
SELECT * FROM parquet_metadata('x.parquet')
SELECT * FROM parquet_schema('x.parquet')
SELECT * FROM sniff_csv('/etc/passwd')
SELECT * FROM glob('/etc/*')
SELECT * FROM '/etc/passwd'
SELECT * FROM 'x.parquet'
SELECT * FROM "/etc/passwd"
SELECT * FROM 'https://example.com/x.csv'
SELECT * FROM read_csv('s3://bucket/x.csv')
FROM read_text('/etc/passwd')
TABLE '/etc/passwd'
SELECT (SELECT content FROM read_text('/etc/passwd'))
SELECT * FROM calls WHERE tool IN (SELECT content FROM read_text('/etc/passwd'))
SELECT * FROM calls JOIN read_text('/etc/passwd') ON true
SELECT * FROM calls, LATERAL (SELECT * FROM read_text('/etc/passwd'))
SELECT 1 ORDER BY (SELECT count(*) FROM glob('/*'))
SELECT 1 LIMIT (SELECT count(*) FROM glob('/*'))
SELECT count(*) OVER (ORDER BY (SELECT 1 FROM glob('/*'))) FROM calls
SELECT count(*) FILTER (WHERE (SELECT true FROM glob('/*'))) FROM calls
SELECT list_transform([1], lambda x: (SELECT file FROM glob('/*') LIMIT 1))
SELECT CASE WHEN true THEN (SELECT file FROM glob('/*') LIMIT 1) END
VALUES ((SELECT file FROM glob('/*') LIMIT 1))
SELECT 1 UNION ALL SELECT 2 FROM glob('/*')
SELECT * FROM (PIVOT (SELECT * FROM glob('/*')) ON file IN ('a') USING count(*))
DESCRIBE SELECT * FROM read_text('/etc/passwd')
SUMMARIZE SELECT * FROM read_text('/etc/passwd')
-- SQL inside strings
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('calls')
SELECT json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
PRAGMA json_execute_serialized_sql('{}')
SELECT json_deserialize_sql('{}')
-- writes, in all disguises
INSERT INTO calls SELECT * FROM calls
DELETE FROM data.calls
UPDATE data.calls SET tool = 'x'
WITH x AS (DELETE FROM data.calls RETURNING *) SELECT * FROM x
WITH x AS (INSERT INTO data.totals VALUES ('x', 1) RETURNING *) SELECT * FROM x
WITH x AS (UPDATE data.calls SET tool = 'x' RETURNING *) SELECT * FROM x
WITH x AS (DELETE FROM calls RETURNING *) SELECT 1
MERGE INTO data.calls USING calls ON false WHEN MATCHED THEN DELETE
TRUNCATE data.calls
CREATE TABLE x AS SELECT 1
CREATE TEMP VIEW calls AS SELECT 1
CREATE OR REPLACE TEMP MACRO lower(x) AS 'y'
CREATE TEMP TABLE calls (x INT)
DROP VIEW calls
ALTER TABLE data.calls ADD COLUMN x INT
CREATE SEQUENCE s
CREATE TYPE t AS INT
CREATE SECRET s (TYPE s3)
CREATE TRIGGER t AFTER INSERT ON data.calls BEGIN SELECT 1; END
SELECT nextval('data.alert_order')
SELECT currval('data.alert_order')
SELECT setval('data.alert_order', 1)
-- settings and the like
SET memory_limit = '100GB'
RESET lock_configuration
SET VARIABLE x = 1
SELECT getvariable('x')
SET search_path = 'data'
SET schema = 'data'
USE data
PRAGMA database_list
PRAGMA enable_logging
PRAGMA threads = 64
SELECT current_setting('temp_directory')
SELECT * FROM duckdb_settings()
SELECT * FROM pragma_database_list()
SELECT * FROM pragma_user_agent()
SELECT * FROM enable_logging(storage = 'file', storage_config = {'path': 'x'})
CALL enable_logging()
SELECT * FROM enable_profiling()
SELECT * FROM disable_logging()
SELECT write_log('x')
SELECT * FROM duckdb_logs()
SELECT * FROM duckdb_secrets()
SELECT * FROM which_secret('x', 's3')
SELECT getenv('HOME')
SELECT version()
SELECT current_database()
SELECT current_schemas(true)
CALL force_checkpoint()
SELECT * FROM checkpoint()
CHECKPOINT
VACUUM
ANALYZE
-- other files and code
ATTACH 'x.duckdb' AS x
ATTACH ':memory:' AS x
DETACH telltale
INSTALL httpfs
FORCE INSTALL httpfs FROM 'http://127.0.0.1:1'
LOAD httpfs
UPDATE EXTENSIONS
CONNECT 'x'
PREPARE p AS SELECT 1
EXECUTE p
DEALLOCATE p
EXPLAIN ANALYZE SELECT 1
EXPLAIN SELECT 1
BEGIN
COMMIT
-- what is not a view
SELECT * FROM data.calls
SELECT * FROM telltale.data.calls
SELECT * FROM telltale.main.calls
SELECT * FROM main.calls
SELECT * FROM system.main.duckdb_tables
SELECT * FROM duckdb_tables()
SELECT * FROM duckdb_columns
SELECT * FROM sqlite_master
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_class
SELECT * FROM seq_scan('data.calls')
SELECT * FROM migrations
SHOW TABLES
SHOW ALL TABLES
SELECT * FROM (SHOW TABLES)
SHOW DATABASES
SELECT data.label('a', 'b', 'c', 'd')
SELECT main.lower('x')
SELECT system.main.lower('x')
SELECT 1::data.t
SELECT * FROM calls AT (VERSION => 1)
-- Python variables of the process
SELECT * FROM ATTACKS
SELECT * FROM frame
SELECT * FROM python_scan(1)
SELECT * FROM arrow_scan(1, 2, 3)
SELECT * FROM pandas_scan(1)
-- CTEs that reach past their scope
WITH duckdb_tables AS (SELECT 1) SELECT * FROM duckdb_tables
WITH sqlite_master AS (SELECT * FROM sqlite_master) SELECT * FROM sqlite_master
SELECT * FROM (WITH frame AS (SELECT 1) SELECT 1), frame
WITH frame AS (SELECT * FROM frame) SELECT * FROM frame
WITH RECURSIVE frame AS (SELECT * FROM frame UNION SELECT * FROM frame) SELECT * FROM frame
WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a
WITH calls AS (SELECT 1) SELECT * FROM calls
WITH "x.csv" AS (SELECT 1) SELECT * FROM "x.csv"
SELECT (WITH frame AS (SELECT 1 a) SELECT a FROM frame), (SELECT 1 FROM frame)
-- several statements
SELECT 1; SELECT 2
SELECT 1; DROP VIEW calls
SELECT 1;;COPY calls TO 'x'
/* SELECT */ DROP VIEW calls
PIVOT calls ON tool USING count(*)
-- resources
SELECT repeat('x', 4000000000)
SELECT lpad('x', 2000000000, 'y')
SELECT rpad('x', 2000000000, 'y')
SELECT printf('%2000000000d', 1)
SELECT format('{:2000000000d}', 1)
SELECT levenshtein(request, request) FROM trajectories
SELECT damerau_levenshtein('a', 'b')
SELECT jaro_winkler_similarity('a', 'b')
SELECT sleep_ms(100000)
SELECT array_resize([1], 1000000000)
SELECT list_resize([1], 1000000000)
SELECT strip_accents('x')
SELECT generate_series(1, 1000000000)
SELECT range(1000000000)
SELECT to_base64('x')
SELECT list_reduce([1, 2], lambda a, b: a || b)
SELECT list_aggregate([1], 'sum')
-- not a query
SELECT $1
SELECT ?
selec 1
