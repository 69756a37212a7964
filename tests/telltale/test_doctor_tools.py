"""`telltale doctor` proposes entries that load as they stand."""

import json
from pathlib import Path

import pytest

from detectors.toolmap import ToolMap
from telltale.cli import invoke


def _payload(tool: str, arguments: dict[str, str], number: int) -> str:
    def attribute(key: str, text: str) -> dict[str, object]:
        return {"key": key, "value": {"stringValue": text}}

    span = {
        "traceId": f"{number + 1:032x}",
        "spanId": f"{number + 1:016x}",
        "name": f"execute_tool {tool}",
        "kind": 1,
        "startTimeUnixNano": str(1_767_225_600_000_000_000 + number * 10**9),
        "endTimeUnixNano": str(1_767_225_600_500_000_000 + number * 10**9),
        "attributes": [
            attribute("gen_ai.operation.name", "execute_tool"),
            attribute("gen_ai.tool.name", tool),
            attribute("gen_ai.tool.call.arguments", json.dumps(arguments)),
            attribute("gen_ai.tool.call.result", "done"),
        ],
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


def test_the_printed_entries_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spans.jsonl"
    outward = {"to": "ann@example.com", "subject": "hello", "body": "dear all, see you"}
    lines = [_payload("zx17", outward, number) for number in range(5)]
    lines += [_payload("send_email", outward, number) for number in range(5, 8)]
    path.write_text("\n".join(lines), encoding="utf-8")
    data = ("--data", str(tmp_path / "data"))
    assert invoke(["replay", str(path), *data]) == 0
    capsys.readouterr()
    invoke(["doctor", *data])
    printed = capsys.readouterr().out
    assert "its name tells little" in printed
    _, _, rest = printed.partition("# for tools.yaml")
    block = rest[rest.index("tools:") :].split("\n\n")[0]
    mapped = tmp_path / "tools.yaml"
    mapped.write_text(block, encoding="utf-8")
    tools = ToolMap.load(mapped)
    assert tools.semantics("zx17").mapped
    assert tools.semantics("send_email").act == "send"
    config = tmp_path / "telltale.yaml"
    config.write_text(f"rules: {{tool_map: {mapped}}}\n", encoding="utf-8")
    invoke(["doctor", "--json", "--config", str(config), *data])
    assert json.loads(capsys.readouterr().out)["unmapped_tools"] == []
