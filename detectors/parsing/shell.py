"""Shell text to the commands it would run, by tree-sitter-bash.

Quoted text, heredocs into files and arguments of `echo` are not commands; what `bash -c`, `eval`, a
pipe into a shell or a heredoc into a shell runs, is. Variables assigned a literal in the same text
are filled in. Anything too deep or too long is cut and said so (`Script.partial`).
"""

from dataclasses import dataclass, field, replace
from typing import Final

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from detectors.parsing.command import Command, program_name
from detectors.parsing.powershell import looks_like_powershell, split_powershell
from detectors.parsing.quoting import (
    masked,
    node_text,
    plain,
    unescape,
    unslash,
    unslash_quoted,
)
from detectors.parsing.vocabulary import vocabulary
from detectors.parsing.wrappers import inner, replaces

MAX_TEXT: Final = 40_000
MAX_COMMANDS: Final = 400
MAX_DEPTH: Final = 40
_MAX_NESTED: Final = 6
"""Shells within shells that are followed."""

_PARSER: Final = Parser(Language(tree_sitter_bash.language()))
_SHELLS: Final = vocabulary("sh bash zsh dash ksh ash fish")
_BUILTIN_OK: Final = frozenset({"true", ":", "exit"})


@dataclass(slots=True)
class Script:
    """What a text would run. `code`: Python sources handed to an interpreter. `functions`: names
    the text defines. `partial`: something was cut or did not parse.
    """

    commands: list[Command] = field(default_factory=list[Command])
    code: list[str] = field(default_factory=list[str])
    functions: set[str] = field(default_factory=set[str])
    partial: bool = False


@dataclass(frozen=True, slots=True)
class _Context:
    via: tuple[str, ...] = ()
    pipe_from: tuple[str, ...] = ()
    pipe_to: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    appends: tuple[str, ...] = ()
    stdin: str = ""
    ignored_failure: bool = False
    substituted: bool = False
    nested: int = 0


def parse_shell(text: str) -> Script:
    """The commands of POSIX shell or PowerShell `text`, in order of appearance."""
    script = Script()
    _Walk(script).text(text, _Context(), "shell")
    return script


