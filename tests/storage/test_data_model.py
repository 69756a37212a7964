"""docs/data-model.md names every view with every column, and no other."""

import re
from pathlib import Path

from storage.guard import VIEWS
from storage.store import Store

PAGE = Path(__file__).parents[2] / "docs" / "data-model.md"


def test_the_page_names_every_view_and_column(store: Store) -> None:
    sections = re.split(r"^### `(\w+)`$", PAGE.read_text().split("\n## Asking")[0], flags=re.M)
    pages = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert set(pages) == VIEWS
    for view, text in pages.items():
        columns = {str(row[0]) for row in store.read(f"DESCRIBE {view}")}
        named = set(re.findall(r"`(\w+)`", text))
        assert columns - named == set(), view


def test_the_columns_of_the_stable_surface(store: Store) -> None:
    """What scripts rely on from the first day."""
    surface = {
        "calls": "trajectory_id step trace_id span_id call_id started_at duration_ns environment "
        "service agent agent_version parent_agent model conversation_id user_id tool arguments "
        "arguments_state result outcome error dialect source received_at",
        "actions": "trajectory_id step category stage position rule_id evidence severity",
        "trajectories": "trajectory_id environment agent agent_version model started_at ended_at "
        "state calls errors denied categories",
    }
    for view, columns in surface.items():
        stored = {str(row[0]) for row in store.read(f"DESCRIBE {view}")}
        assert set(columns.split()) <= stored
    types = dict((str(row[0]), str(row[1])) for row in store.read("DESCRIBE calls"))
    assert types["arguments"] == "JSON"
    assert types["duration_ns"] == "BIGINT"
    assert types["started_at"] == "TIMESTAMP WITH TIME ZONE"
