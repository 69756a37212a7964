"""Shell, PowerShell and command options."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.parsing.command import Command, program_name
from detectors.parsing.files import files_of_command
from detectors.parsing.quoting import masked, plain
from detectors.parsing.shell import MAX_COMMANDS, parse_shell
from detectors.parsing.web import request_of_command


def programs(text: str) -> list[str]:
    return [command.program for command in parse_shell(text).commands]


def only(text: str, program: str) -> Command:
    (found,) = [one for one in parse_shell(text).commands if one.program == program]
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ls -la && pwd; id", ["ls", "pwd", "id"]),
        ("sudo -u root -- rm x", ["rm"]),
        ("env -i A=1 B=2 python3.11 app.py", ["python"]),
        ("nohup nice -n 5 ./run.sh &", ["run.sh"]),
        ("bash -lc 'a; b' ", ["bash", "a", "b"]),
        ("eval 'a'", ["eval", "a"]),
        ("xargs -n1 rm < list", ["xargs", "rm"]),
        ("find . -name '*.x' -exec cp {} /b \\;", ["find", "cp"]),
        ("ssh -p 22 host 'a && b'", ["ssh", "a", "b"]),
        ("kubectl exec -it pod -n ns -- sh -c 'cat /x'", ["kubectl", "sh", "cat"]),
        ("docker run --rm -v /a:/b img ls /b", ["docker", "ls"]),
        ("$(a) `b`", ["a", "b", "$(a)"]),
        ("x=$(a | b)", ["a", "b"]),
        ("diff <(a) <(b)", ["a", "b", "diff"]),
        ("f() { rm -r x; }; f", ["rm", "f"]),
        ("case $x in a) b;; esac", ["b"]),
        ("cat <<EOF\n$(rm x)\nEOF", ["rm", "cat"]),
        ("cat <<'EOF' > f\nrm x\nEOF", ["cat"]),
        ("bash <<EOF\nls\nEOF", ["bash", "ls"]),
        ("echo 'ls' | bash", ["echo", "bash", "ls"]),
        ("echo ls | grep x", ["echo", "grep"]),
        ("# rm -rf /", []),
        ("", []),
    ],
)
def test_programs(text: str, expected: list[str]) -> None:
    assert programs(text) == expected


def test_words_flags_and_options() -> None:
    command = only("git -C repo push --force-with-lease origin +main", "git")
    assert command.words == ("push", "origin", "+main")
    assert {"C", "force-with-lease"} <= command.flags
    assert ("C", "repo") in command.options
    assert only("rm -rf -- -x", "rm").words == ("-x",)
    assert {"r", "f"} <= only("rm -rf x", "rm").flags
    assert only("aws s3api put-bucket-acl --acl=public-read", "aws").options == (
        ("acl", "public-read"),
    )
    assert only("chmod -R g-w,o+x f", "chmod").words == ("g-w,o+x", "f")
    assert "delete" in only("find /x -delete", "find").flags


def test_quotes_and_variables() -> None:
    assert only("rm \"a b\" 'c d' e\\ f $'g\\x41'", "rm").words == ("a b", "c d", "e f", "gA")
    assert only('D=/srv/x; rm -r "$D/y" "${D}z" $E', "rm").words == ("/srv/x/y", "/srv/xz", "$E")


def test_pipes_redirects_and_ignored_failures() -> None:
    first, second, third = parse_shell("a x | sudo b > f 2>&1 | c >> g").commands
    assert (first.pipe_to, second.pipe_from, second.writes) == (("b", "c"), ("a",), ("f",))
    assert (third.pipe_from, third.appends) == (("a", "b"), ("g",))
    assert [one.ignored_failure for one in parse_shell("pytest || true; ls").commands] == [
        True,
        False,
    ]
    assert [one.writes for one in parse_shell("a && b > f").commands] == [(), ("f",)]
    assert parse_shell("> f").commands[0].writes == ("f",)


def test_via_and_stdin() -> None:
    assert only("sudo timeout 3 rm x", "rm").via == ("sudo", "timeout")
    assert only("tee f <<< 'hello'", "tee").stdin == "hello"
    assert parse_shell("python3 - <<'EOF'\nprint(1)\nEOF").code == ["print(1)\n"]
    assert parse_shell("python -c 'print(1)'").code == ["print(1)"]


@pytest.mark.parametrize(
    ("text", "program", "words", "flags"),
    [
        (
            "Remove-Item -Recurse -Force C:\\data",
            "remove-item",
            ("C:\\data",),
            {"recurse", "force"},
        ),
        ('cmd /c "del /s /q C:\\x"', "del", ("C:\\x",), {"s", "q"}),
        ("powershell -Command \"Get-Item 'C:\\a b'\"", "get-item", ("C:\\a b",), set[str]()),
        ("reg add HKLM\\Run /v x /f C:\\y", "reg", ("add", "HKLM\\Run", "x", "C:\\y"), {"v", "f"}),
    ],
)
def test_windows(text: str, program: str, words: tuple[str, ...], flags: set[str]) -> None:
    command = only(text, program)
    assert command.words == words
    assert flags <= command.flags


def test_program_names() -> None:
    assert program_name("/usr/bin/python3.11") == "python"
    assert program_name("C:\\Windows\\System32\\cmd.exe") == "cmd"
    assert program_name("pip3") == "pip"


def test_files_of_commands() -> None:
    touched = [
        (file.access, file.path)
        for command in parse_shell("cp a b; sed -i s/x/y/ c; cat d > e; mv f g; grep p h").commands
        for file in files_of_command(command)
    ]
    assert touched == [
        ("read", "a"),
        ("write", "b"),
        ("write", "c"),
        ("write", "e"),
        ("read", "d"),
        ("read", "f"),
        ("write", "g"),
        ("read", "h"),
    ]


def test_requests_of_commands() -> None:
    request = request_of_command(
        only("curl -sk -X DELETE -H 'a: b' https://X.example/v?y=1", "curl")
    )
    assert request is not None
    assert (request.method, request.host, request.path) == ("delete", "x.example", "/v?y=1")
    assert (request.insecure, request.sends) == (True, False)
    posted = request_of_command(only("curl https://x.example -d @f", "curl"))
    assert posted is not None
    assert (posted.method, posted.sends) == ("post", True)
    assert request_of_command(only("ls http://x", "ls")) is None


def test_bounds() -> None:
    many = parse_shell(";".join(["ls"] * (MAX_COMMANDS + 50)))
    assert len(many.commands) == MAX_COMMANDS
    assert many.partial
    deep = parse_shell("$(" * 300 + "x" + ")" * 300)
    assert deep.partial
    nested = parse_shell('bash -c "bash -c \'eval \\"ls\\"\'"')
    assert [one.program for one in nested.commands][-1] == "ls"


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=120))
def test_any_text_parses(text: str) -> None:
    assert len(parse_shell(text).commands) <= MAX_COMMANDS


@given(st.text(st.characters(codec="utf-8")))
def test_the_parser_gets_ascii_and_the_text_comes_back(text: str) -> None:
    assert masked(text).isascii()
    assert plain(masked(text)) == text


def test_half_a_character_is_replaced_and_what_only_looks_masked_stays() -> None:
    assert plain(masked("a\ud800b")) == "a\ufffdb"
    assert plain(b"-p 127.0.0.1:8080:80 :u00002f: :uffffff:") == (
        "-p 127.0.0.1:8080:80 :u00002f: :uffffff:"
    )


def test_characters_far_out_end_no_process_and_words_keep_them() -> None:
    # in a process of its own: what this is about ends it
    source = (
        "from detectors.parsing.shell import parse_shell\n"
        "for code in (0x80, 0xFF, 0xFFFF, 0x107965, 0x10FFFF):\n"
        "    for before in '{', '${', '$', '*{', '^{', '[[ ', '((', '<<', 'a=':\n"
        "        for _ in range(200):\n"
        "            parse_shell(before + chr(code) * 3)\n"
    )
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
    (command,) = parse_shell("rm -rf 'Größe/文件' \"né \U0010ffff\" ж").commands
    assert list(command.args) == ["-rf", "Größe/文件", "né \U0010ffff", "ж"]
