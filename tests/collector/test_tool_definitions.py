"""What a tool's definition says of it, MCP annotations included."""

from collector.tool_definitions import offered
from contracts.span import Value
from detectors.toolmap import hints


def test_annotations_are_kept_in_front_of_the_description() -> None:
    definitions: Value = [
        {
            "name": "zap",
            "description": "Zaps. " * 200,
            "annotations": {"destructiveHint": True, "readOnlyHint": False, "title": "Zapper"},
        },
        {"type": "function", "function": {"name": "look", "description": "Looks."}},
        {"name": "bare", "annotations": {"openWorldHint": True}},
    ]
    bare, look, zap = offered(definitions)
    assert zap.description.startswith("[destructiveHint: true, readOnlyHint: false] Zaps.")
    assert len(zap.description) == 500
    assert hints(zap.description) == {"destructiveHint": True, "readOnlyHint": False}
    assert look.description == "Looks."
    assert hints(bare.description) == {"openWorldHint": True}


def test_annotations_beside_the_function_are_its_own() -> None:
    beside: Value = [
        {
            "type": "function",
            "annotations": {"destructiveHint": True},
            "function": {"name": "zap", "description": "Zaps."},
        }
    ]
    (zap,) = offered(beside)
    assert hints(zap.description) == {"destructiveHint": True}
