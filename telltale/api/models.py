"""What the API answers: the shared types as JSON, described in the OpenAPI document.

A time is RFC 3339 in UTC with nanoseconds, null where not known; a field `x_ns` of the shared types
is `x_at` here, as in the SQL views. A number that is not finite is null. Binary values are base64.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_DEPTH = 64
"""Levels of nesting of a value; deeper ones are cut, so that no reader's stack is at risk."""


def rfc3339(time_ns: int | None) -> str | None:
    """`2026-01-01T00:00:00.000000000Z` of UTC nanoseconds; None for None and 0."""
    if not time_ns:
        return None
    seconds, rest = divmod(time_ns, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def jsonable(value: object, depth: int = MAX_DEPTH) -> object:
    """The value in JSON's types."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(jsonable(str(key))): jsonable(item, depth - 1) for key, item in items}
    if isinstance(value, Sequence):
        return [jsonable(item, depth - 1) for item in cast("Sequence[object]", value)]
    return str(jsonable(str(value)))


Time = Annotated[str | None, BeforeValidator(rfc3339)]
Json = Annotated[Any, BeforeValidator(jsonable)]
Number = Annotated[float | None, BeforeValidator(jsonable)]


class Model(BaseModel):
    """Built from the attributes of a shared type."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class SubjectModel(Model):
    environment: str
    agent: str
    agent_version: str
    model: str


class VerdictModel(Model):
    subject: SubjectModel
    category: str
    reference: str
    kind: str
    state: str
    opportunities: int
    taken: int
    expected: Number
    evidence_log10: Number
    rate_lower: Number
    rate_upper: Number
    alarm_at: int | None
    onset: int | None
    needed: int | None
    reason: str
    attribution: str
    updated_at: Time = Field(validation_alias="updated_ns")
    calibrated_at: int | None
    first_opportunities: int
    first_taken: int
    first_lower: Number
    first_upper: Number
    first_log10: Number
    e_value_log10: Number
    drift_log10: Number
    drift_at: int | None
    drift_pairs: int
    drift_left: int


class FleetModel(Model):
    """`tested`: verdicts with opportunities, all subjects, categories and references together.
    `stands_out`: those that are discoveries at the false discovery rate `alpha`, strongest first.
    """

    alpha: float
    tested: int
    stands_out: list[VerdictModel]


class AlertModel(Model):
    alert_id: str
    kind: str
    subject: SubjectModel
    category: str
    reference: str
    severity: str
    raised_at: Time = Field(validation_alias="raised_ns")
    summary: str
    trajectory_ids: list[str]
    verdict: VerdictModel | None


class CallModel(Model):
    step: int
    trace_id: str
    span_id: str
    call_id: str
    started_at: Time = Field(validation_alias="started_ns")
    duration_ns: int
    agent: str
    parent_agent: str
    model: str
    tool: str
    arguments: Json
    arguments_state: str
    result: Json
    outcome: str
    error: str
    dialect: str
    source: str
    received_at: Time = Field(validation_alias="received_ns")
    tool_description: str
    tools_offered: list[str]


class ActionModel(Model):
    step: int
    category: str
    variant: str
    stage: str
    position: str
    rule_id: str
    rule_version: int
    maturity: str
    evidence: list[str]
    severity: str
    modifiers: list[str]
    irreversible: bool
    target: str
    confidence: Number


class OpportunityModel(Model):
    step: int
    category: str
    family: str
    position: str
    taken: bool
    visible: bool


class TrajectorySummaryModel(Model):
    trajectory_id: str
    environment: str
    agent: str
    agent_version: str
    model: str
    started_at: Time = Field(validation_alias="started_ns")
    ended_at: Time = Field(validation_alias="ended_ns")
    state: str
    calls: int
    errors: int
    denied: int
    categories: list[str]


class TrajectoryModel(Model):
    trajectory_id: str
    grouped_by: str
    environment: str
    service: str
    agent: str
    agent_version: str
    model: str
    conversation_id: str
    user_id: str
    started_at: Time = Field(validation_alias="started_ns")
    ended_at: Time = Field(validation_alias="ended_ns")
    last_received_at: Time = Field(validation_alias="last_received_ns")
    state: str
    request: str
    trace_ids: list[str]
    calls: list[CallModel]


class TrajectoryDetailModel(Model):
    trajectory: TrajectoryModel
    actions: list[ActionModel]
    opportunities: list[OpportunityModel]


class SubjectSummaryModel(Model):
    subject: SubjectModel
    trajectories: int
    calls: int
    first_received_at: Time = Field(validation_alias="first_received_ns")
    last_received_at: Time = Field(validation_alias="last_received_ns")
    arguments_coverage: Number


class BaselineModel(Model):
    name: str
    kind: str
    digest: str
    where: str
    trajectories: int
    calls: int
    trajectories_digest: str
    created_at: Time = Field(validation_alias="created_ns")
    subjects: list[str]
    active_for: str
    signed_by: str


class EvidenceModel(Model):
    trajectory_id: str
    n: int
    opportunities: int
    taken: int
    expected: Number
    evidence_log10: Number


class ContributionModel(Model):
    trajectory_id: str
    step: int
    tool: str
    arguments: Json
    category: str
    variant: str
    stage: str
    hazard: Number
    log10_factor: Number
    target: str
    new_targets: list[str]


class TargetsModel(Model):
    new: int
    known: int
    unknown: int


class LineageModel(Model):
    model: str
    relation: str
    value: str
    digest: str
    recorded_at: Time = Field(validation_alias="recorded_ns")
    detail: Json


class ChangeModel(Model):
    at: Time = Field(validation_alias="at_ns")
    what: str
    before: str
    after: str


class ExplanationModel(Model):
    alert: AlertModel
    verdict: VerdictModel | None
    reference: BaselineModel | None
    curve: list[EvidenceModel]
    threshold_log10: Number
    calibrated_threshold_log10: Number
    onset_at: Time = Field(validation_alias="onset_ns")
    onset_interval: tuple[int, int] | None
    contributions: list[ContributionModel]
    targets: TargetsModel
    ceiling: Number
    trajectories: list[TrajectorySummaryModel]
    lineage: list[LineageModel]
    changes: list[ChangeModel]


class ErrorBody(BaseModel):
    """`code`: a stable word; `message`: for people."""

    code: str
    message: str


class ErrorModel(BaseModel):
    error: ErrorBody
