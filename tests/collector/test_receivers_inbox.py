import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.inbox import OtlpInbox
from contracts.errors import Busy
from contracts.record import Record
from contracts.testing import ManualClock


def opened(max_records: int = 4096, max_bytes: int = 1 << 20) -> OtlpInbox:
    inbox = OtlpInbox(ManualClock(), max_records=max_records, max_bytes=max_bytes)
    inbox.start({})
    return inbox


def test_future_resolves_only_at_the_acknowledgement() -> None:
    inbox = opened()
    done = inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")
    (record,) = inbox.poll(0.0, 10)
    assert not done.done()
    assert (record.payload, record.signal, record.encoding) == (b"x", "traces", "otlp_proto")
    assert record.source == "otlp_http"
    inbox.acknowledge([record], {record.ticket: 3})
    assert done.result(0) == 3


def test_tickets_tell_records_apart_and_acknowledging_again_changes_nothing() -> None:
    inbox = opened()
    first, second = (inbox.submit(b"x", "logs", "otlp_json", "otlp_grpc") for _ in range(2))
    records = inbox.poll(0.0, 10)
    inbox.acknowledge(records[1:], {records[0].ticket: 9, records[1].ticket: 1})
    assert not first.done()
    assert second.result(0) == 1
    inbox.acknowledge(records, {})
    inbox.acknowledge(records, {})
    assert first.result(0) == 0
    assert second.result(0) == 1
    assert inbox.fill == (0, 0)


def test_refused_records_tell_their_senders_when_to_try_again() -> None:
    inbox = opened()
    done = inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")
    inbox.refuse(inbox.poll(0.0, 10), 2.5)
    with pytest.raises(Busy) as raised:
        done.result(0)
    assert raised.value.retry_after_s == 2.5
    assert inbox.fill == (0, 0)


def test_bounds_count_what_is_polled_but_not_acknowledged() -> None:
    inbox = opened(max_records=2)
    for _ in range(2):
        inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")
    records = inbox.poll(0.0, 10)
    with pytest.raises(Busy):
        inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")
    inbox.acknowledge(records[:1], {})
    inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")


def test_bytes_are_bounded_and_one_payload_always_fits_an_empty_inbox() -> None:
    inbox = opened(max_bytes=10)
    inbox.submit(b"x" * 25, "traces", "otlp_proto", "otlp_http")
    with pytest.raises(Busy):
        inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")
    inbox.acknowledge(inbox.poll(0.0, 10), {})
    inbox.submit(b"x" * 6, "traces", "otlp_proto", "otlp_http")
    inbox.submit(b"x" * 4, "traces", "otlp_proto", "otlp_http")
    with pytest.raises(Busy):
        inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")
    assert inbox.turned_away == 2


def test_nothing_is_accepted_before_start_and_after_close() -> None:
    inbox = OtlpInbox(ManualClock())
    with pytest.raises(Busy):
        inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")
    inbox.start({})
    inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")
    inbox.close(0.0)
    inbox.close(0.0)
    inbox.start({})
    with pytest.raises(Busy):
        inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")


def test_close_refuses_what_is_queued_and_waits_for_what_was_polled() -> None:
    inbox = opened()
    polled = inbox.submit(b"a", "traces", "otlp_proto", "otlp_http")
    records = inbox.poll(0.0, 10)
    queued = inbox.submit(b"b", "traces", "otlp_proto", "otlp_http")
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(inbox.close, 10.0)
        with pytest.raises(Busy):
            queued.result(5)
        assert not closing.done()
        inbox.acknowledge(records, {})
        closing.result(5)
    assert polled.result(0) == 0
    assert inbox.poll(0.0, 10) == []


def test_close_gives_up_on_what_is_never_acknowledged() -> None:
    inbox = opened()
    done = inbox.submit(b"a", "traces", "otlp_proto", "otlp_http")
    inbox.poll(0.0, 10)
    inbox.close(0.01)
    with pytest.raises(Busy):
        done.result(0)


def test_poll_waits_for_the_first_record() -> None:
    inbox = opened()
    assert inbox.poll(0.01, 10) == []
    timer = threading.Timer(0.05, inbox.submit, (b"x", "traces", "otlp_proto", "otlp_http"))
    timer.start()
    assert len(inbox.poll(5.0, 10)) == 1
    timer.join()


def test_poll_gives_at_most_what_is_asked_for_in_order() -> None:
    inbox = opened()
    for number in range(5):
        inbox.submit(bytes([number]), "traces", "otlp_proto", "otlp_http")
    assert [r.payload for r in inbox.poll(0.0, 2)] == [b"\x00", b"\x01"]
    assert [r.payload for r in inbox.poll(0.0, 9)] == [b"\x02", b"\x03", b"\x04"]


def test_lag_is_the_age_of_the_oldest_record_not_polled() -> None:
    clock = ManualClock()
    inbox = OtlpInbox(clock)
    inbox.start({})
    assert inbox.lag_s(clock.now_ns()) == 0.0
    inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")
    clock.advance(4.0)
    assert inbox.lag_s(clock.now_ns()) == 4.0
    inbox.poll(0.0, 1)
    assert inbox.lag_s(clock.now_ns()) == 0.0


def test_a_sender_that_gives_up_cannot_take_its_payload_back() -> None:
    inbox = opened()
    done = inbox.submit(b"x", "traces", "otlp_proto", "otlp_http")
    assert not done.cancel()
    inbox.acknowledge(inbox.poll(0.0, 1), {})
    assert done.result(0) == 0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("submit"), st.integers(1, 400)),
            st.tuples(st.just("poll"), st.integers(1, 5)),
            st.tuples(st.sampled_from(["acknowledge", "refuse"]), st.integers(1, 5)),
        ),
        max_size=60,
    )
)
def test_every_payload_is_answered_exactly_once_within_the_bounds(
    steps: list[tuple[str, int]],
) -> None:
    inbox = opened(max_records=8, max_bytes=1000)
    futures: list[Future[int]] = []
    held: list[Record] = []
    for step, number in steps:
        if step == "submit":
            try:
                futures.append(inbox.submit(b"x" * number, "traces", "otlp_proto", "otlp_http"))
            except Busy:
                records, size = inbox.fill
                assert records == 8 or size + number > 1000
        elif step == "poll":
            held.extend(inbox.poll(0.0, number))
        elif step == "acknowledge":
            inbox.acknowledge(held[:number], {})
            del held[:number]
        else:
            inbox.refuse(held[:number], 1.0)
            del held[:number]
        records, size = inbox.fill
        assert records <= 8
        assert size <= 1000
        assert records == sum(not future.done() for future in futures)
    inbox.close(0.0)
    assert all(future.done() for future in futures)
