"""The texts that spare the refusal patterns never spare one that would have matched."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import outcomes

# The signs stand beside their patterns in the module and are nobody else's.
# pyright: reportPrivateUsage=false

PATTERNS = {
    "unknown": (outcomes._UNKNOWN, outcomes._UNKNOWN_SIGNS),
    "invalid": (outcomes._INVALID, outcomes._INVALID_SIGNS),
    "denied": (outcomes._DENIED, outcomes._DENIED_SIGNS),
    "denied loosely": (outcomes._DENIED_LOOSELY, outcomes._DENIED_LOOSELY_SIGNS),
}


@pytest.mark.parametrize("name", PATTERNS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_every_text_that_a_pattern_is_in_has_one_of_its_signs(
    name: str, data: st.DataObject
) -> None:
    pattern, signs = PATTERNS[name]
    text = data.draw(st.from_regex(pattern))
    assert any(sign in outcomes.lowered(text) for sign in signs), text


@given(st.text(alphabet="sSkKiI\u0130\u0131\u017f\u212a"))
def test_lower_case_is_that_of_patterns_without_case(text: str) -> None:
    assert re.fullmatch(re.escape(outcomes.lowered(text)), text, re.I)
    assert outcomes.lowered(text).isascii()
