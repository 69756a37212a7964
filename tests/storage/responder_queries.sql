-- What people ask while an alarm is on, one query a line.
SELECT * FROM calls ORDER BY started_at DESC LIMIT 50
SELECT tool, count(*) AS n FROM calls GROUP BY tool ORDER BY n DESC
SELECT count(*) FROM calls WHERE started_at > now() - INTERVAL 1 HOUR
SELECT agent, date_trunc('hour', started_at) AS hour, count(*) FILTER (WHERE outcome = 'denied') FROM calls GROUP BY ALL ORDER BY ALL
SELECT arguments ->> '$.path' AS path FROM calls WHERE arguments ->> '$.path' LIKE '/etc/%'
SELECT json_extract_string(arguments, '$.command') FROM calls WHERE tool ILIKE '%shell%'
WITH risky AS (SELECT DISTINCT trajectory_id FROM actions WHERE severity IN ('high', 'critical')) SELECT t.* FROM trajectories t JOIN risky USING (trajectory_id) ORDER BY started_at
SELECT tool, following, count(*) FROM (SELECT tool, lead(tool) OVER (PARTITION BY trajectory_id ORDER BY step) AS following FROM calls) GROUP BY ALL
SELECT a.category, count(*) AS taken, (SELECT count(*) FROM opportunities o WHERE o.category = a.category) AS chances FROM actions a GROUP BY a.category
SELECT quantile_cont(duration_ns / 1e6, [0.5, 0.95, 0.99]) FROM calls
SELECT subject, reference, category, state, evidence_log10 FROM verdicts WHERE state = 'alarm'
SELECT unnest(categories) AS category, count(*) FROM trajectories GROUP BY 1 ORDER BY 2 DESC
SELECT key, json_type(value) FROM calls, json_each(arguments) WHERE tool = 'send_email'
SELECT * FROM trajectories WHERE list_contains(categories, 'UA05') AND calls > 3
SELECT strftime(started_at, '%Y-%m-%d %H:%M') AS minute, count(*) FROM spans GROUP BY 1
SELECT trajectory_id, string_agg(tool, ' > ' ORDER BY step) AS path FROM calls GROUP BY trajectory_id HAVING count(*) BETWEEN 2 AND 9
SELECT c.* FROM calls c WHERE EXISTS (SELECT 1 FROM actions a WHERE a.trajectory_id = c.trajectory_id AND a.step = c.step AND a.stage <> 'blocked')
SELECT * FROM calls QUALIFY row_number() OVER (PARTITION BY trajectory_id ORDER BY step DESC) = 1
WITH RECURSIVE tree AS (SELECT span_id, parent_span_id, 0 AS depth FROM spans WHERE parent_span_id = '' UNION ALL SELECT s.span_id, s.parent_span_id, depth + 1 FROM spans s JOIN tree t ON s.parent_span_id = t.span_id) SELECT max(depth) FROM tree
SELECT attributes ->> '$."gen_ai.request.model"' AS model, count(*) FROM spans GROUP BY 1
SELECT time_bucket(INTERVAL 5 MINUTES, received_at) AS t, sum(CASE WHEN outcome = 'error' THEN 1 ELSE 0 END) * 1.0 / count(*) AS rate FROM calls GROUP BY t ORDER BY t
SELECT ended_at - started_at AS lasted FROM trajectories ORDER BY lasted DESC LIMIT 10 OFFSET 1
SELECT reason, count(*), max(received_at) FROM dead_letters GROUP BY reason
SELECT regexp_extract(result, 'https?://([^/ ]+)', 1) AS host FROM calls WHERE result ~ '.*http.*'
SELECT * EXCLUDE (arguments, result) FROM calls WHERE tool NOT IN ('a', 'b')
SELECT coalesce(nullif(agent_version, ''), '?') || '@' || upper(model) FROM subjects
SELECT e.n, e.evidence_log10 FROM evidence e ORDER BY e.n
SELECT * FROM (VALUES ('rm'), ('mv')) v(tool) LEFT JOIN calls USING (tool)
SELECT * FROM calls WHERE started_at BETWEEN '2026-01-01' AND TIMESTAMP '2026-01-02 12:00:00'
SELECT list_filter(tools_offered, lambda x: x LIKE 'delete%') FROM calls
SELECT [x FOR x IN tools_offered IF x <> tool] FROM calls
PIVOT calls ON outcome IN ('ok', 'error', 'denied') USING count(*) GROUP BY tool
DESCRIBE calls
SUMMARIZE trajectories
FROM alerts SELECT alert_id, summary WHERE delivered_at IS NULL
SELECT * FROM calls USING SAMPLE 10%
SELECT tool FROM calls INTERSECT SELECT tool FROM calls EXCEPT SELECT 'x'
SELECT d, count(c.step) FROM range(DATE '2026-01-01', DATE '2026-01-08', INTERVAL 1 DAY) r(d) LEFT JOIN calls c ON c.started_at::DATE = d GROUP BY d;
SELECT to_timestamp(1767225600), epoch_ms(started_at), age(started_at) FROM calls
SELECT topic, first_offset, last_offset FROM gaps -- lost
SELECT name, fitted_where FROM baselines JOIN lineage ON true WHERE model = 'x'
SELECT grouping(tool), tool, count(*) FROM calls GROUP BY ROLLUP (tool)
