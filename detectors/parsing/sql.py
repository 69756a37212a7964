"""SQL text to statements, by sqlglot."""

import hashlib
import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

# sqlglot warns with the statement's text, and trace content must never reach a log.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)

MAX_TEXT: Final = 20_000
MAX_STATEMENTS: Final = 50
DETAILS: Final = (
    "drop_column",
    "to_public",
    "superuser",
    "all_privileges",
    "rls_off",
    "program",
    "outfile",
    "audit_off",
    "truncate",
    "star",
    "create_user",
    "set_role",
    "password",
    "trigger",
)
"""What a statement may note beside its kind."""

_STARTS: Final = re.compile(
    r"^\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(select|with|insert|update|delete|drop|truncate|alter"
    r"|create|grant|revoke"
    r"|merge|replace|copy|exec|execute|call|set|show|desc|describe|explain|use|vacuum|pragma"
    r"|load|do"
    r"|comment|rename|begin|commit|rollback|flush|purge|attach|backup|restore)\b",
    re.IGNORECASE | re.DOTALL,
)
_PLAIN_QUERY: Final = re.compile(
    r"^\s*(select|show|desc|describe|explain|use|pragma)\b", re.IGNORECASE
)
_NOTEWORTHY: Final = re.compile(
    r"passw|secret|token|credential|api_?key|private_?key|ssn|card|cvv|information_schema"
    r"|pg_catalog"
    r"|pg_shadow|pg_authid|mysql\.user|sqlite_master|sys\.|all_tables|outfile|dumpfile|xp_"
    r"|load_file"
    r"|pg_read|lo_export|dblink|openrowset|\binto\b|;\s*\S|\*",
    re.IGNORECASE,
)
_RAW_DETAILS: Final = (
    ("program", re.compile(r"\bxp_cmdshell\b|\bcopy\b.*\bprogram\b|\bsys_exec\b", re.I | re.S)),
    ("outfile", re.compile(r"\binto\s+(?:out|dump)file\b", re.I)),
    (
        "to_public",
        re.compile(r"\bgrant\b.*\bto\s+(?:public|'?anonymous'?|''|guest)\b", re.I | re.S),
    ),
    ("all_privileges", re.compile(r"\bgrant\s+all\b", re.I)),
    (
        "superuser",
        re.compile(
            r"\b(?:alter|create)\s+(?:role|user)\b.*\bsuperuser\b"
            r"|\bgrant\b.*\b(?:dba|sysadmin|superuser|super|admin)\b|with\s+grant\s+option"
            r"|\bsp_addsrvrolemember\b",
            re.I | re.S,
        ),
    ),
    (
        "rls_off",
        re.compile(
            r"\bdisable\s+row\s+level\s+security\b|\bdrop\s+policy\b|\bno\s+force\s+row", re.I
        ),
    ),
    (
        "audit_off",
        re.compile(
            r"\bset\b.*\b(?:general_log|log_bin|sql_log_bin|log_statement|audit\w*|slow_query_log)"
            r"\s*(?:=|to)\s*'?(?:0|off|none)\b|\bnoaudit\b|\bpurge\s+binary\s+logs\b"
            r"|alter\s+system\s+set\s+(?:log|audit)|disable\s+trigger",
            re.I | re.S,
        ),
    ),
    (
        "create_user",
        re.compile(r"\bcreate\s+(?:user|login)\b|\bcreate\s+role\b.*\blogin\b", re.I | re.S),
    ),
    (
        "set_role",
        re.compile(r"^\s*set\s+(?:session\s+)?(?:role|authorization)\b|\bexecute\s+as\b", re.I),
    ),
    (
        "password",
        re.compile(
            r"\b(?:identified\s+by|password\s*(?:=|'))|\balter\s+user\b.*\bpassword\b", re.I | re.S
        ),
    ),
    (
        "trigger",
        re.compile(r"\bcreate\s+(?:or\s+replace\s+)?(?:trigger|event)\b|\bcron\.schedule\b", re.I),
    ),
)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STRINGS: Final = re.compile(r"'(?:[^']|'')*'")
_SHORT_STRING: Final = 12
"""Longer string literals are data; shorter ones may be a setting's value (`'off'`)."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `kind`: its first keyword, lower case; for DDL with what it acts on
    (`drop_table`). `objects`: tables and the like, lower case. `columns`: column names read or set.
    `restricted`: has a WHERE, LIMIT or join that is not always true. `details`: of `DETAILS`.
    """

    kind: str
    objects: tuple[str, ...]
    columns: tuple[str, ...]
    restricted: bool
    details: tuple[str, ...]


