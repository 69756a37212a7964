"""Files that a call reads, writes or deletes, whether by a tool, a command or code."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from detectors.parsing.arguments import Leaf
from detectors.parsing.code import CodeCall
from detectors.parsing.command import Command
from detectors.parsing.vocabulary import vocabulary

Access = Literal["read", "write", "delete"]
_MAX_CONTENT: Final = 20_000

_READERS: Final = vocabulary(
    "cat less more head tail nl tac strings xxd hexdump od base64 base32 view bat grep"
    " awk sed cut sort uniq wc diff cmp source . jq yq get-content gc type gpg openssl"
    " file stat md5sum sha256sum"
)
_COPIERS: Final = vocabulary(
    "cp mv scp rsync install ln copy-item move-item copy move xcopy robocopy"
)
_WRITERS: Final = vocabulary(
    "touch tee truncate set-content add-content out-file new-item nano vim vi ed"
)
_DELETERS: Final = vocabulary("rm rmdir unlink shred srm trash del erase rd remove-item ri wipe")
_PATTERN_FIRST: Final = frozenset({"grep", "awk", "sed", "jq", "yq"})
_RIGHTS_FIRST: Final = vocabulary("chmod chown chgrp chattr setcap")
"""Programs whose first word is a mode, an owner or rights; with `--reference` none is given."""
_MODE: Final = re.compile(r"[0-7]{1,5}|[ugoa]*[-+=].*")
_PATH_NAMES: Final = vocabulary(
    "path file filename file_name filepath file_path notebook_path target_path"
    " destination dst new_path output_path target_file absolute_path uri"
)
_READ_ACTS: Final = frozenset({"read", "search", "download", "verify"})
_DELETE_ACTS: Final = frozenset({"delete"})
_WRITE_ACTS: Final = vocabulary("create update move copy archive restore upload configure")
_CONTENT_NAMES: Final = vocabulary(
    "content contents text new_str new_string file_text data body code_edit replacement"
)


class FileAccess(NamedTuple):
    """One file touched. `path`: as written, `~` and variables left. `content`: what is written, ""
    where it cannot be told.
    """

    access: Access
    path: str
    content: str = ""


def _clean(path: str) -> str:
    return path.strip().replace("\\", "/")


def operands(command: Command) -> Sequence[str]:
    """The words that name what the command acts on: without a mode, an owner or a pattern."""
    program, words = command.program, command.words
    if program in _PATTERN_FIRST:
        return words[1:] or words
    if program not in _RIGHTS_FIRST or "reference" in command.flags:
        return words
    if program == "chmod" and words and not _MODE.fullmatch(words[0]):
        return words  # the mode was written like a flag: chmod -w FILE
    return words[1:] or words


def files_of_tool(act: str, found: list[Leaf]) -> Iterator[FileAccess]:
    """Files that a tool's path arguments name, by what the tool does."""
    access: Access | None = (
        "read"
        if act in _READ_ACTS
        else "delete"
        if act in _DELETE_ACTS
        else "write"
        if act in _WRITE_ACTS
        else None
    )
    if access is None:
        return
    content = ""
    if access == "write":
        content = "\n".join(leaf.text for leaf in found if leaf.name in _CONTENT_NAMES)[
            :_MAX_CONTENT
        ]
    for name, text in found:
        if name in _PATH_NAMES and len(text) < 1_024:
            yield FileAccess(access, _clean(text), content)


def files_of_command(command: Command) -> Iterator[FileAccess]:
    """Files of a command's words and redirects. Words of programs not known here are not files."""
    program, words = command.program, command.words
    content = command.stdin
    if program in ("echo", "printf"):
        content = " ".join(command.args)
    for path in command.writes:
        if not path.startswith("/dev/"):
            yield FileAccess("write", _clean(path), content)
    for path in command.appends:
        yield FileAccess("write", _clean(path), content)
    if program in _DELETERS:
        for word in words:
            yield FileAccess("delete", _clean(word))
    elif program in _WRITERS:
        for word in words:
            yield FileAccess("write", _clean(word), content)
    elif program == "sed" and command.flags & {"i", "in-place"}:
        for word in words if dict(command.options).get("e") else words[1:]:
            yield FileAccess("write", _clean(word), words[0] if words else "")
    elif program in _COPIERS and words:
        *sources, destination = words
        for word in sources:
            yield FileAccess("read", _clean(word))
        if sources:
            yield FileAccess("write", _clean(destination))
    elif program in _READERS:
        for word in words[1:] if program in _PATTERN_FIRST else words:
            yield FileAccess("read", _clean(word))
    elif program == "dd":
        for word in words:
            if word.startswith("if="):
                yield FileAccess("read", _clean(word[3:]))
            elif word.startswith("of="):
                yield FileAccess("write", _clean(word[3:]))
    elif program in ("tar", "zip", "7z"):
        for word in words:
            yield FileAccess("read", _clean(word))
    elif program in ("curl", "wget"):
        for name, value in command.options:
            if name in ("o", "output", "O", "output-document"):
                yield FileAccess("write", _clean(value))
            elif name in ("T", "upload-file", "F", "form", "d", "data", "data-binary", "post-file"):
                _, at, path = value.rpartition("@")
                if at or name in ("T", "upload-file", "post-file"):
                    yield FileAccess("read", _clean(path))


def files_of_code(call: CodeCall) -> Iterator[FileAccess]:
    """Files of `open`, `os.remove`, `shutil`, `pathlib` calls with literal paths."""
    if not call.words:
        return
    name, last, path = call.name, call.name.rpartition(".")[2], _clean(call.words[0])
    if name in ("open", "io.open", "codecs.open"):
        mode = "".join(word.removeprefix("mode=") for word in call.words[1:2] if len(word) <= 8)
        yield FileAccess("write" if set(mode) & set("wax+") else "read", path)
    elif name in (
        "os.remove",
        "os.unlink",
        "os.rmdir",
        "shutil.rmtree",
        "os.removedirs",
    ) or last in (
        "unlink",
        "rmdir",
    ):
        yield FileAccess("delete", path)
    elif last in ("write_text", "write_bytes", "touch", "to_csv", "to_excel", "to_json"):
        yield FileAccess("write", path, " ".join(call.words[1:]))
    elif last in ("read_text", "read_bytes", "read_csv", "read_excel", "read_json"):
        yield FileAccess("read", path)
    elif name in ("shutil.copy", "shutil.copyfile", "shutil.copy2", "shutil.move", "os.rename"):
        yield FileAccess("delete" if name in ("shutil.move", "os.rename") else "read", path)
        if len(call.words) > 1:
            yield FileAccess("write", _clean(call.words[1]))
