"""Tool spans, as each convention and instrumentation writes them, are calls."""

import json
from dataclasses import replace

import pytest

from tests.span_cases import ARGUMENTS, TEXT, One, calls_of, event, spans_of

TOOL_SPANS: dict[str, One] = {
    "semconv, structured": One(
        "execute_tool refund",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.call.arguments": ARGUMENTS,
            "gen_ai.tool.call.result": {"ok": True},
        },
    ),
    "semconv, bytes": One(
        "execute_tool refund",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.call.arguments": TEXT.encode(),
            "gen_ai.tool.call.result": b'{"ok": true}',
        },
    ),
    "semconv without an operation": One(
        "refund",
        {
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.arguments": TEXT,
            "gen_ai.tool.call.id": "c1",
        },
    ),
    "pydantic-ai, format 2": One(
        "running tool",
        {
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
            "tool_arguments": TEXT,
            "tool_response": '{"ok": true}',
            "logfire.msg": "running tool: refund",
        },
    ),
    "strands events": One(
        "execute_tool refund",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
        },
        events=(
            event("gen_ai.tool.message", role="tool", content=TEXT, id="c1"),
            event("gen_ai.choice", message='[{"text": "{\\"ok\\": true}"}]', id="c1"),
        ),
    ),
    "google adk, schema 1": One(
        "execute_tool refund",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
            "gcp.vertex.agent.tool_call_args": TEXT,
            "gcp.vertex.agent.tool_response": '{"ok": true}',
        },
    ),
    "sentry": One(
        "execute_tool refund",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.input": TEXT,
            "gen_ai.tool.output": '{"ok": true}',
            "tool_call_id": "c1",
        },
    ),
    "openinference": One(
        "refund",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "refund",
            "tool_call.id": "c1",
            "input.value": TEXT,
            "output.value": '{"ok": true}',
        },
    ),
    "openinference, arguments in a call": One(
        "FunctionTool.acall",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "refund",
            "tool.id": "c1",
            "input.value": json.dumps({"args": [], "kwargs": ARGUMENTS}),
            "output.value": '{"ok": true}',
            "tool.parameters": '{"type": "object", "properties": {"order_id": {"type": "string"}}}',
        },
    ),
    "openinference, parameters are the arguments": One(
        "refund",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "refund",
            "tool.parameters": TEXT,
            "tool.id": "c1",
        },
    ),
    "traceloop langchain": One(
        "refund.tool",
        {
            "traceloop.span.kind": "tool",
            "traceloop.entity.name": "refund",
            "traceloop.entity.input": json.dumps(
                {
                    "input_str": str(ARGUMENTS),
                    "tags": [],
                    "metadata": {},
                    "inputs": ARGUMENTS,
                    "kwargs": {"color": "green", "tool_call_id": "c1"},
                }
            ),
            "traceloop.entity.output": json.dumps(
                {"output": {"lc": 1, "type": "constructor", "kwargs": {"content": '{"ok": true}'}}}
            ),
        },
    ),
    "langfuse": One(
        "refund",
        {
            "langfuse.observation.type": "tool",
            "langfuse.observation.input": TEXT,
            "langfuse.observation.output": json.dumps(
                {"content": '{"ok": true}', "type": "tool", "tool_call_id": "c1"}
            ),
        },
    ),
    "langsmith": One(
        "refund",
        {
            "langsmith.span.kind": "tool",
            "langsmith.trace.name": "refund",
            "gen_ai.prompt": TEXT,
            "gen_ai.completion": '{"ok": true}',
            "gen_ai.tool.call.id": "c1",
        },
    ),
    "vercel ai": One(
        "ai.toolCall",
        {
            "ai.operationId": "ai.toolCall",
            "operation.name": "ai.toolCall shop",
            "ai.toolCall.name": "refund",
            "ai.toolCall.id": "c1",
            "ai.toolCall.args": TEXT,
            "ai.toolCall.result": '{"ok": true}',
        },
    ),
    "mlflow": One(
        "refund",
        {
            "mlflow.spanType": '"TOOL"',
            "mlflow.spanInputs": TEXT,
            "mlflow.spanOutputs": '{"ok": true}',
            "mlflow.spanFunctionName": '"refund"',
            "call_id": "c1",
        },
    ),
    "livekit": One(
        "function_tool",
        {
            "lk.function_tool.id": "c1",
            "lk.function_tool.name": "refund",
            "lk.function_tool.arguments": TEXT,
            "lk.function_tool.output": '{"ok": true}',
            "lk.function_tool.is_error": False,
        },
    ),
    "genkit": One(
        "refund",
        {
            "genkit:type": "action",
            "genkit:name": "refund",
            "genkit:metadata:subtype": "tool.v2",
            "genkit:input": TEXT,
            "genkit:output": '{"ok": true}',
            "genkit:state": "success",
            "genkit:metadata:tool_call_id": "c1",
        },
    ),
    "spring ai": One(
        "tool_call refund",
        {
            "gen_ai.operation.name": "framework",
            "gen_ai.system": "spring_ai",
            "spring.ai.kind": "tool_call",
            "spring.ai.tool.definition.name": "refund",
            "spring.ai.tool.call.id": "c1",
            "spring.ai.tool.call.arguments": TEXT,
            "spring.ai.tool.call.result": '{"ok": true}',
        },
    ),
    "mastra": One(
        "tool_call refund",
        {
            "mastra.span.type": "tool_call",
            "gen_ai.tool.name": "refund",
            "mastra.tool_call.input": TEXT,
            "mastra.tool_call.output": '{"ok": true}',
            "gen_ai.tool.call.id": "c1",
        },
    ),
    "logfire openai agents": One(
        "Function: {name}",
        {
            "logfire.msg_template": "Function: {name}",
            "name": "refund",
            "input": TEXT,
            "output": '{"ok": true}',
            "call_id": "c1",
        },
    ),
    "hand-written": One(
        "agent.tool.refund",
        {
            "agent.tool.name": "refund",
            "agent.tool.call_id": "c1",
            "agent.tool.arguments": TEXT,
            "agent.tool.result": '{"ok": true}',
        },
    ),
    "hand-written, camel case": One(
        "step",
        {"toolName": "refund", "toolCallId": "c1", "toolInput": TEXT, "toolOutput": '{"ok": true}'},
    ),
    "an unknown kind attribute": One(
        "refund",
        {
            "acme.span.type": "tool",
            "acme.tool_name": "refund",
            "acme.input": TEXT,
            "acme.output": '{"ok": true}',
            "acme.tool_call_id": "c1",
        },
    ),
    "arguments in attributes of their own": One(
        "tools/call refund",
        {
            "mcp.method.name": "tools/call",
            "mcp.tool.name": "refund",
            "mcp.request.argument.order_id": "ORD-7",
            "mcp.request.argument.amount": 12.5,
            "mcp.tool_call_id": "c1",
        },
    ),
    "an operation nobody listed": One(
        "step",
        {
            "gen_ai.operation.name": "call_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.call.arguments": TEXT,
        },
    ),
    "llamaindex": One(
        "FunctionTool.acall",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "refund",
            "tool.id": "c1",
            "input.value": json.dumps({"kwargs": ARGUMENTS}),
            "output.value": json.dumps(
                {"blocks": [{"text": '{"ok": true}'}], "tool_name": "refund", "is_error": False}
            ),
        },
    ),
    "a step that names its tool": One(
        "Workflow.task",
        {
            "traceloop.span.kind": "task",
            "traceloop.entity.name": "Workflow.task",
            "tool.name": "refund",
            "tool.arguments": TEXT,
            "tool_call.id": "c1",
            "traceloop.entity.output": '{"tool_name": "refund", "tool_output": {"ok": true}}',
        },
    ),
    "mcp with its arguments": One(
        "tools/call refund",
        {
            "mcp.method.name": "tools/call",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.arguments": TEXT,
            "gen_ai.tool.call.id": "c1",
        },
    ),
}


@pytest.mark.parametrize("accent", TOOL_SPANS)
def test_a_tool_span_is_a_call(accent: str) -> None:
    (call,) = calls_of(spans_of([One("root"), replace(TOOL_SPANS[accent], under=0)]))
    assert (call.tool, call.arguments, call.arguments_state) == ("refund", ARGUMENTS, "object")
    assert call.call_id == "c1"
    assert call.outcome == "ok"
    assert call.result in ({"ok": True}, None)


def test_a_span_named_for_its_tool_is_enough() -> None:
    assert [c.tool for c in calls_of(spans_of([One("execute_tool refund")]))] == ["refund"]
    assert [c.tool for c in calls_of(spans_of([One("langchain4j.tools.refund")]))] == ["refund"]
