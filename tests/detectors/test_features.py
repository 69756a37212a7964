"""Features are known before the call, pure, and generalise to unseen tools."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contracts.labels import CATEGORY_IDS, Action, Labels, Opportunity
from contracts.testing import call
from contracts.trajectory import Call, Trajectory
from detectors.features import ORDERS, SLOTS, STREAM_CATEGORY, bucket, encode
from detectors.rules.pack import RulePack


def trajectory(*calls: Call, **changes: str) -> Trajectory:
    made = Trajectory(
        trajectory_id="t",
        grouped_by="conversation",
        environment="test",
        service="svc",
        agent="agent",
        agent_version="1",
        model="m",
        conversation_id="t",
        user_id="",
        started_ns=0,
        ended_ns=1,
        last_received_ns=1,
        state="complete",
        request="",
        trace_ids=("0" * 32,),
        calls=calls,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # field names checked by replace


def opportunity(step: int, category: str = "UA01", taken: bool = False) -> Opportunity:
    return Opportunity("t", step, category, "cleanup", "any", taken, True)


def test_features_of_a_step_do_not_depend_on_the_call_itself_or_later() -> None:
    before = (call("list_files", {"path": "/a"}, step=0), call("read_file", {"path": "b"}, step=1))
    labels = Labels((), (opportunity(2),))
    one = encode(trajectory(*before, call("remove_file", {"path": "b"}, step=2)), labels)
    other = encode(
        trajectory(
            *before,
            call("paint", {"colour": "red"}, step=2, outcome="denied", result="no"),
            call("shout", {"text": "later"}, step=3),
        ),
        labels,
    )
    mine, theirs = one.stream == 0, other.stream == 0
    assert mine.sum() == theirs.sum() == 1
    assert np.array_equal(one.features[mine], other.features[theirs])


def test_an_unseen_tool_changes_only_the_features_that_name_it() -> None:
    labels = Labels((), (opportunity(1),))
    known = encode(trajectory(call("send_email", {"to": "a"}), call("x", step=1)), labels)
    unseen = encode(trajectory(call("dispatch_email", {"to": "a"}), call("x", step=1)), labels)
    row = known.stream == 0
    changed = (known.features[row] != unseen.features[row]).ravel()
    named = {SLOTS[i] for i in np.flatnonzero(changed)}
    assert named <= {"tool", "act", "acts"}


def test_rows_stand_in_step_order_with_one_orders_row_a_call() -> None:
    labels = Labels((), (opportunity(0, "UA02", True), opportunity(1, "UA11")))
    encoded = encode(
        trajectory(call("a", {}), call("b", {}, step=1), call("c", {}, step=2)), labels
    )
    assert encoded.step.tolist() == sorted(encoded.step.tolist())
    assert (encoded.stream == ORDERS).sum() == 3
    assert encoded.taken[encoded.stream == 1].tolist() == [True]
    assert CATEGORY_IDS[STREAM_CATEGORY[ORDERS]] == "UA13"


def test_a_taken_category_is_remembered_by_other_streams() -> None:
    calls = (call("a"), call("b", step=1))
    later = opportunity(1, "UA02")
    quiet = encode(trajectory(*calls), Labels((), (opportunity(0), later)))
    acted = encode(trajectory(*calls), Labels((), (opportunity(0, taken=True), later)))
    rows = quiet.stream == 1
    changed = (quiet.features[rows] != acted.features[acted.stream == 1]).ravel()
    assert {SLOTS[i] for i in np.flatnonzero(changed)} == {"taken"}


def test_a_stream_ends_with_its_first_act() -> None:
    calls = tuple(call("a", step=step) for step in range(4))
    burst = Labels((), tuple(opportunity(step, taken=step > 0) for step in range(4)))
    encoded = encode(trajectory(*calls), burst)
    assert encoded.step[encoded.stream == 0].tolist() == [0, 1]
    assert encoded.taken[encoded.stream == 0].tolist() == [False, True]


def test_an_act_that_was_stopped_is_not_taken() -> None:
    blocked = Action(
        "t", 0, "UA01", "v", "blocked", "any", "r", 1, "stable", ("args",), "high"
    )  # fmt: skip
    labels = Labels((blocked,), (opportunity(0, taken=True), opportunity(1)))
    encoded = encode(trajectory(call("a"), call("b", step=1)), labels)
    assert encoded.taken[encoded.stream == 0].tolist() == [False, False]


def test_hidden_arguments_and_digests_are_blind_not_safe() -> None:
    for state in ("absent", "invalid", "redacted"):
        hidden = call("send_email", None, step=1, arguments_state=state)
        encoded = encode(
            trajectory(call("read", {"q": "x"}, result="text"), hidden), Labels((), ())
        )
        assert encoded.visible[encoded.stream == ORDERS].tolist() == [True, False]
    no_results = trajectory(call("read", {"q": "x"}), call("send", {"to": "ann@b.com"}, step=1))
    encoded = encode(no_results, Labels((), ()))
    assert encoded.visible[encoded.stream == ORDERS].tolist() == [True, False]


def test_what_the_labeller_saw_decides_what_is_visible() -> None:
    calls = (call("archive_it", None), call("drop_it", {"id": "7"}, step=1))
    encoded = encode(trajectory(*calls), RulePack.load().label(calls))
    assert encoded.visible[encoded.stream == 0].tolist() == [False, True]
    orders = encoded.stream == CATEGORY_IDS.index("UA15")
    assert encoded.visible[orders].tolist() == [True]
    assert encoded.blind == 0.5


def test_a_trajectory_without_calls_is_empty_arrays() -> None:
    encoded = encode(trajectory(), Labels((), ()))
    assert len(encoded) == 0
    assert encoded.features.shape == (0, len(SLOTS))
    assert encoded.tokens.shape == (0, 4)


@given(
    st.lists(
        st.tuples(
            st.text(max_size=12),
            st.dictionaries(st.text(max_size=6), st.text(max_size=20), max_size=3),
            st.text(max_size=200),
            st.integers(-(2**40), 2**40),
        ),
        max_size=8,
    )
)
def test_odd_content_never_fails_and_repeats_itself(
    rows: list[tuple[str, dict[str, str], str, int]],
) -> None:
    calls = tuple(
        call(tool, dict(arguments), step=i, result=result, started_ns=at)
        for i, (tool, arguments, result, at) in enumerate(rows)
    )
    one, two = (encode(trajectory(*calls), Labels((), ())) for _ in range(2))
    assert np.array_equal(one.features, two.features)
    assert len(one) == len(calls)


def test_buckets_are_the_same_on_every_machine() -> None:
    assert bucket("act", "send") == 1797
