"""Laws of the contracts' types, and that the shipped doubles keep the ports."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import errors
from contracts.labels import CATEGORIES, CATEGORY_IDS, SEVERITIES
from contracts.ports import AlertSink, SpanSource
from contracts.record import Partition, Record
from contracts.span import Span
from contracts.strategies import MAX_TIME_NS, calls, records, spans, subjects, trajectories
from contracts.testing import ListSink, ListSource, ManualClock, Spans
from contracts.trajectory import Call, Subject, Trajectory


def test_the_taxonomy_has_sixteen_categories_in_order() -> None:
    assert tuple(f"UA{number:02d}" for number in range(1, 17)) == CATEGORY_IDS
    assert {category.severity for category in CATEGORIES} <= set(SEVERITIES)
    assert [c.id for c in CATEGORIES if c.order_only] == ["UA14", "UA15", "UA16"]
    assert all(category.title and category.owasp for category in CATEGORIES)


def test_every_error_says_whether_a_repeat_is_of_use() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in kinds:
        if kind in (errors.TelltaleError, errors.RetryableError, errors.PermanentError):
            continue
        assert issubclass(kind, errors.RetryableError) != issubclass(kind, errors.PermanentError)
        assert errors.__doc__ is not None
        assert kind.__name__ in errors.__doc__, "the tree at the top of the module"


def test_a_configuration_error_names_its_key() -> None:
    error = errors.ConfigError("kafka.topics", "name one")
    assert (error.key, str(error)) == ("kafka.topics", "kafka.topics: name one")
    assert str(errors.ConfigError("", "no file")) == "no file"


@given(subjects)
def test_a_subject_label_has_four_parts_or_more(subject: Subject) -> None:
    parts = subject.label().split("/")
    assert len(parts) >= 4
    assert "" not in Subject("", "", "", "").label().split("/")


@given(spans())
def test_spans_made_for_tests_have_ids_of_their_own(made: list[Span]) -> None:
    assert len({span.span_id for span in made}) == len(made)
    assert len({span.trace_id for span in made}) == 1
    assert all(len(span.trace_id) == 32 and len(span.span_id) == 16 for span in made)
    assert all(0 <= span.start_ns <= span.end_ns <= MAX_TIME_NS for span in made)
    known = {""}
    for span in made:
        assert span.parent_span_id in known
        known.add(span.span_id)


@given(calls())
def test_calls_count_from_nought(made: tuple[Call, ...]) -> None:
    assert [call.step for call in made] == list(range(len(made)))
    for call in made:
        assert (call.arguments_state == "object") == isinstance(call.arguments, dict)


@given(trajectories())
def test_a_trajectory_is_frozen_and_hands_out_its_subject(made: Trajectory) -> None:
    assert made.subject() == (made.environment, made.agent, made.agent_version, made.model)
    with pytest.raises(FrozenInstanceError):
        made.agent = "other"  # type: ignore[misc]  # what the test is about


def test_the_manual_clock_moves_when_told() -> None:
    clock = ManualClock()
    before = clock.now_ns(), clock.monotonic_ns()
    clock.advance(1.5)
    assert (clock.now_ns() - before[0], clock.monotonic_ns() - before[1]) == (1_500_000_000,) * 2


@given(st.lists(records, max_size=20), st.integers(1, 7))
def test_the_list_source_delivers_each_record_once(stream: list[Record], size: int) -> None:
    source: SpanSource = ListSource(stream)
    source.start({})
    found: list[Record] = []
    while batch := source.poll(0.0, size):
        assert len(batch) <= size
        found.extend(batch)
        source.acknowledge(batch, {})
    assert found == stream
    assert source.up
    assert not source.stalled


def test_the_list_source_begins_after_the_ledger() -> None:
    from contracts.record import Position

    partition = Partition("spans", 0)
    stream = [
        Record(b"", "traces", "auto", "kafka:spans", 0, Position(partition, offset))
        for offset in range(5)
    ]
    source = ListSource(stream)
    source.start({partition: Position(partition, 2)})
    assert list(source.poll(0.0, 10)) == stream[3:]


def test_the_sink_keeps_what_it_was_sent() -> None:
    sink = ListSink()
    port: AlertSink = sink
    port.send([])
    assert sink.sent == []


def test_traces_of_different_numbers_share_no_id() -> None:
    one, other = Spans(1), Spans(2)
    assert one.trace_id != other.trace_id
    assert one.span("a").span_id != other.span("a").span_id
