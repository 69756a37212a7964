"""Stored summaries of trajectories as the API gives them."""

from storage import listings
from telltale.api.ports import TrajectorySummary


def summary(row: listings.Summary) -> TrajectorySummary:
    """A stored summary as the API gives it."""
    return TrajectorySummary(
        row.trajectory_id,
        row.environment,
        row.agent,
        row.agent_version,
        row.model,
        row.started_ns,
        row.ended_ns,
        row.state,
        row.calls,
        row.errors,
        row.denied,
        row.categories,
    )
