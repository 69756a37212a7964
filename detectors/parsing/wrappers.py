"""Takes wrappers off a command: `sudo`, `env`, `timeout`, `xargs`, `bash -c`, `ssh host`, ..."""

from dataclasses import dataclass
from typing import Final, Literal

from detectors.parsing.command import program_name
from detectors.parsing.vocabulary import vocabulary

_PREFIXES: Final[dict[str, frozenset[str]]] = {
    name: frozenset(valued.split())
    for name, valued in {
        "sudo": "-u -g -p -h -C -r -t -U -D -R -T --user --group --prompt --host --chdir",
        "pkexec": "--user",
        "runas": "",
        "env": "-u -C -S --unset --chdir",
        "nohup": "",
        "nice": "-n --adjustment",
        "ionice": "-c -n -p",
        "time": "-f -o",
        "timeout": "-k -s --kill-after --signal",
        "stdbuf": "-i -o -e",
        "setsid": "",
        "command": "",
        "builtin": "",
        "exec": "-a",
        "chroot": "--userspec --groups",
        "nsenter": "-t --target -S -G",
        "unshare": "",
        "xargs": "-I -n -P -L -d -s -a -E --max-args --max-procs --delimiter --replace",
        "parallel": "-j --jobs",
        "watch": "-n --interval",
        "flock": "-w --timeout",
        "strace": "-e -o -p",
        "ltrace": "",
        "caffeinate": "-t",
        "unbuffer": "",
        "torsocks": "",
        "proxychains": "-f",
        "uv": "",
        "poetry": "",
    }.items()
}
"""Programs that run the rest of their words, and their options that take a value."""
_SHELLS: Final = vocabulary("sh bash zsh dash ksh ash fish")
_INTERPRETERS: Final = {"python": "python", "ipython": "python"}
_DOCKER_VALUED: Final = vocabulary(
    "-e --env -u --user -w --workdir -v --volume --name -p --publish --network --mount"
    " --entrypoint -h --hostname --pid --cap-add --device --memory -m --cpus --label -l"
    " --env-file --security-opt --ipc --userns -c --container -n --namespace --context"
)
_SSH_VALUED: Final = vocabulary("-i -p -o -l -F -J -b -c -D -E -L -R -W -m -S")

Language = Literal["shell", "powershell", "python"]


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """What remains of an argv. `source`: text in `language` that the command runs, "" if none."""

    argv: tuple[str, ...]
    via: tuple[str, ...]
    source: str = ""
    language: Language = "shell"


def _skip_options(argv: tuple[str, ...], valued: frozenset[str]) -> int:
    """Index of the first word after the options; variable assignments count as options."""
    index = 0
    while index < len(argv):
        word = argv[index]
        if word == "--":
            return index + 1
        if not word.startswith("-") or word == "-":
            name, equals, _ = word.partition("=")
            if equals and name.isidentifier():
                index += 1
                continue
            return index
        index += 2 if word in valued else 1
    return index


def _after_container(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Words after the container, image or pod name of `docker exec|run`, `kubectl exec`."""
    if "--" in argv:
        return argv[argv.index("--") + 1 :]
    start = _skip_options(argv, _DOCKER_VALUED)
    return argv[start + 1 :]


def inner(argv: tuple[str, ...]) -> Unwrapped | None:
    """What `argv` runs besides itself, None where it wraps nothing.

    The wrapper's name is the last of `via`. A shell's `-c` text comes as `source`.
    """
    if len(argv) < 2:
        return None
    program, rest = program_name(argv[0]), argv[1:]
    if program in _SHELLS or program == "su":
        for index, word in enumerate(rest):
            if word in ("-c", "--command") or (
                word.startswith("-") and not word.startswith("--") and word.endswith("c")
            ):
                text = rest[index + 1] if index + 1 < len(rest) else ""
                return Unwrapped((), (program,), text)
        return None
    if program in _INTERPRETERS and "-c" in rest[:-1]:
        return Unwrapped((), (program,), rest[rest.index("-c") + 1], "python")
    if program in _INTERPRETERS and "-m" in rest[:-1]:
        return Unwrapped(rest[rest.index("-m") + 1 :], (program,))
    if program in ("powershell", "pwsh"):
        for index, word in enumerate(rest):
            name = word.lower().lstrip("-/")
            if word[:1] in "-/" and name and (name == "c" or (name in "command" and len(name) > 3)):
                return Unwrapped((), (program,), " ".join(rest[index + 1 :]), "powershell")
        if rest[0][:1] in "-/":
            return None
        return Unwrapped((), (program,), " ".join(rest), "powershell")
    if program == "cmd":
        lowered = [word.lower() for word in rest]
        for option in ("/c", "/k"):
            if option in lowered:
                text = " ".join(rest[lowered.index(option) + 1 :])
                return Unwrapped((), (program,), text, "powershell")
        return None
    if program == "eval":
        return Unwrapped((), (program,), " ".join(rest))
    if program == "ssh":
        start = _skip_options(rest, _SSH_VALUED)
        words = rest[start + 1 :]
        return Unwrapped((), (program,), " ".join(words)) if words else None
    if program in ("docker", "kubectl") and rest[0] in ("exec", "run"):
        words = _after_container(rest[1:])
        return Unwrapped(words, (program,)) if words else None
    if program == "find":
        for option in ("-exec", "-execdir", "-ok"):
            if option in rest:
                start = rest.index(option) + 1
                words = tuple(word for word in rest[start:] if word not in (";", "\\;", "+"))
                root = rest[0] if not rest[0].startswith("-") else "."
                words = tuple(root if word == "{}" else word for word in words)
                return Unwrapped(words, (program,)) if words else None
        return None
    if program in ("uv", "poetry", "pipenv", "npx", "pdm") and rest[0] in ("run", "exec"):
        return Unwrapped(rest[1:], (program,))
    if program in _PREFIXES and program not in ("uv", "poetry"):
        start = _skip_options(rest, _PREFIXES[program])
        if program in ("timeout", "chroot", "flock") and start < len(rest):
            start += 1
        words = rest[start:]
        if not words:
            return None
        if program == "flock" and words[0] == "-c":
            return Unwrapped((), (program,), " ".join(words[1:]))
        if program in ("watch", "parallel") and len(words) == 1:
            return Unwrapped((), (program,), words[0])
        return Unwrapped(words, (program,))
    return None


def replaces(program: str) -> bool:
    """Whether the wrapper is nothing by itself, so that only what it runs is a command."""
    return program in _PREFIXES and program not in ("chroot", "nsenter", "xargs")
