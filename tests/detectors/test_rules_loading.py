"""Rule folders of the user: what overrides what, and what a broken file says."""

from pathlib import Path

import pytest

from contracts.errors import RuleError
from contracts.testing import call
from detectors.rules.pack import RulePack

RULE = """
rules:
  - id: {id}
    version: 1
    maturity: stable
    category: UA12
    variant: greeting
    description: Somebody is greeted
    when: {when}
    fires: [{{tool: send_greeting, arguments: {{to: bob}}}}]
    silent: [{{tool: read_greeting, arguments: {{id: "1"}}}}]
"""


def one_rule(when: str, name: str = "own-bad") -> str:
    return RULE.format(id=name, when=when)


def folder(path: Path, text: str, name: str = "own.yaml") -> Path:
    path.mkdir(exist_ok=True)
    (path / name).write_text(text, encoding="utf-8")
    return path


def message(path: Path, text: str) -> str:
    with pytest.raises(RuleError) as error:
        RulePack.load([folder(path / "rules", text)])
    return str(error.value)


def test_own_rule_is_added_and_fires(tmp_path: Path) -> None:
    own = folder(tmp_path, one_rule("{tool: {object: greeting, act: send}}", "own-greeting"))
    pack = RulePack.load([own])
    assert pack.check() == []
    labels = pack.label([call("send_greeting", {"to": "bob"})])
    assert "own-greeting" in {action.rule_id for action in labels.actions}


def test_later_folder_replaces_by_id_and_may_switch_off(tmp_path: Path) -> None:
    shipped = RulePack.load()
    name = "ua01-rm-recursive"
    off = (
        f"rules:\n  - {{id: {name}, version: 9, maturity: stable, category: UA01, variant: x,"
        " description: switched off here, enabled: false, when: {failed: true}}\n"
    )
    pack = RulePack.load([folder(tmp_path / "a", off)])
    assert len(pack.rules) == len(shipped.rules)
    assert next(rule for rule in pack.rules if rule.id == name).version == 9
    gone = pack.label([call("run_command", {"command": "rm -rf /srv"})])
    assert name not in {action.rule_id for action in gone.actions}
    assert pack.digest() != shipped.digest() == RulePack.load().digest()


def test_own_set_replaces_the_shipped_one(tmp_path: Path) -> None:
    pack = RulePack.load([folder(tmp_path, 'sets: {scratch: ["/srv/*"]}')])
    cleared = pack.label([call("run_command", {"command": "rm -rf /srv/x"})])
    assert "ua01-rm-recursive" not in {action.rule_id for action in cleared.actions}


def test_failing_and_missing_cases_are_told(tmp_path: Path) -> None:
    text = RULE.format(id="own-wrong", when="{tool: {act: delete}}").replace(
        'silent: [{tool: read_greeting, arguments: {id: "1"}}]', ""
    )
    failures = RulePack.load([folder(tmp_path, text)]).check()
    assert [(f.rule_id, f.case) for f in failures] == [("own-wrong", ""), ("own-wrong", "fires[0]")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [", "own.yaml"),
        ("rules: 7", "own.yaml: rules: Input should be a valid tuple"),
        ("colour: red", "own.yaml: colour: Extra inputs"),
        (one_rule("{tool: {acts: send}}"), "own-bad: when.tool.acts: Extra"),
        (one_rule("{failed: true}", "Own Bad"), "Own Bad: id: String should match"),
        (one_rule("{}"), "own-bad: a condition without any key"),
        (one_rule("{tool: {act: $no_such}}"), "own-bad: unknown set '$no_such'"),
        (one_rule("{provenance: magic}"), "own-bad: provenance: unknown 'magic'"),
        (one_rule("{failed: true}").replace("UA12", "UA17"), "own-bad: category"),
        (
            one_rule("{earlier: {where: {failed: true}, same: mood}}"),
            "own-bad: when.earlier.same.0",
        ),
        ("sets: {a: [$b], b: [$a]}\n" + one_rule("{tool: {act: $a}}"), "refers to itself"),
    ],
)
def test_broken_files_name_file_rule_and_key(tmp_path: Path, text: str, said: str) -> None:
    assert said in message(tmp_path, text)


def test_same_id_twice_in_one_folder(tmp_path: Path) -> None:
    rule = RULE.format(id="own-twice", when="{failed: true}")
    folder(tmp_path / "rules", rule, "first.yaml")
    assert "own-twice: id already used in first.yaml" in message(tmp_path, rule)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="no such rule folder"):
        RulePack.load([tmp_path / "nowhere"])


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes(b"\xff\xfe\x00rules")
    with pytest.raises(RuleError, match=r"own\.yaml"):
        RulePack.load([tmp_path])
