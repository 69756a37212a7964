"""Settings: precedence, and the key's name in every error."""

from pathlib import Path

import pytest

from contracts.errors import ConfigError
from telltale import references
from telltale.config import load


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELLTALE_DATA", raising=False)


def written(folder: Path, text: str) -> Path:
    path = folder / "telltale.yaml"
    path.write_text(text)
    return path


def test_defaults_need_nothing() -> None:
    settings = load()
    assert settings.kafka is None
    assert settings.environment == "production"
    assert settings.otlp.http == "127.0.0.1:4318"
    assert settings.otlp.grpc == "127.0.0.1:4317"
    assert settings.api.listen == "127.0.0.1:8686"
    assert settings.subject == ("environment", "agent", "agent_version", "model")


def test_the_documented_file_loads(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
data: ./telltale-data
environment: production
kafka:
  bootstrap_servers: [host:9092]
  topics: [otlp_spans]
  group_id: telltale
  encoding: auto
otlp: {http: 127.0.0.1:4318, grpc: 127.0.0.1:4317}
api: {listen: 127.0.0.1:8686}
subject: [environment, agent, agent_version, model]
rules: {folders: []}
alertmanager: {urls: []}
""",
    )
    settings = load(path)
    assert settings.kafka is not None
    assert settings.kafka.bootstrap_servers == ("host:9092",)


def test_variables_win_over_the_file_and_the_command_line_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "environment: file\ndata: /from-file\n")
    monkeypatch.setenv("TELLTALE_ENVIRONMENT", "variable")
    monkeypatch.setenv("TELLTALE_OTLP__HTTP", "127.0.0.1:9999")
    monkeypatch.setenv("TELLTALE_KAFKA__BOOTSTRAP_SERVERS", '["a:1", "b:2"]')
    settings = load(path, data=tmp_path)
    assert settings.environment == "variable"
    assert settings.otlp.http == "127.0.0.1:9999"
    assert settings.otlp.grpc == "127.0.0.1:4317"
    assert settings.kafka is not None
    assert settings.kafka.bootstrap_servers == ("a:1", "b:2")
    assert settings.data == tmp_path


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("colour: red\n", "colour"),
        ("kafka: {bootstrap_servers: ['a:1'], topicz: [x]}\n", "kafka.topicz"),
        ("kafka: {topics: [x]}\n", "kafka.bootstrap_servers"),
        ("api: {listen: nowhere}\n", "api.listen"),
        ("subject: [colour]\n", "subject.0"),
        ("subject: []\n", "subject"),
        ("detection: {ceilings: {UA99: 0.1}}\n", "detection.ceilings"),
        ("detection: {ceilings: {UA01: 2}}\n", "detection.ceilings"),
        ("detection: {ceilings: {UA01: 1}}\n", "detection.ceilings"),
        ("detection: {materiality: -0.1}\n", "detection.materiality"),
        ("detection: {materiality: 10.5}\n", "detection.materiality"),
        ("detection: {materiality: .inf}\n", "detection.materiality"),
        ("detection: {materiality: .nan}\n", "detection.materiality"),
        ("detection: {arl: 5}\n", "detection.arl"),
        ("detection: {arl: .inf}\n", "detection.arl"),
        ("detection: {arl: .nan}\n", "detection.arl"),
        ("detection: {arl: 1.0e+300}\n", "detection.arl"),
        ("- a list\n", "--config"),
        ("a: [unclosed\n", "--config"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert caught.value.key == key
    assert key in str(caught.value)


def test_an_unknown_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLTALE_COLOUR", "red")
    with pytest.raises(ConfigError, match="TELLTALE_COLOUR"):
        load()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("materiality", "margin"), [(0, 2.0), (0.2, 2.0), (1, 10 / 3), (3, 20 / 3), (10, 55 / 3)]
)
def test_the_margin_leaves_room_above_what_does_not_matter(
    tmp_path: Path, materiality: float, margin: float
) -> None:
    settings = load(written(tmp_path, f"detection: {{materiality: {materiality}, arl: 1e+9}}\n"))
    made = references.tests(settings.detection)
    assert made.margin == pytest.approx(margin)
    assert made.tau == materiality


def test_a_mistyped_key_is_named_before_the_one_it_leaves_missing(tmp_path: Path) -> None:
    path = written(tmp_path, "kafka: {bootstrap_server: [host:9092]}\n")
    with pytest.raises(ConfigError, match=r"kafka\.bootstrap_server: is no setting"):
        load(path)