class _Walk:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.variables: dict[str, str] = {}

    def text(self, text: str, context: _Context, language: str) -> None:
        if len(text) > MAX_TEXT:
            text = text[:MAX_TEXT]
            self.script.partial = True
        if context.nested > _MAX_NESTED:
            self.script.partial = True
            return
        if language == "python":
            self.script.code.append(text)
            return
        if language == "powershell" or looks_like_powershell(text):
            for argv, before, after in split_powershell(text):
                self.argv(argv, replace(context, pipe_from=before, pipe_to=after), (), True)
            return
        tree = _PARSER.parse(masked(text))
        if tree.root_node.has_error:
            self.script.partial = True
        self.node(tree.root_node, context, 0)

    # -- statements

    def node(self, node: Node, context: _Context, depth: int) -> None:
        if depth > MAX_DEPTH or len(self.script.commands) >= MAX_COMMANDS:
            self.script.partial = True
            return
        kind = node.type
        if kind == "command":
            self.command(node, context, depth)
        elif kind == "pipeline":
            self.pipeline(node, context, depth)
        elif kind == "redirected_statement":
            self.redirected(node, context, depth)
        elif kind == "list":
            self.list(node, context, depth)
        elif kind in ("variable_assignment", "declaration_command", "unset_command"):
            self.assignment(node, context, depth)
        elif kind == "function_definition":
            name = node.child_by_field_name("name")
            if name is not None:
                self.script.functions.add(node_text(name))
            self.children(node, context, depth)
        elif kind in ("string", "concatenation", "command_substitution", "process_substitution"):
            self.substitutions(node, context, depth)
        elif kind == "for_statement":
            self.loop(node, context, depth)
        elif kind not in ("comment", "word", "raw_string", "heredoc_body"):
            self.children(node, context, depth)

    def children(self, node: Node, context: _Context, depth: int) -> None:
        for child in node.named_children:
            self.node(child, context, depth + 1)

    def loop(self, node: Node, context: _Context, depth: int) -> None:
        name = node.child_by_field_name("variable")
        values = node.children_by_field_name("value")
        if name is not None and len(values) == 1:
            self.variables[node_text(name)] = self.word(values[0], context, depth)
        self.children(node, context, depth)

    def list(self, node: Node, context: _Context, depth: int) -> None:
        parts = node.named_children
        operator = next((child.type for child in node.children if not child.is_named), "")
        if operator == "||" and len(parts) == 2:
            right = parts[1].named_children[0] if parts[1].named_children else parts[1]
            if program_name(node_text(right)) in _BUILTIN_OK:
                self.node(parts[0], replace(context, ignored_failure=True), depth + 1)
                return
        self.children(node, context, depth)

    def pipeline(
        self, node: Node, context: _Context, depth: int, last: _Context | None = None
    ) -> None:
        """A pipeline's stages. `last`: the context of its last stage, where it has its own."""
        stages = node.named_children
        names = [self.heads(stage) for stage in stages]
        for index, stage in enumerate(stages):
            inside = last if last is not None and index == len(stages) - 1 else context
            self.node(
                stage,
                replace(
                    inside,
                    pipe_from=context.pipe_from + _flat(names[:index]),
                    pipe_to=_flat(names[index + 1 :]) + context.pipe_to,
                    stdin=self.echoed(stages[index - 1]) if index else inside.stdin,
                ),
                depth + 1,
            )

    def heads(self, node: Node) -> tuple[str, ...]:
        """The programs that a pipeline stage runs, wrappers taken off; one but for a nested
        pipe.
        """
        while node.type in ("redirected_statement", "negated_command") and node.named_children:
            node = node.named_children[0]
        if node.type == "pipeline":
            return _flat([self.heads(stage) for stage in node.named_children])
        if node.type != "command":
            return (node.type,)
        argv = self.words(node, _Context(), 0, visit=False)
        for _ in range(_MAX_NESTED):
            unwrapped = inner(argv) if argv and replaces(program_name(argv[0])) else None
            if unwrapped is None or not unwrapped.argv:
                break
            argv = unwrapped.argv
        return (program_name(argv[0]),) if argv else ()

    def echoed(self, node: Node) -> str:
        """The literal text that `echo`, `printf` or a heredoc'd `cat` stage writes, ""
        otherwise.
        """
        if node.type != "command":
            return ""
        argv = self.words(node, _Context(), 0, visit=False)
        if argv and program_name(argv[0]) in ("echo", "printf"):
            return " ".join(word for word in argv[1:] if word not in ("-e", "-n", "-ne", "-en"))
        return ""

    def redirected(self, node: Node, context: _Context, depth: int) -> None:
        body = node.child_by_field_name("body")
        writes, appends, stdin = list(context.writes), list(context.appends), context.stdin
        piped: list[Node] = []
        for child in node.named_children:
            if child.type == "file_redirect":
                operator = next((part.type for part in child.children if not part.is_named), "")
                destination = child.child_by_field_name("destination")
                target = self.word(destination, context, depth) if destination else ""
                if not target or target.isdigit() or target == "-":
                    continue
                if operator in (">", ">|", "&>", ">&"):
                    writes.append(target)
                elif operator in (">>", "&>>"):
                    appends.append(target)
            elif child.type == "heredoc_redirect":
                for part in child.named_children:
                    if part.type == "heredoc_body":
                        stdin = node_text(part)
                        self.substitutions(part, context, depth)
                    elif part.type in ("pipeline", "command", "list"):
                        piped.append(part)
                    elif part.type == "file_redirect":
                        destination = part.child_by_field_name("destination")
                        if destination is not None:
                            writes.append(self.word(destination, context, depth))
        after: tuple[str, ...] = ()
        for part in piped:
            after += self.heads(part)
        inside = replace(context, writes=tuple(writes), appends=tuple(appends), stdin=stdin)
        if body is None:
            self.emit(":", (), inside, ())
        elif body.type in ("list", "pipeline") and body.named_children:
            # The grammar hangs the redirect on the whole list; the shell applies it to the last.
            *firsts, last = body.named_children
            if body.type == "pipeline":
                self.pipeline(body, context, depth, inside)
            else:
                for part in firsts:
                    self.node(part, context, depth + 1)
                self.node(last, replace(inside, pipe_to=after + inside.pipe_to), depth + 1)
        else:
            self.node(body, replace(inside, pipe_to=after + inside.pipe_to), depth + 1)
        head = self.heads(body) if body is not None else ()
        for part in piped:
            fed = stdin if head == ("cat",) else ""
            self.node(part, replace(context, pipe_from=head, stdin=fed), depth + 1)

    def assignment(self, node: Node, context: _Context, depth: int) -> None:
        if node.type == "variable_assignment":
            self.assign(node, context, depth)
            return
        words: list[str] = []
        for child in node.named_children:
            if child.type == "variable_assignment":
                name, value = self.assign(child, context, depth)
                words.append(f"{name}={value}")
            else:
                words.append(node_text(child))
        keyword = node_text(node).split(maxsplit=1)[0]
        self.emit(keyword, tuple(words), context, ())

    def assign(self, node: Node, context: _Context, depth: int) -> tuple[str, str]:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        text = self.word(value, context, depth) if value is not None else ""
        key = node_text(name) if name is not None else ""
        if value is None or value.type in (
            "word",
            "string",
            "raw_string",
            "number",
            "concatenation",
        ):
            self.variables[key] = text
        return key, text

    # -- commands

    def words(
        self, node: Node, context: _Context, depth: int, visit: bool = True
    ) -> tuple[str, ...]:
        """The argv of a command node. `visit`: also walk what its words substitute."""
        argv: list[str] = []
        for child in node.named_children:
            if child.type in ("variable_assignment", "file_redirect", "herestring_redirect"):
                continue
            part = child.named_children[0] if child.type == "command_name" else child
            argv.append(self.word(part, context, depth, visit))
        return tuple(argv)

    def command(self, node: Node, context: _Context, depth: int) -> None:
        assigns: list[tuple[str, str]] = []
        for child in node.named_children:
            if child.type == "variable_assignment":
                assigns.append(self.assign(child, context, depth))
            elif child.type == "herestring_redirect" and child.named_children:
                text = self.word(child.named_children[0], context, depth)
                context = replace(context, stdin=text)
        argv = self.words(node, context, depth)
        if argv:
            self.argv(argv, context, tuple(assigns))

    def argv(
        self,
        argv: tuple[str, ...],
        context: _Context,
        assigns: tuple[tuple[str, str], ...],
        windows: bool = False,
    ) -> None:
        program = program_name(argv[0])
        unwrapped = inner(argv) if context.nested <= _MAX_NESTED else None
        if unwrapped is None or not replaces(program):
            self.emit(argv[0], argv[1:], context, assigns, windows)
        fed = context.stdin and (
            program in _SHELLS or program in ("python", "ssh", "powershell", "pwsh")
        )
        inside = replace(context, via=(*context.via, program), nested=context.nested + 1)
        if unwrapped is not None and unwrapped.source:
            self.text(unwrapped.source, replace(inside, stdin=""), unwrapped.language)
        elif unwrapped is not None and unwrapped.argv:
            self.argv(unwrapped.argv, inside, assigns, windows)
        elif fed and not any(not word.startswith("-") for word in argv[1:]):
            language = "python" if program == "python" else "shell"
            self.text(context.stdin, replace(inside, stdin=""), language)

    def emit(
        self,
        word: str,
        args: tuple[str, ...],
        context: _Context,
        assigns: tuple[tuple[str, str], ...],
        windows: bool = False,
    ) -> None:
        if len(self.script.commands) >= MAX_COMMANDS:
            self.script.partial = True
            return
        self.script.commands.append(
            Command(
                program=program_name(word),
                invoked=word,
                args=args,
                via=context.via,
                pipe_from=context.pipe_from,
                pipe_to=context.pipe_to,
                writes=context.writes,
                appends=context.appends,
                assigns=assigns,
                stdin=context.stdin,
                ignored_failure=context.ignored_failure,
                substituted=context.substituted,
                windows=windows,
            )
        )

    # -- words

    def substitutions(self, node: Node, context: _Context, depth: int) -> None:
        for child in node.named_children:
            inside = _Context(via=context.via, substituted=True, nested=context.nested)
            self.node(child, inside, depth + 1)

    def word(self, node: Node, context: _Context, depth: int, visit: bool = True) -> str:
        """The text of a word as the shell would pass it on, as far as it can be told."""
        kind = node.type
        if kind == "raw_string":
            return node_text(node)[1:-1]
        if kind == "ansi_c_string":
            return unescape(node_text(node)[2:-1])
        if kind in ("simple_expansion", "expansion"):
            names = [child for child in node.named_children if child.type == "variable_name"]
            text = node_text(node)
            return self.variables.get(node_text(names[0]), text) if len(names) == 1 else text
        if kind in ("command_substitution", "process_substitution"):
            if visit:
                self.substitutions(node, context, depth)
            return node_text(node)
        if kind == "string":
            return self.parts(node, context, depth, visit, 1)
        if kind == "concatenation":
            return self.parts(node, context, depth, visit, 0)
        text = node_text(node)
        if "\\" not in text:
            return text
        return unslash_quoted(text) if kind == "string_content" else unslash(text)

    def parts(self, node: Node, context: _Context, depth: int, visit: bool, quotes: int) -> str:
        """The words inside `node` joined with the bytes between them."""
        raw = node.text or b""
        at, end = quotes, len(raw) - quotes
        out: list[str] = []
        for child in node.named_children:
            start = child.start_byte - node.start_byte
            if start > at:
                out.append(plain(raw[at:start]))
            out.append(self.word(child, context, depth, visit))
            at = child.end_byte - node.start_byte
        if end > at:
            out.append(plain(raw[at:end]))
        return "".join(out)


def _flat(names: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for group in names for name in group)
