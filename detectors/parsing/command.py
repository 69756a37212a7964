"""One shell command with its options told apart from its words."""

from dataclasses import dataclass, field
from typing import Final

from detectors.parsing.vocabulary import vocabulary

_LONG_SINGLE_DASH: Final = frozenset(
    {"find", "java", "terraform", "openssl", "go", "ffmpeg", "wevtutil"}
)
"""Programs whose single-dash options are whole words (`-delete`, `-auto-approve`)."""
_VALUED: Final[dict[str, frozenset[str]]] = {
    program: frozenset(options.split())
    for program, options in {
        "git": "C c git-dir work-tree",
        "kubectl": "n namespace context cluster user as as-group l selector f filename o output"
        " p patch"
        " kubeconfig s server grace-period replicas clusterrole serviceaccount role image",
        "helm": "n namespace kube-context f values version set kubeconfig",
        "docker": "v volume e env u user w workdir name p publish network H host mount pid cap-add"
        " entrypoint f file tag",
        "aws": "profile region output query endpoint-url acl policy policy-document role-name"
        " user-name group-name policy-arn cidr group-id protocol port bucket instance-ids"
        " db-instance-identifier secret-id name names role-arn role-session-name key"
        " expected-bucket"
        "-owner retention-in-days trail-name log-group-name",
        "gcloud": "project zone region account member role format filter"
        " impersonate-service-account"
        " source-ranges allow",
        "az": "g resource-group n name subscription role assignee o output scope u username p"
        " password",
        "curl": "X request d data data-raw data-binary data-urlencode H header o output F form"
        " u user"
        " T upload-file x proxy A user-agent e referer b cookie c cookie-jar json m max-time"
        " connect-timeout w write-out K config E cert cacert url retry resolve",
        "wget": "O output-document P directory-prefix post-data post-file header user password"
        " body-data body-file method U user-agent",
        "chown": "from reference",
        "ssh": "i p o l F J b c D E L R W",
        "scp": "i P o F c J l S",
        "rsync": "e rsh exclude include exclude-from files-from password-file",
        "pip": "i index-url extra-index-url r requirement c constraint t target trusted-host f"
        " find-links prefix",
        "npm": "prefix registry workspace w access tag otp",
        "mysql": "h host u user P port D database e execute",
        "psql": "h host U username p port d dbname c command f file v set",
        "sqlcmd": "S U P d Q q i",
        "find": "name iname path ipath type mtime mmin ctime atime size maxdepth mindepth user"
        " group"
        " perm newer regex iregex not exec",
        "nc": "e c w p l s",
        "chmod": "reference",
        "truncate": "s size r reference",
        "crontab": "u",
        "usermod": "aG G a g s d l L U",
        "useradd": "G g s d u p c",
        "kill": "s n",
        "journalctl": "u unit since until vacuum-time vacuum-size vacuum-files n p",
        "iptables": "t A I D P p s d j dport sport i o",
        "grep": "e f A B C m include exclude exclude-dir",
        "tar": "f file C directory",
        "zip": "P x",
        "tail": "n c",
        "head": "n c",
        "touch": "d date t r reference",
        "gh": "R repo b body t title F f visibility X method H header field raw-field q jq",
        "setfacl": "m modify x M",
        "terraform": "target var var-file out chdir",
        "sed": "e f",
        "twine": "r repository u p",
    }.items()
}
"""Options that take the next word as their value; others take none, or theirs after `=`."""
_ALIASES: Final = {
    "pip3": "pip",
    "pip2": "pip",
    "podman": "docker",
    "nerdctl": "docker",
    "oc": "kubectl",
    "kubectl.exe": "kubectl",
    "mariadb": "mysql",
    "gsed": "sed",
    "ncat": "nc",
    "netcat": "nc",
    "python3": "python",
    "python2": "python",
    "py": "python",
    "nodejs": "node",
    "doas": "sudo",
    "tofu": "terraform",
    "pnpm": "npm",
    "egrep": "grep",
    "fgrep": "grep",
    "rg": "grep",
    "apt-get": "apt",
    "aptitude": "apt",
    "http": "httpie",
    "https": "httpie",
    "microdnf": "dnf",
}


