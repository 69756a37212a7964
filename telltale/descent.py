"""A model's descent, and its bill of materials in CycloneDX's form."""

from collections.abc import Sequence

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.ports import Registry

ANCESTORS = ("teacher", "base")


def descent(registry: Registry, model: str) -> list[LineageEntry]:
    """Entries of `model`, then of its teachers and bases, theirs and so on; cycles end."""
    found: list[LineageEntry] = []
    waiting, seen = [model], {model}
    while waiting:
        for entry in registry.lineage(waiting.pop(0)):
            found.append(entry)
            if entry.relation in ANCESTORS and entry.value not in seen:
                seen.add(entry.value)
                waiting.append(entry.value)
    return found


def bill_of_materials(
    model: str, entries: Sequence[LineageEntry], baselines: Sequence[BaselineInfo]
) -> dict[str, object]:
    """CycloneDX 1.6 with a `machine-learning-model` component per model and `data` per data set.

    Source: CycloneDX 1.6 specification, component types and `modelCard`.
    """
    models = dict.fromkeys([model, *(e.value for e in entries if e.relation in ANCESTORS)])
    components = [_model(name, entries, baselines) for name in models]
    components += [_data(entry) for entry in entries if entry.relation == "dataset"]
    depends: dict[str, list[str]] = {}
    for entry in entries:
        if entry.relation in (*ANCESTORS, "dataset"):
            kind = "data" if entry.relation == "dataset" else "model"
            depends.setdefault(f"model:{entry.model}", []).append(f"{kind}:{entry.value}")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": components[0]},
        "components": components[1:],
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(set(on))} for ref, on in sorted(depends.items())
        ],
    }


def _model(
    name: str, entries: Sequence[LineageEntry], baselines: Sequence[BaselineInfo]
) -> dict[str, object]:
    properties = [
        {"name": f"telltale:{e.relation}", "value": _text(e)}
        for e in entries
        if e.model == name and e.relation in ("filter", "audit", "note")
    ]
    properties += [
        {"name": f"telltale:baseline:{b.kind}", "value": f"{b.name} sha256:{b.digest}"}
        for b in baselines
        if any(subject.endswith(f"/{name}") for subject in b.subjects)
    ]
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{name}",
        "name": name,
        "properties": properties,
    }


def _data(entry: LineageEntry) -> dict[str, object]:
    component: dict[str, object] = {
        "type": "data",
        "bom-ref": f"data:{entry.value}",
        "name": entry.value,
        "properties": [
            {"name": f"telltale:{key}", "value": str(value)} for key, value in entry.detail.items()
        ],
    }
    if entry.digest:
        component["hashes"] = [{"alg": "SHA-256", "content": entry.digest}]
    return component


def _text(entry: LineageEntry) -> str:
    facts = "".join(f"; {key}={value!s}" for key, value in entry.detail.items())
    return f"{entry.value}{f' sha256:{entry.digest}' if entry.digest else ''}{facts}"
