"""Hypothesis strategies for the contracts' types. Only tests import it: hypothesis is no
requirement of the installed package.
"""

from collections.abc import Sequence
from typing import Literal

from hypothesis import strategies as st

from contracts.record import Partition, Position, Record
from contracts.span import Event, Span, Value
from contracts.testing import Spans, call
from contracts.trajectory import OUTCOMES, Call, Subject, Trajectory

MAX_TIME_NS = 2**63 - 1

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
"""Text as the decoder leaves it: no lone surrogates, no NUL."""

names = st.sampled_from(("read_file", "run_shell", "send_email", "delete_rows", "search"))

scalars: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    st.binary(max_size=20),
)

values: st.SearchStrategy[Value] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
"""Anything that an OTLP AnyValue decodes to."""

json_values: st.SearchStrategy[Value] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
"""What survives JSON unchanged: tool arguments and results."""

attributes = st.dictionaries(texts.filter(bool), values, max_size=4)
times_ns = st.integers(0, MAX_TIME_NS)
events = st.builds(Event, texts, times_ns, attributes)
subjects = st.builds(Subject, texts, texts, texts, texts)
positions = st.builds(
    Position,
    st.builds(Partition, st.sampled_from(("spans", "logs")), st.integers(0, 7)),
    st.integers(0, 2**40),
    st.integers(-1, 100),
)
records = st.builds(
    Record,
    st.binary(max_size=200),
    st.sampled_from(("traces", "logs")),
    st.sampled_from(("auto", "otlp_proto", "otlp_json")),
    st.sampled_from(("kafka:spans", "otlp_http", "replay")),
    times_ns,
    st.none() | positions,
)


@st.composite
def spans(draw: st.DrawFn, trace: int = 1, most: int = 8) -> list[Span]:
    """Up to `most` spans of one trace, ids counting up, parents among those before."""
    maker = Spans(trace)
    made: list[Span] = []
    for _ in range(draw(st.integers(1, most))):
        parent = draw(st.sampled_from(["", *(span.span_id for span in made)]))
        made.append(
            maker.span(
                draw(texts),
                draw(attributes),
                parent=parent,
                status_code=draw(st.integers(0, 2)),
                events=tuple(draw(st.lists(events, max_size=2))),
            )
        )
    return made


@st.composite
def calls(draw: st.DrawFn, trajectory_id: str = "t", most: int = 6) -> tuple[Call, ...]:
    """Up to `most` calls of one trajectory in step order."""
    return tuple(
        call(
            draw(names),
            draw(st.none() | st.dictionaries(texts, json_values, max_size=3)),
            step=step,
            trajectory_id=trajectory_id,
            outcome=draw(st.sampled_from(OUTCOMES)),
            result=draw(json_values),
        )
        for step in range(draw(st.integers(1, most)))
    )


@st.composite
def trajectories(
    draw: st.DrawFn, states: Sequence[Literal["open", "complete", "reopened"]] = ("complete",)
) -> Trajectory:
    """A trajectory whose fields agree with its calls."""
    number = draw(st.integers(1, 10**6))
    identity = f"t-{number:032x}"
    made = draw(calls(identity))
    return Trajectory(
        trajectory_id=identity,
        grouped_by="trace",
        environment="test",
        service="svc",
        agent=draw(texts),
        agent_version=draw(texts),
        model=draw(texts),
        conversation_id="",
        user_id="",
        started_ns=made[0].started_ns,
        ended_ns=made[-1].started_ns + made[-1].duration_ns,
        last_received_ns=made[-1].received_ns,
        state=draw(st.sampled_from(states)),
        request=draw(texts),
        trace_ids=(f"{number:032x}",),
        judged_calls=len(made),
        calls=made,
    )
