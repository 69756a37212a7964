"""The daemon is killed while spans flow through a real broker: every span is stored once."""

from pathlib import Path

import pytest

from benchmarks.kill import passed, run

pytestmark = pytest.mark.kafka


def test_every_span_is_stored_once_over_five_kills(kafka_broker: str, tmp_path: Path) -> None:
    figures = run(tmp_path, kafka_broker, kills=5, spans=20_000)
    assert passed(figures), (figures, (tmp_path / "data.log").read_text()[-2_000:])
    assert float(str(figures["sigterm_s"])) <= 10
