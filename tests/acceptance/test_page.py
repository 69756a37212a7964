"""Two real SDKs to a page: Kafka, daemon, DuckDB, /metrics, Prometheus rule, Alertmanager."""

# pyright: reportUnknownMemberType=false
# kafka-python's admin client is untyped

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaAdminClient  # type: ignore[import-untyped]  # ships no types
from kafka.admin import NewTopic  # type: ignore[import-untyped]  # ships no types

from tests.acceptance.processes import (
    ROOT,
    Webhook,
    answers,
    get_json,
    run_command,
    running,
    telltale,
    wait_until,
)
from tests.kafka_broker import free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.prometheus]

RUNS = 40
"""Per SDK: a student that deletes 90 % against a base of 5 % alarms within twenty."""


def agents(broker: str, topic: str, model: str, habit: float, seed: int) -> None:
    options = {
        "kafka": broker,
        "topic": topic,
        "model": model,
        "habit": habit,
        "runs": RUNS,
        "seed": seed,
    }
    arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    run_command(sys.executable, "-m", "tests.acceptance.agents", *arguments)


def complete(api: str, model: str) -> int:
    found = get_json(f"{api}/api/v1/trajectories?model={model}&state=complete&limit=1000")
    return len(found)


def prometheus_config(port: int, alertmanager: int) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "deploy/prometheus/telltale.rules.yml")],
        "scrape_configs": [
            {
                "job_name": "telltale",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
        ],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
        },
    }


def alertmanager_config(webhook: str) -> dict[str, Any]:
    return {
        "route": {"receiver": "page", "group_wait": "1s", "group_interval": "1s"},
        "receivers": [{"name": "page", "webhook_configs": [{"url": webhook}]}],
    }


def test_the_unsafe_student_pages_and_the_safe_one_does_not(
    kafka_broker: str, tmp_path: Path
) -> None:
    api_port, prometheus_port, alertmanager_port = free_ports(3)
    api = f"http://127.0.0.1:{api_port}"
    data = tmp_path / "data"
    topic = f"otlp_spans_{api_port}"
    admin = KafkaAdminClient(bootstrap_servers=kafka_broker)
    admin.create_topics([NewTopic(name=topic, num_partitions=4, replication_factor=1)])
    admin.close()
    config = tmp_path / "telltale.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "data": str(data),
                "kafka": {"bootstrap_servers": [kafka_broker], "topics": [topic]},
                "otlp": {"http": None, "grpc": None},
                "api": {"listen": f"127.0.0.1:{api_port}"},
                "trajectories": {"idle_timeout_s": 2},
            }
        )
    )
    (tmp_path / "prometheus.yaml").write_text(
        yaml.safe_dump(prometheus_config(api_port, alertmanager_port))
    )
    with Webhook() as webhook:
        (tmp_path / "alertmanager.yaml").write_text(
            yaml.safe_dump(alertmanager_config(webhook.url))
        )
        with (
            running(telltale("run", "--config", str(config)), tmp_path / "daemon.log"),
            running(
                [
                    "prometheus-alertmanager",
                    f"--config.file={tmp_path / 'alertmanager.yaml'}",
                    f"--storage.path={tmp_path / 'alertmanager'}",
                    f"--web.listen-address=127.0.0.1:{alertmanager_port}",
                    "--cluster.listen-address=",
                ],
                tmp_path / "alertmanager.log",
            ),
            running(
                [
                    "prometheus",
                    f"--config.file={tmp_path / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{prometheus_port}",
                ],
                tmp_path / "prometheus.log",
            ),
        ):
            wait_until("the daemon is ready", lambda: answers(f"{api}/readyz"))
            agents(kafka_broker, topic, "base-8b", 0.05, seed=1)
            wait_until("the base is stored", lambda: complete(api, "base-8b") == 2 * RUNS)
            options = ("--data", str(data))
            run_command(
                *telltale("baseline", "fit", "--name", "base", "--kind", "base"),
                "--where", "model = 'base-8b'", *options,
            )  # fmt: skip
            run_command(
                *telltale("baseline", "promote", "base", "--for", "acceptance/*/*/student-*"),
                *options,
            )
            agents(kafka_broker, topic, "student-safe", 0.05, seed=2)
            agents(kafka_broker, topic, "student-unsafe", 0.9, seed=3)
            wait_until("the safe student is judged", lambda: judged(api, "student-safe"))
            wait_until("the unsafe student is judged", lambda: judged(api, "student-unsafe"))
            wait_until(
                "the page",
                lambda: bool(paged(webhook, "student-unsafe")),
            )
            alerts = get_json(f"{api}/api/v1/alerts")
            explained = json.loads(
                run_command(*telltale("explain", alerts[0]["alert_id"], "--json", *options))
            )
        assert {a["labels"]["category"] for a in paged(webhook, "student-unsafe")} >= {"UA01"}
        assert not paged(webhook, "student-safe")
        assert explained["reference"]["name"] == "base"
        assert explained["contributions"]
        assert "rm -rf" in str(explained["contributions"])


def judged(api: str, model: str) -> bool:
    """Whether all trajectories of the model are complete, and its verdicts are there."""
    verdicts = get_json(f"{api}/api/v1/verdicts")
    there = any(verdict["subject"]["model"] == model for verdict in verdicts)
    return there and complete(api, model) == 2 * RUNS


def paged(webhook: Webhook, model: str) -> list[dict[str, Any]]:
    """Firing notifications about unsafe actions of the model."""
    return [
        alert
        for alert in list(webhook.alerts)
        if alert["status"] == "firing"
        and model in alert["labels"].get("subject", "")
        and alert["labels"].get("category")
        and "Drift" in alert["labels"]["alertname"]
    ]
