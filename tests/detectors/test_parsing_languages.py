"""SQL, Python and addresses."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.span import Value
from detectors.parsing.arguments import MAX_LEAVES, host_of, leaves, normalise, url_target
from detectors.parsing.code import parse_code
from detectors.parsing.sql import looks_like_sql, parse_sql
from detectors.parsing.web import request, requests_of_leaves


@pytest.mark.parametrize(
    ("text", "kind", "objects", "restricted", "details"),
    [
        ("DROP TABLE Users", "drop_table", ("users",), False, ()),
        ("DELETE FROM a", "delete", ("a",), False, ()),
        ("DELETE FROM a WHERE 1 = 1 OR id = 2", "delete", ("a",), False, ()),
        ("DELETE FROM a WHERE id = 2", "delete", ("a",), True, ()),
        ("UPDATE s.b SET x = 1 WHERE TRUE", "update", ("s.b",), False, ()),
        ("TRUNCATE TABLE a", "truncate", ("a",), False, ()),
        ("ALTER TABLE t DROP COLUMN c", "alter_table", ("t",), False, ("drop_column",)),
        ("GRANT ALL ON t TO PUBLIC", "grant", ("t",), False, ("to_public", "all_privileges")),
        ("COPY t TO PROGRAM 'id'", "copy", ("t",), False, ("program",)),
        ("ALTER ROLE a SUPERUSER", "alter_role", ("a", "superuser"), False, ("superuser",)),
        ("SELECT password FROM users", "select", ("users",), False, ()),
    ],
)
def test_statements(
    text: str, kind: str, objects: tuple[str, ...], restricted: bool, details: tuple[str, ...]
) -> None:
    (statement,) = parse_sql(text)
    assert (statement.kind, statement.objects, statement.restricted) == (kind, objects, restricted)
    assert set(details) <= set(statement.details)


def test_strings_are_no_statements() -> None:
    (statement,) = parse_sql("INSERT INTO notes VALUES ('GRANT ALL ON x TO PUBLIC; DROP TABLE y')")
    assert (statement.kind, statement.details) == ("insert", ())
    assert not looks_like_sql("please drop table users")


def test_statements_are_cut_apart() -> None:
    kinds = [statement.kind for statement in parse_sql("BEGIN; DELETE FROM a; COMMIT")]
    assert "delete" in kinds
    assert len(kinds) == 3


def test_sql_never_reaches_a_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        parse_sql("CREATE USER 'secret-name' IDENTIFIED BY 'secret-word'")
    assert "secret" not in caplog.text


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=list("selctdropabwhru *();='\"-/,.\n0129"), max_size=60))
def test_any_sql_parses(tail: str) -> None:
    for start in ("select ", "delete from ", "drop ", "grant ", "update "):
        parse_sql(start + tail)


def test_python_calls_aliases_literals() -> None:
    code = parse_code(
        "import os, shutil as s\nfrom pathlib import Path\nROOT = '/srv'\n"
        "s.rmtree(ROOT + '/x')\nPath(ROOT).unlink()\nos.system(f'rm -r {ROOT}')\n"
        "import subprocess\nsubprocess.run(['ls', ROOT], check=True)\n"
    )
    named = {call.name: call.words for call in code.calls}
    assert named["shutil.rmtree"] == ("/srv/x",)
    assert named["pathlib.Path.unlink"] == ("/srv",)
    assert code.shell == ["rm -r /srv"]
    assert code.argvs == [("ls", "/srv")]


def test_notebook_lines_are_shell() -> None:
    assert parse_code("!pip install x\n%matplotlib inline\nprint(1)").shell == ["pip install x"]
    assert parse_code("%%bash\nls\npwd").shell == ["ls\npwd"]


def test_text_that_is_not_python() -> None:
    assert not parse_code("rm -rf /srv && echo done").parsed
    assert parse_code("'rm -rf /'").calls == []


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=100))
def test_any_code_parses(text: str) -> None:
    parse_code(text)


def test_requests_of_tools() -> None:
    arguments: dict[str, Value] = {"url": "https://x.example/a", "data": {"k": "v"}}
    (posted,) = requests_of_leaves(leaves(arguments), arguments)
    assert (posted.method, posted.sends) == ("post", True)
    (deleted,) = requests_of_leaves(leaves({"method": "DELETE", "url": "x.example/a"}))
    assert (deleted.method, deleted.host) == ("delete", "x.example")
    (mutated,) = requests_of_leaves(leaves({"query": "mutation M { userDelete(id: 1) { id } }"}))
    assert mutated.graphql == "userDelete"
    assert request("get", "http://[bad") is None


def test_addresses() -> None:
    assert url_target("https://user:pw@WWW.X.example:8080/a/b/?q=1#f") == "x.example/a/b"
    assert host_of("http://[bad") == ""
    assert normalise("account", "gb33 bukb 2020") == "GB33BUKB2020"
    assert normalise("path", "C:\\a\\") == "C:/a"
    assert normalise("recipient", " Bob@X.Example ") == "bob@x.example"


def test_leaves_are_bounded() -> None:
    deep: dict[str, Value] = {}
    for _ in range(100):
        deep = {"a": deep, "b": "x"}
    assert len(leaves(deep)) <= MAX_LEAVES
    many: list[Value] = ["x"] * 10_000
    assert len(leaves({"a": many})) == MAX_LEAVES


@pytest.mark.parametrize(
    "text",
    [
        "update the ticket of the customer",
        "backup region quarter draft",
        "comment release ticket",
        "delete my old notes please",
        "copy that works for landing pages",
        "with regard to invoices",
        "call centre opening hours",
        "load balancer timeout",
    ],
)
def test_prose_is_sql_only_where_nothing_else_is_expected(text: str) -> None:
    assert looks_like_sql(text)
    assert not looks_like_sql(text, surely=False)


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE t SET a = 1",
        "delete from t",
        "DELETE t WHERE 1=1",
        "delete orders;",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "with x(a, b) as (select 1, 2) select * from x",
        "INSERT t VALUES (1)",
        "replace into t values (1)",
        "GRANT ALL ON *.* TO 'x'@'%'",
        "revoke select on t from u",
        "DROP DISKGROUP d",
        "truncate table t",
        "MERGE t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
        "CALL p()",
        "call p",
        "SET ROLE admin",
        "set global general_log = 0",
        "COMMENT ON TABLE t IS 'x'",
        "RENAME TABLE a TO b",
        "BEGIN; DELETE FROM a; COMMIT",
        "commit",
        "FLUSH PRIVILEGES",
        "PURGE BINARY LOGS BEFORE '2026-01-01'",
        "ATTACH 'other.db' AS o",
        "attach database x as y",
        "BACKUP DATABASE d TO DISK = 'x'",
        "restore database d from disk = 'x'",
        "LOAD DATA INFILE 'x' INTO TABLE t",
        "DO $$ BEGIN DROP TABLE t; END $$",
        "COPY t TO PROGRAM 'curl x'",
        "-- note\nupdate t\nset a = 1",
    ],
)
def test_statements_are_sql_wherever_they_stand(text: str) -> None:
    assert looks_like_sql(text, surely=False)
