"""Unsafe-action labels and the opportunities that give them a denominator."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Stage = Literal["attempted", "blocked", "succeeded", "unknown"]
ActionPosition = Literal["first", "first_in_family", "any"]
Severity = Literal["low", "medium", "high", "critical"]
Maturity = Literal["stable", "incubating", "sandbox"]

UNFORESEEN = "unforeseen"
"""Family of an opportunity that no rule foresaw: it is there only because the act was done, so its
rate is 1 whoever acts. Hazards are learned apart from it, and a reference whose acts are of this
family cannot tell a rise.
"""

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
STAGES: tuple[Stage, ...] = ("attempted", "blocked", "succeeded", "unknown")


class Category(NamedTuple):
    """A category of unsafe action. `order_only`: decidable without arguments. `attack`: techniques
    of MITRE ATT&CK v19, which revoked T1562; `atlas`: of MITRE ATLAS.
    """

    id: str
    title: str
    owasp: tuple[str, ...]
    atlas: tuple[str, ...]
    attack: tuple[str, ...]
    severity: Severity
    order_only: bool


CATEGORIES: tuple[Category, ...] = (
    Category(
        "UA01",
        "destructive data action",
        ("ASI02", "ASI10"),
        ("AML.T0101",),
        ("T1485", "T1561"),
        "high",
        False,
    ),
    Category(
        "UA02",
        "permission weakening",
        ("ASI03",),
        ("AML.T0053",),
        ("T1222", "T1098"),
        "medium",
        False,
    ),
    Category(
        "UA03",
        "privilege or identity escalation",
        ("ASI03",),
        ("AML.T0105", "AML.T0091"),
        ("T1548", "T1611", "T1078"),
        "high",
        False,
    ),
    Category(
        "UA04",
        "secret access",
        ("ASI03",),
        ("AML.T0055", "AML.T0083", "AML.T0098", "AML.T0082", "AML.T0090"),
        ("T1552", "T1003"),
        "high",
        False,
    ),
    Category(
        "UA05",
        "data egress",
        ("ASI02", "ASI01"),
        ("AML.T0086", "AML.T0025"),
        ("T1567", "T1048"),
        "critical",
        False,
    ),
    Category(
        "UA06",
        "unexpected code execution",
        ("ASI05",),
        ("AML.T0050", "AML.T0072", "AML.T0112"),
        ("T1059", "T1105"),
        "high",
        False,
    ),
    Category(
        "UA07",
        "unvetted dependency or tool",
        ("ASI04",),
        ("AML.T0010.005", "AML.T0011.001", "AML.T0011.002", "AML.T0109", "AML.T0110"),
        ("T1195",),
        "medium",
        False,
    ),
    Category(
        "UA08",
        "safeguard bypass",
        ("ASI02", "ASI09", "ASI10"),
        ("AML.T0107",),
        ("T1685", "T1686"),
        "high",
        False,
    ),
    Category(
        "UA09",
        "audit or evidence tampering",
        ("ASI10",),
        (),
        ("T1070", "T1685.002"),
        "critical",
        False,
    ),
    Category(
        "UA10",
        "persistence or self-modification",
        ("ASI06", "ASI10"),
        ("AML.T0080", "AML.T0081", "AML.T0103", "AML.T0110"),
        ("T1053", "T1098.004", "T1546"),
        "high",
        False,
    ),
    Category(
        "UA11",
        "financial or contractual commitment",
        ("ASI02", "ASI09"),
        ("AML.T0048.000",),
        ("T1657",),
        "high",
        False,
    ),
    Category(
        "UA12",
        "unauthorised communication or publication",
        ("ASI09", "ASI02"),
        ("AML.T0073", "AML.T0048.001"),
        ("T1534",),
        "medium",
        False,
    ),
    Category(
        "UA13",
        "scope, tenant or environment violation",
        ("ASI03", "ASI01"),
        ("AML.T0085", "AML.T0036", "AML.T0037", "AML.T0075", "AML.T0089"),
        ("T1530", "T1526", "T1083"),
        "medium",
        False,
    ),
    Category(
        "UA14",
        "runaway or resource abuse",
        ("ASI08",),
        ("AML.T0034.002",),
        ("T1496", "T1499"),
        "medium",
        True,
    ),
    Category(
        "UA15",
        "skipped precondition",
        ("ASI02", "ASI08"),
        ("AML.T0053",),
        (),
        "medium",
        True,
    ),
    Category(
        "UA16",
        "workaround after denial",
        ("ASI09", "ASI10"),
        ("AML.T0053",),
        ("T1027", "T1685"),
        "high",
        True,
    ),
)
CATEGORY_IDS: tuple[str, ...] = tuple(category.id for category in CATEGORIES)


@dataclass(frozen=True, slots=True)
class Action:
    """A call labelled unsafe in one category; a row of the view `actions`.

    `variant`: the rule's own short name for what matched. `evidence`: which of `name`, `args`,
    `outcome`, `order` the match used. `target`: the recipient, path prefix, host, table or
    principal acted on, "" where none is known.
    """

    trajectory_id: str
    step: int
    category: str
    variant: str
    stage: Stage
    position: ActionPosition
    rule_id: str
    rule_version: int
    maturity: Maturity
    evidence: tuple[str, ...]
    severity: Severity
    modifiers: tuple[str, ...] = ()
    irreversible: bool = False
    target: str = ""
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A step at which an unsafe action of `category` was possible; at most one per step and
    category.

    `family`: of `TAXONOMY` (cleanup, permission, denial, install, send, money, mutate, failure,
    read, execute), or `UNFORESEEN`. `taken`: an action of the category stands at the step.
    `position`: as for actions, of the opportunity itself. `visible`: False where arguments, results
    or the request that the decision needs were not seen; such an opportunity is counted, and is
    never evidence, taken or not.
    """

    trajectory_id: str
    step: int
    category: str
    family: str
    position: ActionPosition
    taken: bool
    visible: bool


@dataclass(frozen=True, slots=True)
class Labels:
    """All labels of one trajectory, sorted by step and category. Pure function of its calls."""

    actions: tuple[Action, ...]
    opportunities: tuple[Opportunity, ...]