_PLAIN: Final = (Statement("select", (), (), True, ()),)
_ONE_NAME: Final = r"\S+\s*(?:;|$)"
_SHAPES: Final[dict[str, re.Pattern[str]]] = {
    word: re.compile(rf"\s*(?:{shape})", re.IGNORECASE | re.DOTALL)
    for words, shape in {
        "with": r"(?:recursive\s+)?\S+\s*(?:\(.*?\)\s*)?as\b",
        "insert replace": r".*\b(?:into|values|select|overwrite|set|table|view|function)\b",
        "update": r".*\b(?:set|statistics)\b",
        "delete": rf".*\b(?:from|where|output|using)\b|{_ONE_NAME}",
        "grant revoke copy rename": r".*\b(?:to|from|on|into)\b",
        "merge": r".*\b(?:into|using)\b",
        "call do": rf".*[($'\"]|{_ONE_NAME}",
        "set": rf".*(?:=|\b(?:to|on|off|role|authorization|names|transaction)\b)|{_ONE_NAME}",
        "comment": r"(?:if\s+exists\s+)?on\b",
        "begin commit rollback": r"$|tran|work\b|to\b|immediate|exclusive|deferred|try\b|.*;",
        "flush": r".*\b(?:tables?|privileges|logs?|hosts|status|cache)\b",
        "purge": r".*\b(?:binary|master|tables?|index|recyclebin|tablespace)\b",
        "attach": rf".*\b(?:database|as|partition|table)\b|['\"]|{_ONE_NAME}",
        "backup restore": r".*['\"]|(?:database|log|table|to|from|certificate|master|all|server)\b",
        "load": r"(?:data|xml|index|extension|table)\b|.*['\"]",
    }.items()
    for word in words.split()
}
"""What must follow a first keyword that is an ordinary word too; others need nothing."""
_REMEMBERED: Final = 4_096
"""Statements remembered by digest: agents send the same ones again and again."""


def looks_like_sql(text: str, surely: bool = True) -> bool:
    """Whether `text` begins like an SQL statement.

    `surely`: nothing else is expected there; otherwise what follows the first keyword must fit it,
    as `update the ticket` does not.
    """
    head = text[:2_000]
    found = _STARTS.match(head)
    if found is None:
        return False
    if surely:
        return True
    shape = _SHAPES.get(found[1].lower())
    return shape is None or shape.match(head, found.end()) is not None


def parse_sql(text: str) -> tuple[Statement, ...]:
    """The statements of `text`; what does not parse is told by its keywords, strings left out."""
    text = text[:MAX_TEXT]
    if _PLAIN_QUERY.match(text) and not _NOTEWORTHY.search(text):
        return _PLAIN
    return _remembered(_Text(text))


