"""The outbox under an Alertmanager that is down, slow, wrong, and well again."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, cast

import httpx2
import pytest

from alerts.alertmanager import Alertmanager, Rejected, alert_name
from alerts.log_sink import LogSink
from alerts.outbox import Delivery, Plan, Settings, State, failed, plan, succeeded
from alerts.rules import alert_names
from contracts.clock import Clock
from contracts.errors import ConfigError, PermanentError, RetryableError
from contracts.ports import TrajectoryStore
from contracts.testing import ManualClock
from contracts.trajectory import Subject
from contracts.verdict import Alert

MakeAlert = Callable[..., Alert]
SECOND = 1_000_000_000


class Outbox:
    """The part of a store that delivery needs."""

    def __init__(self, alerts: Sequence[Alert] = ()) -> None:
        self.alerts = list(alerts)
        self.broken = False

    def pending_alerts(self, limit: int) -> Sequence[Alert]:
        if self.broken:
            raise RetryableError("reopening")
        return self.alerts[:limit]

    def mark_delivered(self, alert_ids: Sequence[str], at_ns: int) -> None:
        self.alerts = [alert for alert in self.alerts if alert.alert_id not in alert_ids]


class Receiver:
    """A pager that takes everything, unless told otherwise."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.resolved: list[str] = []
        self.down = False
        self.malformed: set[str] = set()

    def send(self, alerts: Sequence[Alert]) -> None:
        self._check(alerts)
        self.sent.extend(alert.alert_id for alert in alerts)

    def resolve(self, alerts: Sequence[Alert]) -> None:
        self._check(alerts)
        self.resolved.extend(alert.alert_id for alert in alerts)

    def _check(self, alerts: Sequence[Alert]) -> None:
        if self.down:
            raise RetryableError("down")
        if self.malformed & {alert.alert_id for alert in alerts}:
            raise PermanentError("malformed")


class Bench:
    """A delivery with its parts in reach."""

    def __init__(self, alerts: Sequence[Alert], **settings: Any) -> None:
        self.clock = ManualClock()
        self.store = Outbox(alerts)
        self.receiver = Receiver()
        self.over: set[str] = set()
        self.told: list[tuple[str, int]] = []
        self.delivery = Delivery(
            cast(TrajectoryStore, self.store),
            self.receiver,
            lambda alert: alert.alert_id not in self.over,
            lambda result, alerts: self.told.append((result, alerts)),
            lambda: 0.5,
            Settings(**settings),
        )

    def turns(self, seconds: int) -> None:
        for _ in range(seconds):
            self.delivery.turn(self.clock.now_ns())
            self.clock.advance(1)


@pytest.fixture
def three(alert: MakeAlert) -> list[Alert]:
    return [alert(alert_id=f"a{number}") for number in range(3)]


def test_alerts_are_sent_once_in_order_and_repeated_while_they_hold(three: list[Alert]) -> None:
    bench = Bench(three)
    bench.turns(59)
    assert bench.receiver.sent == ["a0", "a1", "a2"]
    assert bench.store.alerts == []
    bench.turns(120)
    assert bench.receiver.sent == ["a0", "a1", "a2"] * 3
    bench.over.add("a1")
    bench.turns(120)
    assert bench.receiver.resolved == ["a1"]
    assert set(bench.receiver.sent[9:]) == {"a0", "a2"}
    assert bench.told == [("delivered", 3)]


def test_half_an_hour_without_a_receiver_loses_nothing(three: list[Alert]) -> None:
    bench = Bench(three)
    bench.receiver.down = True
    bench.turns(1_800)
    attempts = len(bench.told)
    assert 30 < attempts < 60  # once a minute after the first ones
    assert len(bench.store.alerts) == 3
    bench.receiver.down = False
    bench.turns(60)
    assert bench.receiver.sent[:3] == ["a0", "a1", "a2"]
    assert bench.store.alerts == []
    assert bench.delivery.state.failures == 0


def test_a_malformed_alert_does_not_hold_up_the_others(three: list[Alert]) -> None:
    bench = Bench(three, batch=1_000)
    bench.receiver.malformed.add("a1")
    bench.turns(30)
    assert set(bench.receiver.sent) == {"a0", "a2"}
    assert [alert.alert_id for alert in bench.store.alerts] == ["a1"]
    assert ("rejected", 1) in bench.told
    bench.receiver.malformed.clear()
    bench.turns(3_700)
    assert "a1" in bench.receiver.sent
    assert bench.store.alerts == []


def test_a_repeat_that_is_called_malformed_is_let_go(three: list[Alert]) -> None:
    bench = Bench(three)
    bench.turns(10)
    bench.receiver.malformed.add("a1")
    bench.turns(100)
    assert bench.delivery.state.failures == 0


def test_a_store_that_is_reopened_is_waited_for(three: list[Alert]) -> None:
    bench = Bench(three)
    bench.store.broken = True
    bench.turns(5)
    bench.store.broken = False
    bench.turns(60)
    assert bench.receiver.sent[:3] == ["a0", "a1", "a2"]


def test_batches_are_bounded(alert: MakeAlert) -> None:
    bench = Bench([alert(alert_id=str(number)) for number in range(250)], batch=100)
    bench.turns(3)
    assert bench.store.alerts == []
    assert bench.receiver.sent == [str(number) for number in range(250)]


def test_alerts_of_an_earlier_process_are_repeated_or_ended(alert: MakeAlert) -> None:
    receiver, clock = Receiver(), ManualClock()
    delivery = Delivery(
        cast(TrajectoryStore, Outbox()),
        receiver,
        lambda alert: alert.alert_id == "holds",
        lambda result, alerts: None,
        lambda: 0.0,
        open_alerts=[alert(alert_id="holds"), alert(alert_id="over")],
    )
    delivery.turn(clock.now_ns())
    assert (receiver.sent, receiver.resolved) == (["holds"], ["over"])


