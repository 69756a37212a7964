"""Which tools look risky from outside, and what to put into `tools.yaml` for them.

A name may say nothing, or the wrong thing. What a tool is called with says more: names of
arguments, kinds of targets, shapes of values and answers. A logistic model over these, one example
per tool, learns from the tools whose names do say what they do (those of the calls at hand, and
those of the rules' own cases, which count less) whether a tool does more than look; a tool's own
name is no feature. Each tool is scored as if it had not been among the examples (one-step deletion,
Pregibon 1981).
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import escape
from typing import Final

import numpy as np
import numpy.typing as npt

from contracts.span import Value
from contracts.trajectory import Call
from detectors.parsing.arguments import Leaf, leaves, targets_of
from detectors.parsing.names import words
from detectors.parsing.verbs import IDLE, MUTATES, READS
from detectors.toolmap import Semantics, ToolEntry, ToolMap

Floats = npt.NDArray[np.float64]

RISKY: Final = 1 / 3
"""Probability from which a tool whose name tells nothing is proposed: a tool missed costs more than
one proposed in vain."""
CONTRADICTS: Final = 0.8
"""Probability from which a tool that is named like a look is proposed."""
TELLING: Final = 0.8
"""Confidence of the verb-object analysis from which a name says what a tool does."""
MOST_TOOLS: Final = 500
PER_TOOL: Final = 30
"""Bounds on what the model looks at: tools, and calls of each."""
_CASE_WEIGHT: Final = 0.3
_LEAST_EXAMPLES: Final = 8
_STANDING: Final = frozenset({"grant", "credential", "configure"})


@dataclass(frozen=True, slots=True)
class Proposal:
    """An entry to confirm. `entry.act` is "" where nothing could be told. `risk`: probability that
    the tool does more than look, None where nothing of its calls was seen. `confidence`: of what
    the name says. `calls`: how many were looked at. `why`: in words.
    """

    entry: ToolEntry
    risk: float | None
    confidence: float
    calls: int
    why: str


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    calls: int
    meaning: Semantics
    features: dict[str, float]
    targets: tuple[str, ...]


def propose(tools: ToolMap, calls: Iterable[Call], cases: Iterable[Call]) -> tuple[Proposal, ...]:
    """Entries for unmapped tools that look risky, by the model or by name; the riskiest first.

    `cases`: calls of the rules' own cases, from which the model learns where `calls` are few.
    """
    own = _tools(tools, calls)
    taught = _tools(ToolMap(), cases)
    risks, like = _risks(own, taught)
    found = [
        proposal
        for tool, risk, other in zip(own, risks, like, strict=True)
        if not tool.meaning.mapped and (proposal := _proposal(tool, risk, other)) is not None
    ]
    found.sort(key=lambda each: (-(each.risk or 0.0), -each.calls, each.entry.name))
    return tuple(found)


def _proposal(tool: _Tool, risk: float | None, like: _Tool | None) -> Proposal | None:
    meaning = tool.meaning
    act, why = meaning.act, ""
    told = act != "none" and meaning.confidence >= TELLING
    resembling = like is not None and f"its calls look like those of {like.name}"
    if told and (meaning.irreversible or act in _STANDING):
        why = f"its name says {meaning.verb or act}"
    elif not told and risk is None:
        why = "its name tells little, and its arguments were not seen"
    elif not told and risk is not None and risk >= RISKY:
        why = f"its name tells little; {resembling or 'its calls look like an act'}"
    elif not told and (act in MUTATES or meaning.irreversible):
        why = f"its name or its arguments may say {act}"
    elif act in READS | IDLE and risk is not None and risk >= CONTRADICTS and tool.calls > 1:
        why = f"it is named like a look; {resembling or 'its calls look like an act'}"
    else:
        return None
    looks_idle = act in READS | IDLE
    if looks_idle and like is not None and risk is not None:
        act = like.meaning.act
    if act == "none":
        act = ""
    irreversible = meaning.irreversible or (
        looks_idle and like is not None and like.meaning.irreversible
    )
    entry = ToolEntry(
        name=escape(tool.name),
        act=act,
        targets=tool.targets,
        reversible=not irreversible if act else None,
        open_world=meaning.outward or None,
    )
    rounded = None if risk is None else round(risk, 3)
    return Proposal(entry, rounded, meaning.confidence, tool.calls, why)


def _tools(tools: ToolMap, calls: Iterable[Call]) -> list[_Tool]:
    """One example per tool, the most called first."""
    by_name: dict[str, list[Call]] = {}
    count: Counter[str] = Counter()
    for call in calls:
        count[call.tool] += 1
        kept = by_name.setdefault(call.tool, [])
        if len(kept) < PER_TOOL:
            kept.append(call)
    out: list[_Tool] = []
    for name, number in sorted(count.items(), key=lambda item: (-item[1], item[0]))[:MOST_TOOLS]:
        some = by_name[name]
        seen = Counter(word for call in some for word in _features(call))
        shown = next((call for call in some if isinstance(call.arguments, dict)), some[0])
        names = tuple(shown.arguments) if isinstance(shown.arguments, dict) else ()
        out.append(
            _Tool(
                name,
                number,
                tools.semantics(name, shown.tool_description, names),
                {word: times / len(some) for word, times in seen.items()},
                _target_names(some),
            )
        )
    return out


def _features(call: Call) -> set[str]:
    """How a call looks from outside; empty where arguments were not seen."""
    if call.arguments_state in ("absent", "invalid"):
        return set()
    found: set[str] = set()
    if isinstance(call.arguments, dict):
        found.add(f"count={min(len(call.arguments), 6)}")
        found.update(f"name={word}" for key in call.arguments for word in words(key))
    shown = leaves(call.arguments)
    found.update(f"kind={target.kind}" for target in targets_of(shown))
    found.update(f"value={_shape(leaf.text)}" for leaf in shown)
    if call.result is not None:
        found.update((f"answer={type(call.result).__name__}", f"size={_size(call.result)}"))
    return found


def _shape(text: str) -> str:
    if text.lower() in ("true", "false"):
        return "flag"
    if text.replace(".", "", 1).removeprefix("-").isdigit():
        return "number"
    return "long" if len(text) > 80 else "phrase" if " " in text else "word"


def _size(value: Value) -> int:
    """A quarter of the bits of the answer's length, roughly."""
    length = sum(len(leaf.text) for leaf in leaves(value))
    return min(6, int(math.log2(length + 1) // 2))


def _target_names(calls: Sequence[Call]) -> tuple[str, ...]:
    """Arguments that hold a target in at least half of the calls."""
    held: Counter[str] = Counter()
    for call in calls:
        held.update({leaf.name for leaf in leaves(call.arguments) if _is_target(leaf)})
    return tuple(sorted(name for name, times in held.items() if name and 2 * times >= len(calls)))


def _is_target(leaf: Leaf) -> bool:
    return next(targets_of([leaf]), None) is not None


def _taught(tool: _Tool) -> bool:
    meaning = tool.meaning
    return bool(tool.features) and meaning.act != "none" and meaning.confidence >= TELLING


def _risks(
    own: Sequence[_Tool], cases: Sequence[_Tool]
) -> tuple[list[float | None], list[_Tool | None]]:
    """Per own tool the probability that it does more than look, and the tool that it resembles
    most among those that do.
    """
    teachers = [tool for tool in own if _taught(tool)] + [tool for tool in cases if _taught(tool)]
    if len(teachers) < _LEAST_EXAMPLES:
        return [None] * len(own), [None] * len(own)
    common = Counter(word for tool in teachers for word in tool.features)
    kept = sorted(word for word, times in common.items() if times > 1)
    column = {word: number for number, word in enumerate(kept, 1)}
    table = _table(teachers, column)
    acts = np.array([tool.meaning.act not in READS | IDLE for tool in teachers], np.float64)
    owned = {id(tool) for tool in own}
    weight = np.array([1.0 if id(tool) in owned else _CASE_WEIGHT for tool in teachers])
    beta, spread = _fit(table, acts, weight)
    place = {id(tool): number for number, tool in enumerate(teachers)}
    doing = [number for number in range(len(teachers)) if acts[number] > 0]
    lengths = np.linalg.norm(table[:, 1:], axis=1) + 1e-9
    risks: list[float | None] = []
    like: list[_Tool | None] = []
    for tool, row in zip(own, _table(own, column), strict=True):
        if not tool.features:
            risks.append(None)
            like.append(None)
            continue
        logit, number = float(row @ beta), place.get(id(tool))
        if number is not None:
            p = 1 / (1 + math.exp(-logit))
            lever = float(weight[number] * p * (1 - p) * (row @ spread @ row))
            gap = float(acts[number]) - p
            logit -= lever / max(1e-6, 1 - lever) * gap / max(1e-6, p * (1 - p))
        risks.append(1 / (1 + math.exp(-max(-30.0, min(30.0, logit)))))
        alike = (table[doing][:, 1:] @ row[1:]) / lengths[doing]
        if number is not None and number in doing:
            alike[doing.index(number)] = -1.0
        like.append(teachers[doing[int(np.argmax(alike))]] if len(alike) else None)
    return risks, like


def _table(tools: Sequence[_Tool], column: dict[str, int]) -> Floats:
    """One row per tool; the first column is 1."""
    table = np.zeros((len(tools), len(column) + 1))
    table[:, 0] = 1.0
    for row, tool in zip(table, tools, strict=True):
        for word, share in tool.features.items():
            if word in column:
                row[column[word]] = share
    return table


def _fit(table: Floats, acts: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Ridge logistic regression by Newton's method: coefficients, and the inverse Hessian."""
    beta = np.zeros(table.shape[1])
    ridge = np.eye(table.shape[1])
    ridge[0, 0] = 1e-3
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(table @ beta, -30, 30)))
        slope = table.T @ (weight * (p - acts)) + ridge @ beta
        curve = (table.T * (weight * p * (1 - p))) @ table + ridge
        step = np.linalg.solve(curve, slope)
        beta = beta - step
        if float(np.abs(step).max()) < 1e-6:
            break
    p = 1 / (1 + np.exp(-np.clip(table @ beta, -30, 30)))
    curve = (table.T * (weight * p * (1 - p))) @ table + ridge
    spread: Floats = np.asarray(np.linalg.inv(curve), np.float64)
    return beta, spread
