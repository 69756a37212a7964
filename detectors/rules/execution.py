"""What a call's arguments would execute, ask for and touch, whatever language they are in."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from detectors.parsing.arguments import Leaf
from detectors.parsing.code import Code, CodeCall, parse_code
from detectors.parsing.command import Command, program_name
from detectors.parsing.files import FileAccess, files_of_code, files_of_command, files_of_tool
from detectors.parsing.names import words
from detectors.parsing.shell import parse_shell
from detectors.parsing.sql import Statement, looks_like_sql, parse_sql
from detectors.parsing.vocabulary import vocabulary
from detectors.parsing.web import (
    HttpRequest,
    request_of_code,
    request_of_command,
    requests_of_leaves,
)

_SHELL_NAMES: Final = vocabulary(
    "command cmd commands shell shell_command bash script command_line cmdline powershell input"
)
_CODE_NAMES: Final = vocabulary("code python source cell ipython")
_SQL_NAMES: Final = vocabulary("sql query statement sql_query statements command")
_CODE_TOOLS: Final = vocabulary("python ipython jupyter notebook repl cell code")
_SQL_TOOLS: Final = vocabulary("sql database db postgres mysql sqlite query snowflake bigquery")
_SQL_CLIENTS: Final = vocabulary("mysql psql sqlite3 sqlcmd duckdb clickhouse-client cockroach")
_SQL_OPTIONS: Final = vocabulary("e execute c command q Q query")
_COMMAND_NAMES: Final = vocabulary("command cmd shell_command")
_SQL_CALLS: Final = (".execute", ".executescript", ".executemany", ".raw", ".read_sql")


@dataclass(slots=True)
class Parsed:
    """Everything that a call's arguments would do. `partial`: some text was cut or did not
    parse.
    """

    commands: list[Command] = field(default_factory=list[Command])
    statements: list[Statement] = field(default_factory=list[Statement])
    code: list[CodeCall] = field(default_factory=list[CodeCall])
    requests: list[HttpRequest] = field(default_factory=list[HttpRequest])
    files: list[FileAccess] = field(default_factory=list[FileAccess])
    partial: bool = False

    def shell(self, text: str) -> None:
        """Add what shell text would do."""
        script = parse_shell(text)
        self.partial = self.partial or script.partial
        self._commands(script.commands)
        for source in script.code:
            self.python(source)

    def python(self, text: str) -> bool:
        """Add what Python text would do; False where it is not Python."""
        code = parse_code(text)
        if code.parsed:
            self._code(code)
        return code.parsed

    def _code(self, code: Code) -> None:
        self.code.extend(code.calls)
        for call in code.calls:
            made = request_of_code(call)
            if made is not None:
                self.requests.append(made)
            self.files.extend(files_of_code(call))
            if call.name.endswith(_SQL_CALLS):
                for word in call.words:
                    if looks_like_sql(word):
                        self.statements.extend(parse_sql(word))
        for line in code.shell:
            self.shell(line)
        for argv in code.argvs:
            self._commands([Command(program_name(argv[0]), argv[1:], via=("python",))])

    def _commands(self, commands: list[Command]) -> None:
        self.commands.extend(commands)
        for command in commands:
            made = request_of_command(command)
            if made is not None:
                self.requests.append(made)
            self.files.extend(files_of_command(command))
            if command.program in _SQL_CLIENTS:
                texts = [value for name, value in command.options if name in _SQL_OPTIONS]
                for text in (*texts, *command.words, command.stdin):
                    if text and looks_like_sql(text):
                        self.statements.extend(parse_sql(text))


def parse_call(tool: str, act: str, found: list[Leaf], names: Collection[str] = ()) -> Parsed:
    """What the arguments `found` of a tool that does `act` would do.

    Only a tool that executes has its text taken for shell, code or SQL; of other tools only what an
    argument's own name says is. `names`: names of the arguments, whatever they hold.
    """
    parsed = Parsed()
    if not found:
        return parsed
    if act == "execute":
        _executed(parsed, tool, found)
    else:
        for name, text in found:
            if name in _SQL_NAMES and looks_like_sql(text, _says_sql(tool, name)):
                parsed.statements.extend(parse_sql(text))
            elif name in _COMMAND_NAMES and " " in text:
                if not _SQL_TOOLS.intersection(words(tool)):
                    parsed.shell(text)
            elif name.endswith("actions") and "(" in text:
                parsed.code.extend(parse_code(text).calls)
    parsed.requests.extend(requests_of_leaves(found, names))
    parsed.files.extend(files_of_tool(act, found))
    return parsed


def _says_sql(tool: str, name: str) -> bool:
    """Whether an argument's name or its tool's says that it holds SQL."""
    return "sql" in name or not _SQL_TOOLS.isdisjoint(words(tool))


def _executed(parsed: Parsed, tool: str, found: list[Leaf]) -> None:
    tool_words = set(words(tool))
    alone = len(found) == 1
    of_sql, of_code = bool(tool_words & _SQL_TOOLS), bool(tool_words & _CODE_TOOLS)
    for name, text in found:
        if (
            (name in _SQL_NAMES or alone)
            and (of_sql or name != "command")
            and looks_like_sql(text, of_sql or "sql" in name)
        ):
            parsed.statements.extend(parse_sql(text))
        elif of_sql and not of_code:
            # Broken SQL is not shell: an SQL tool's text never reaches one.
            continue
        elif (
            name in _CODE_NAMES or (of_code and (alone or name in _SHELL_NAMES))
        ) and parsed.python(text):
            continue
        elif name in _SHELL_NAMES or name in _CODE_NAMES or alone:
            parsed.shell(text)