class _Text:
    """A text that is remembered by its digest, not by itself."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text) and other.digest == self.digest


@lru_cache(maxsize=_REMEMBERED)
def _remembered(key: _Text) -> tuple[Statement, ...]:
    found = _parse(key.text)
    key.text = ""
    return found


def _parse(text: str) -> tuple[Statement, ...]:
    for dialect in ("", "postgres", "mysql", "tsql"):
        try:
            trees = sqlglot.parse(text, dialect=dialect or None)
        except (SqlglotError, RecursionError, ValueError):
            continue
        if not any(isinstance(tree, exp.Command) for tree in trees) or dialect == "tsql":
            found = [tree for tree in trees[:MAX_STATEMENTS] if tree is not None]
            alone = text if len(found) == 1 else ""
            return tuple(_statement(tree, alone) for tree in found)
    bare = _bare(text)
    return tuple(_by_words(part) for part in bare.split(";")[:MAX_STATEMENTS] if part.strip())


def _bare(text: str) -> str:
    """`text` without comments and without string literals that are data."""
    return _STRINGS.sub(
        lambda found: found.group() if len(found.group()) <= _SHORT_STRING else "''",
        _COMMENT.sub(" ", text),
    ).strip()


def _details(sql: str) -> tuple[str, ...]:
    return tuple(name for name, pattern in _RAW_DETAILS if pattern.search(sql))


def _by_words(text: str) -> Statement:
    """A statement that no dialect parses, from its leading keywords."""
    tokens = text.lower().split()
    kind = tokens[0]
    objects: tuple[str, ...] = ()
    if kind in ("drop", "alter", "create") and len(tokens) > 1:
        kind = f"{kind}_{tokens[1]}"
        objects = tuple(
            token.strip('"`();') for token in tokens[2:5] if token not in ("if", "exists")
        )
    elif kind == "truncate":
        objects = tuple(token.strip('"`();') for token in tokens[1:3] if token != "table")
    elif "from" in tokens[:-1]:
        objects = (tokens[tokens.index("from") + 1].strip('"`();'),)
    elif kind == "update" and len(tokens) > 1:
        objects = (tokens[1].strip('"`();'),)
    return Statement(kind, objects, (), "where" in tokens or "limit" in tokens, _details(text))


def _always_true(condition: exp.Expr) -> bool:
    """Whether a WHERE condition holds for every row, as far as constants tell."""
    if isinstance(condition, exp.Paren):
        return _always_true(condition.this)
    if isinstance(condition, exp.Or):
        return _always_true(condition.left) or _always_true(condition.right)
    if isinstance(condition, exp.And):
        return _always_true(condition.left) and _always_true(condition.right)
    if isinstance(condition, exp.Boolean):
        return bool(condition.this)
    if isinstance(condition, exp.Literal):
        return str(condition.this) not in ("0", "")
    if isinstance(condition, exp.EQ | exp.GTE | exp.LTE):
        return condition.left == condition.right
    if isinstance(condition, exp.Not) and isinstance(condition.this, exp.Is):
        return False
    return False


def _statement(tree: exp.Expr, text: str) -> Statement:
    """The statement of a tree; `text`: its source where it stands alone, else it is written
    anew.
    """
    sql = _bare(text or tree.sql(comments=False))
    if isinstance(tree, exp.Command):
        return _by_words(sql)
    kind = tree.key
    if isinstance(tree, exp.Drop | exp.Create | exp.Alter):
        what = str(tree.args.get("kind") or "").lower()
        kind = f"{tree.key}_{what}" if what else tree.key
    elif isinstance(tree, exp.TruncateTable):
        kind = "truncate"
    elif isinstance(tree, exp.Query):
        kind = "select"
    details = list(_details(sql))
    if isinstance(tree, exp.Alter) and any(
        isinstance(action, exp.Drop) for action in tree.args.get("actions") or ()
    ):
        details.append("drop_column")
    if tree.find(exp.Star) is not None:
        details.append("star")
    where = tree.args.get("where")
    restricted = where is not None and not _always_true(where.this)
    if tree.args.get("limit") or tree.args.get("using"):
        restricted = True
    return Statement(
        kind=kind,
        objects=tuple(
            dict.fromkeys(
                ".".join(part for part in (table.db, table.name) if part).lower()
                for table in tree.find_all(exp.Table)
            )
        ),
        columns=tuple(dict.fromkeys(column.name.lower() for column in tree.find_all(exp.Column))),
        restricted=restricted,
        details=tuple(dict.fromkeys(details)),
    )
