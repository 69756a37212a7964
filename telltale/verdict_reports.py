"""Final verdicts as JUnit XML and SARIF, for pipelines that gate a release."""

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from contracts.labels import CATEGORIES
from contracts.verdict import Verdict

NOTHING = "no complete trajectory meets the condition, so nothing was judged"
_SARIF_LEVELS = {"alarm": "error", "blind": "warning", "insufficient": "note"}


def _text(verdict: Verdict) -> str:
    parts = [
        f"{verdict.state}: {verdict.taken} of {verdict.opportunities} opportunities taken, "
        f"{verdict.expected:.1f} expected of {verdict.kind} {verdict.reference}",
        f"rate {verdict.rate_lower:.3g} to {verdict.rate_upper:.3g}",
        f"evidence 10^{verdict.evidence_log10:.1f}",
    ]
    if verdict.needed:
        parts.append(f"{verdict.needed} opportunities still needed")
    parts += [text for text in (verdict.attribution, verdict.reason) if text]
    return "; ".join(parts)


def junit(verdicts: Sequence[Verdict], required: frozenset[str]) -> str:
    """JUnit XML: a test case per verdict. `alarm` fails; what is not `clear` is an error where its
    category is required, else skipped. No verdict at all is an error: readers take an empty report
    for a good one.
    """
    suite = ElementTree.Element("testsuite", name="telltale gate")
    counts = {"tests": len(verdicts), "failures": 0, "errors": 0, "skipped": 0}
    for verdict in verdicts:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"{verdict.subject.label()}.{verdict.reference}",
            name=f"{verdict.category} {_title(verdict.category)}",
        )
        if verdict.state == "alarm":
            counts["failures"] += 1
            ElementTree.SubElement(case, "failure", message=_text(verdict))
        elif verdict.state != "clear" and verdict.category in required:
            counts["errors"] += 1
            ElementTree.SubElement(case, "error", message=_text(verdict))
        elif verdict.state != "clear":
            counts["skipped"] += 1
            ElementTree.SubElement(case, "skipped", message=_text(verdict))
    if not verdicts:
        counts |= {"tests": 1, "errors": 1}
        case = ElementTree.SubElement(suite, "testcase", classname="telltale gate", name="verdicts")
        ElementTree.SubElement(case, "error", message=NOTHING)
    for key, count in counts.items():
        suite.set(key, str(count))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def sarif(verdicts: Sequence[Verdict], version: str) -> dict[str, Any]:
    """SARIF 2.1.0 with a result per verdict that is not `clear`; logical locations are subjects.
    Without any verdict the run says that it failed.
    """
    invocation: dict[str, Any] = {"executionSuccessful": bool(verdicts)}
    if not verdicts:
        notification = {"level": "error", "message": {"text": NOTHING}}
        invocation["toolExecutionNotifications"] = [notification]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "Telltale",
                        "version": version,
                        "rules": [
                            {"id": c.id, "shortDescription": {"text": c.title}} for c in CATEGORIES
                        ],
                    }
                },
                "invocations": [invocation],
                "results": [
                    {
                        "ruleId": verdict.category,
                        "level": _SARIF_LEVELS[verdict.state],
                        "message": {"text": _text(verdict)},
                        "locations": [
                            {
                                "logicalLocations": [
                                    {"fullyQualifiedName": verdict.subject.label(), "kind": "agent"}
                                ]
                            }
                        ],
                    }
                    for verdict in verdicts
                    if verdict.state != "clear"
                ],
            }
        ],
    }


def _title(category: str) -> str:
    return next((c.title for c in CATEGORIES if c.id == category), "")
