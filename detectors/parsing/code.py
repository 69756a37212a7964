"""Python source, by its syntax tree, to the calls it would make and the shell commands among
them.
"""

import ast
import re
import warnings
from dataclasses import dataclass, field
from typing import Final

from detectors.parsing.vocabulary import vocabulary

MAX_TEXT: Final = 60_000
MAX_CALLS: Final = 600

_SHELLING: Final = vocabulary(
    "os.system os.popen subprocess.run subprocess.call subprocess.Popen"
    " subprocess.check_call subprocess.check_output subprocess.getoutput"
    " subprocess.getstatusoutput commands.getoutput pexpect.run pty.spawn os.execvp"
    " os.execv get_ipython.system"
)
_MAGIC: Final = re.compile(r"^\s*(?:[\w, ]+=\s*)?([!%])(.*)$")


@dataclass(frozen=True, slots=True)
class CodeCall:
    """One call. `name`: dotted, import aliases resolved. `words`: its literal text arguments,
    keyword ones as `key=value`. `receiver`: the text literal a method was called on.
    """

    name: str
    words: tuple[str, ...]


@dataclass(slots=True)
class Code:
    """What Python source does, as far as its calls tell. `shell`: command lines handed to a shell.
    `argvs`: argument vectors. `parsed`: whether it is Python at all.
    """

    calls: list[CodeCall] = field(default_factory=list[CodeCall])
    shell: list[str] = field(default_factory=list[str])
    argvs: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    parsed: bool = True


def parse_code(text: str) -> Code:
    """The calls in Python `text`; notebook lines that begin with `!` are shell."""
    code = Code()
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT]
    head, _, rest = text.lstrip().partition("\n")
    if head.startswith(("%%bash", "%%sh", "%%script bash")):
        code.shell.append(rest)
        return code
    lines: list[str] = []
    for line in text.splitlines():
        magic = _MAGIC.match(line)
        if magic and (magic.group(1) == "!" or line.lstrip().startswith("%")):
            if magic.group(1) == "!":
                code.shell.append(magic.group(2))
            lines.append(line[: len(line) - len(line.lstrip())] + "pass")
        else:
            lines.append(line)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        code.parsed = False
        return code
    _Calls(code).walk(tree)
    return code


class _Calls:
    def __init__(self, code: Code) -> None:
        self.code = code
        self.names: dict[str, str] = {}
        self.literals: dict[str, str] = {}

    def walk(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.names[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.names[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
            elif isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
                if isinstance(target, ast.Name):
                    text = self.literal(node.value)
                    if text is not None:
                        self.literals[target.id] = text
                    elif isinstance(node.value, ast.Call):
                        self.names.setdefault(target.id, self.dotted(node.value.func))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and len(self.code.calls) < MAX_CALLS:
                self.call(node)

    def dotted(self, node: ast.expr) -> str:
        """The dotted name of an expression, its first part resolved through imports."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            parts.append(self.names.get(node.id, node.id))
        elif isinstance(node, ast.Call):
            parts.append(self.dotted(node.func))
        return ".".join(reversed(parts))

    def literal(self, node: ast.expr) -> str | None:
        """The text of a literal, an f-string's fixed parts included, None where unknown."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
            return str(node.value)
        if isinstance(node, ast.Name):
            return self.literals.get(node.id)
        if isinstance(node, ast.JoinedStr):
            parts = [
                self.literal(part.value)
                if isinstance(part, ast.FormattedValue)
                else self.literal(part)
                for part in node.values
            ]
            return "".join(part if part is not None else "{}" for part in parts)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.literal(node.left), self.literal(node.right)
            if left is not None or right is not None:
                return (left or "") + (right or "")
        if isinstance(node, ast.Call) and self.dotted(node.func).endswith(
            ("Path", "expanduser", "join")
        ):
            parts = [self.literal(part) for part in node.args]
            return "/".join(part for part in parts if part)
        return None

    def call(self, node: ast.Call) -> None:
        name = self.dotted(node.func)
        words: list[str] = []
        if isinstance(node.func, ast.Attribute):
            receiver = self.literal(node.func.value)
            if receiver:
                words.append(receiver)
        for argument in node.args:
            text = self.literal(argument)
            if text is not None:
                words.append(text)
            elif isinstance(argument, ast.List | ast.Tuple):
                items = [self.literal(item) for item in argument.elts]
                argv = tuple(item if item is not None else "{}" for item in items)
                words.extend(argv)
                if argv and name in _SHELLING:
                    self.code.argvs.append(argv)
        for keyword in node.keywords:
            text = self.literal(keyword.value)
            if keyword.arg and text is not None:
                words.append(f"{keyword.arg}={text}")
        if name in _SHELLING and node.args:
            line = self.literal(node.args[0])
            if line:
                self.code.shell.append(line)
        self.code.calls.append(CodeCall(name, tuple(words)))
