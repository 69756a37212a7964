"""What is under deploy/ fits together, is hardened, and is accepted by the tools it is for."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.metrics import METRIC_NAMES
from alerts.rules import alert_names
from telltale.config import Settings, load

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "telltale"


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_daemon_takes_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELLTALE_DATA", raising=False)
    settings = load(DEPLOY / "telltale.yaml")
    assert settings.kafka is not None
    assert settings.api.listen.endswith(":8686")
    assert "telltale" in settings.api.hosts


def test_the_image_runs_as_nobody() -> None:
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    words = [line.split(maxsplit=1) for line in lines if line and not line.startswith((" ", "#"))]
    users = [value for word, value in words if word == "USER"]
    assert users == ["65532:65532"]
    assert not [word for word, _ in words if word == "ADD"]
    entry = [json.loads(value) for word, value in words if word in ("ENTRYPOINT", "CMD")]
    assert entry == [["telltale"], ["run"]]  # no shell
    copied = {Path(value.split()[0]).name for word, value in words if word == "COPY"}
    packages = {"telltale", "contracts", "collector", "storage", "detectors", "alerts"}
    assert packages <= copied
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} >= packages | {"pyproject.toml"}


def test_compose_is_hardened_and_complete() -> None:
    compose = read("compose.yaml")
    services = compose["services"]
    assert {"telltale", "kafka", "prometheus", "alertmanager"} <= services.keys()
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert re.search(r":v?\d+\.\d+", service["image"]), f"{name} is not pinned"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), volume
                assert volume.endswith(":ro"), volume
            else:
                assert source in compose["volumes"], volume
        if name != "kafka":
            assert service["read_only"] is True, name
    assert services["telltale"]["command"][-1] == "/etc/telltale/telltale.yaml"


def test_collector_kafka_and_daemon_agree() -> None:
    collector = read("collector/otel-collector.yaml")
    kafka = collector["exporters"]["kafka"]
    settings = read("telltale.yaml")
    assert kafka["traces"]["topic"] in settings["kafka"]["topics"]
    assert kafka["traces"]["encoding"] == "otlp_proto"
    assert kafka["partition_traces_by_id"] is True
    assert kafka["producer"]["compression"] == "zstd"
    assert kafka["producer"]["required_acks"] == -1
    broker = read("compose.yaml")["services"]["kafka"]["environment"]
    assert kafka["producer"]["max_message_bytes"] < broker["KAFKA_MESSAGE_MAX_BYTES"]
    assert kafka["brokers"] == settings["kafka"]["bootstrap_servers"]
    for pipeline in collector["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(collector[kind])


def test_prometheus_scrapes_the_job_that_the_rules_name() -> None:
    prometheus = read("prometheus/prometheus.yml")
    (job,) = prometheus["scrape_configs"]
    rules = (DEPLOY / "prometheus" / "telltale.rules.yml").read_text()
    assert f'up{{job="{job["job_name"]}"}}' in rules
    (target,) = job["static_configs"][0]["targets"]
    assert target.split(":")[0] in read("telltale.yaml")["api"]["hosts"]


def test_alertmanager_knows_the_alerts() -> None:
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    for name in re.findall(r"Telltale\w+", text):
        assert name in alert_names() or name in ("TelltaleSource", "Telltale"), name


@pytest.mark.prometheus
def test_prometheus_and_alertmanager_accept_their_files(promtool: str) -> None:
    done = run(promtool, "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("amtool is not installed (Debian's package: prometheus-alertmanager)")
    done = run(amtool, "check-config", str(DEPLOY / "alertmanager" / "alertmanager.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def dashboard() -> Any:
    return json.loads((DEPLOY / "grafana" / "dashboards" / "telltale.json").read_text())


def expressions() -> Iterator[str]:
    """Every PromQL expression of the dashboard, with Grafana's variables replaced."""
    panels, notes = dashboard()["panels"], dashboard()["annotations"]["list"]
    targets = [target for panel in panels for target in panel.get("targets", [])]
    for target in [*targets, *notes]:
        expr: str = target["expr"]
        yield expr.replace("$__rate_interval", "5m").replace("$subject", ".*")


def test_the_dashboard_shows_metrics_that_exist_without_overlap() -> None:
    found = list(expressions())
    assert len(found) > 20
    for expr in found:
        assert "$" not in expr
        assert set(re.findall(r"telltale_(\w+)", expr)) <= set(METRIC_NAMES), expr
    taken: set[tuple[int, int]] = set()
    ids: list[int] = []
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        ids.append(panel["id"])
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(ids) == len(set(ids))


@pytest.mark.prometheus
def test_promtool_accepts_every_expression_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"dashboard:{number}", "expr": expr} for number, expr in enumerate(expressions())
    ]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = run(promtool, "check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_the_chart_carries_the_rules() -> None:
    committed = (DEPLOY / "prometheus" / "telltale.rules.yml").read_text()
    assert (CHART / "telltale.rules.yml").read_text() == committed


def test_the_charts_settings_are_settings() -> None:
    config = yaml.safe_load((CHART / "values.yaml").read_text())["config"]
    Settings.model_validate(config)


@pytest.fixture(scope="module")
def helm() -> str:
    found = shutil.which("helm")
    if found is None:
        pytest.skip("helm is not installed")
    return found


def rendered(helm: str, *options: str) -> list[Any]:
    done = run(helm, "template", "release", str(CHART), "--kube-version=1.31.0", *options)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def test_helm_renders_the_chart(helm: str, tmp_path: Path) -> None:
    assert run(helm, "lint", "--strict", str(CHART)).returncode == 0
    kinds = {document["kind"] for document in rendered(helm)}
    assert kinds == {"ConfigMap", "StatefulSet", "Service", "NetworkPolicy"}
    options = [
        "--set=monitoring.enabled=true",
        "--set=tokenSecret=telltale-token",
        "--set=config.kafka.bootstrap_servers={kafka:9092}",
    ]
    documents = {document["kind"]: document for document in rendered(helm, *options)}
    config = tmp_path / "telltale.yaml"
    config.write_text(documents["ConfigMap"]["data"]["telltale.yaml"])
    settings = load(config)
    assert settings.kafka is not None
    assert settings.api.listen == "0.0.0.0:8686"
    pod = documents["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["env"][0]["name"] == "TELLTALE_API__TOKEN"
    rules = [
        rule["alert"] for g in documents["PrometheusRule"]["spec"]["groups"] for rule in g["rules"]
    ]
    assert set(rules) == set(alert_names())


@pytest.mark.parametrize(
    "option",
    [
        "--set=replicas=3",
        "--set=persistence.size=ten",
        "--set=config.api.token=secret",
        "--set=config.data=/elsewhere",
        "--set=image.pullPolicy=Sometimes",
    ],
)
def test_helm_refuses_wrong_values(helm: str, option: str) -> None:
    done = run(helm, "template", "release", str(CHART), "--kube-version=1.31.0", option)
    assert done.returncode != 0
    assert "schema" in done.stderr