def test_backoff_doubles_up_to_its_bound_and_is_spread() -> None:
    settings, state, waits = Settings(), State(), list[float]()
    for _ in range(40):
        state = failed(state, 0, 0.999999, settings)
        waits.append(state.not_before_ns / SECOND)
    assert waits[:4] == pytest.approx([1, 2, 4, 8], rel=1e-3)
    assert waits[-1] == pytest.approx(60, rel=1e-3)
    assert failed(State(), 0, 0.0, settings).not_before_ns == SECOND // 2
    assert plan(state, [], lambda alert: True, state.not_before_ns - 1, settings) == Plan()
    assert succeeded(state, Plan(), 0).not_before_ns == 0


def test_the_log_takes_alerts_without_their_content(
    alert: MakeAlert, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sink = LogSink()
    for _ in range(3):
        sink.send([alert(summary="secret", subject=Subject("e", "secret", "", ""))])
    sink.resolve([alert()])
    assert caplog.text.count("alert raised: a1 drift UA01 high") == 1
    assert "alert ended: a1" in caplog.text
    assert "secret" not in caplog.text


# The Alertmanager client.


class Peers:
    """Answers requests by host; remembers them."""

    def __init__(self, **statuses: int | Exception) -> None:
        self.statuses = statuses
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        status = self.statuses[request.url.host.split(".")[0]]
        if isinstance(status, Exception):
            raise status
        return httpx2.Response(status, text="answer")

    def bodies(self) -> Iterator[Any]:
        for request in self.requests:
            yield json.loads(request.content)


def client(peers: Peers, clock: Clock | None = None, **more: Any) -> Alertmanager:
    urls = [f"http://{name}.example:9093/am/" for name in peers.statuses]
    return Alertmanager(urls, clock or ManualClock(), transport=httpx2.MockTransport(peers), **more)


def test_what_alertmanager_is_told(alert: MakeAlert) -> None:
    peers = Peers(one=200, two=200)
    made = client(peers, page="https://telltale.example/", runbooks="https://wiki.example/rb/")
    made.send([alert(alert_id="a/1")])
    made.resolve([alert()])
    made.close()
    assert {str(request.url) for request in peers.requests} == {
        "http://one.example:9093/am/api/v2/alerts",
        "http://two.example:9093/am/api/v2/alerts",
    }
    firing, _, ended, _ = peers.bodies()
    assert firing[0]["labels"] == {
        "alertname": "TelltaleDrift",
        "alert_id": "a/1",
        "kind": "drift",
        "subject": "production/billing/7/student-8b",
        "category": "UA01",
        "reference": "teacher",
        "severity": "high",
        "sender": "telltale",
    }
    assert firing[0]["annotations"]["page"] == "https://telltale.example/alerts/a%2F1"
    assert firing[0]["annotations"]["runbook_url"] == "https://wiki.example/rb/TelltaleDrift.md"
    start, end = (datetime.fromisoformat(firing[0][key]) for key in ("startsAt", "endsAt"))
    assert (end - start).total_seconds() == 3_600
    assert ended[0]["endsAt"] <= firing[0]["endsAt"]
    assert ended[0]["startsAt"] < ended[0]["endsAt"]


def test_hostile_text_cannot_act_on_the_receiver(alert: MakeAlert) -> None:
    peers = Peers(one=200)
    bad = '"}\n{{ .X }}<!channel>\ud800\x00' + "x" * 100_000
    client(peers).send(
        [alert(subject=Subject(bad, bad, bad, bad), category=bad, reference=bad, summary=bad)]
    )
    (body,) = peers.bodies()
    for text in (*body[0]["labels"].values(), *body[0]["annotations"].values()):
        assert len(text) <= 300
        assert not set(text) & set("<>{}\n\x00\ud800")


def test_one_alertmanager_is_enough(alert: MakeAlert) -> None:
    down = httpx2.ConnectError("refused")
    client(Peers(one=down, two=200)).send([alert()])
    client(Peers(one=500, two=202)).send([alert()])
    client(Peers(one=400, two=200)).send([alert()])


@pytest.mark.parametrize("status", [500, 503, 429, 302, 404, httpx2.ReadTimeout("slow")])
def test_what_may_pass_is_tried_again(status: int | Exception, alert: MakeAlert) -> None:
    with pytest.raises(RetryableError, match="one"):
        client(Peers(one=status)).send([alert()])


def test_what_will_not_pass_is_rejected(alert: MakeAlert) -> None:
    with pytest.raises(Rejected, match="400"):
        client(Peers(one=400)).send([alert()])
    with pytest.raises(Rejected):
        client(Peers(one=400, two=500)).resolve([alert()])


@pytest.mark.parametrize("url", ["", "host:9093", "ftp://host", "http://", "http://[bad", "/x"])
def test_bad_urls_name_their_key(url: str) -> None:
    with pytest.raises(ConfigError, match=r"alertmanager\.urls"):
        Alertmanager([url], ManualClock())


def test_names_are_those_of_the_rules(alert: MakeAlert) -> None:
    made = [
        alert(),
        alert(kind="ceiling"),
        alert(kind="integrity", reference="gap"),
        alert(kind="integrity", reference="tampering"),
        alert(kind="integrity", reference="blind:teacher"),
    ]
    names = [alert_name(item) for item in made]
    assert len(set(names)) == 5
    assert set(names) <= set(alert_names())