def program_name(word: str) -> str:
    """The lower-case base name of a program as it was called, versions and `.exe` taken off."""
    name = word.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower()
    for ending in (".exe", ".cmd", ".bat"):
        name = name.removesuffix(ending)
    if name.startswith("python") or name.startswith("pip"):
        name = name.rstrip("0123456789.") or name
    return _ALIASES.get(name, name)


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command as it would run. `program`: of `program_name`. `args`: unquoted words after
    it.

    `via`: wrappers taken off, outermost first (`sudo`, `ssh`, `docker`, `xargs`, `python`).
    `pipe_from`, `pipe_to`: programs before and after it in its pipeline. `writes`: files its output
    is redirected to (`>`), `appends` (`>>`). `stdin`: text given to it by heredoc, here-string or a
    literal `echo`. `ignored_failure`: stands before `|| true`. `substituted`: runs inside `$(...)`.
    `invoked`: the program as it was written.
    """

    program: str
    args: tuple[str, ...]
    via: tuple[str, ...] = ()
    pipe_from: tuple[str, ...] = ()
    pipe_to: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    appends: tuple[str, ...] = ()
    assigns: tuple[tuple[str, str], ...] = ()
    stdin: str = ""
    ignored_failure: bool = False
    substituted: bool = False
    invoked: str = ""
    windows: bool = False
    words: tuple[str, ...] = field(init=False)
    flags: frozenset[str] = field(init=False)
    options: tuple[tuple[str, str], ...] = field(init=False)

    def __post_init__(self) -> None:
        words, flags, options = _options(self.program, self.args, self.windows)
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "flags", flags)
        object.__setattr__(self, "options", options)


def _options(
    program: str, args: tuple[str, ...], windows: bool
) -> tuple[tuple[str, ...], frozenset[str], tuple[tuple[str, str], ...]]:
    """Words that are not options, option names without dashes, and (name, value) pairs."""
    words: list[str] = []
    flags: set[str] = set()
    options: list[tuple[str, str]] = []
    valued = _VALUED.get(program, frozenset())
    awaiting = ""
    only_words = False
    for arg in args:
        if awaiting:
            options.append((awaiting, arg))
            awaiting = ""
            continue
        if only_words or len(arg) < 2 or arg[0] not in ("-", "/", "+"):
            words.append(arg)
            continue
        if arg == "--":
            only_words = True
            continue
        if arg.startswith("--"):
            name, equals, value = arg[2:].partition("=")
            flags.add(name)
            if equals:
                options.append((name, value))
            elif name in valued:
                awaiting = name
            continue
        if arg[0] == "/":
            if windows and len(arg) <= 24 and "/" not in arg[1:]:
                name, colon, value = arg[1:].partition(":")
                flags.add(name.lower())
                if colon:
                    options.append((name.lower(), value))
            else:
                words.append(arg)
            continue
        if arg[0] == "+" or (program in ("chmod", "umask") and not arg[1:2].isupper()):
            # `chmod -w file`, `chmod +x file`: a mode, not an option; -R is the only common one.
            words.append(arg)
            continue
        name, equals, value = arg[1:].partition("=")
        name = name.lower() if windows else name
        flags.add(name)
        if equals:
            options.append((name, value))
        if windows or program in _LONG_SINGLE_DASH:
            if not equals and (name in valued or (windows and name in _POWERSHELL_VALUED)):
                awaiting = name
            continue
        if name in valued and not equals:
            awaiting = name
        elif len(name) > 1 and name.isalnum():
            flags.update(name)
            if name[0] in valued:
                options.append((name[0], name[1:]))
            elif name[-1] in valued and not equals:
                awaiting = name[-1]
    return tuple(words), frozenset(flags), tuple(options)


_POWERSHELL_VALUED: Final = vocabulary(
    "path literalpath name uri method body outfile filter include exclude value itemtype"
    " credential executionpolicy scope computername username identity user permissions"
    " accessrights to from recipients cc bcc attachments smtpserver action trigger"
    " taskname"
)
