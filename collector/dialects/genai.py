"""OpenTelemetry GenAI and MCP semantic conventions, all eras, and what SDKs add beside them."""

from collections.abc import Mapping

from collector.dialects.table import Dialect, Field, Kind

OPERATIONS: Mapping[str, Kind] = {
    "execute_tool": "tool",
    "tool": "tool",
    "tool_call": "tool",
    "chat": "chat",
    "generate_content": "chat",
    "text_completion": "chat",
    "completion": "chat",
    "responses": "chat",
    "message": "chat",
    "realtime": "chat",
    "invoke_agent": "agent",
    "agent": "agent",
    "run_agent": "agent",
    "create_agent": "chain",
    "invoke_workflow": "chain",
    "workflow": "chain",
    "plan": "chain",
    "task": "chain",
    "chain": "chain",
    "agent_step": "chain",
    "execute_task": "chain",
    "execute_event_loop_cycle": "chain",
    "embeddings": "chain",
    "retrieval": "chain",
    "search_memory": "chain",
    "create_memory": "chain",
    "update_memory": "chain",
    "upsert_memory": "chain",
    "delete_memory": "chain",
    "guardrail": "chain",
    "agent_handoff": "handoff",
    "handoff": "handoff",
    "transfer": "handoff",
}

GENAI = Dialect(
    name="otel-genai",
    kinds={
        "gen_ai.operation.name": OPERATIONS,
        "gen_ai.span.kind": {**OPERATIONS, "llm": "chat"},
    },
    fields={
        Field.TOOL: ("gen_ai.tool.name", "tool.name"),
        Field.ARGUMENTS: (
            "gen_ai.tool.call.arguments",
            "gen_ai.tool.arguments",
            "gen_ai.tool.input",
            "gen_ai.tool.call.input",
        ),
        Field.RESULT: (
            "gen_ai.tool.call.result",
            "gen_ai.tool.result",
            "gen_ai.tool.output",
            "gen_ai.tool.call.output",
            "gen_ai.tool.message",
        ),
        Field.CALL_ID: ("gen_ai.tool.call.id",),
        Field.DESCRIPTION: ("gen_ai.tool.description",),
        Field.AGENT: ("crewai.agent.role", "gen_ai.agent.name"),
        Field.MODEL: ("gen_ai.request.model", "gen_ai.response.model"),
        Field.CONVERSATION: ("gen_ai.conversation.id",),
        Field.USER: ("user.id", "enduser.id"),
        Field.ASKED: (
            "gen_ai.output.messages",
            "gen_ai.response.tool_calls",
            "gen_ai.response.messages",
        ),
        Field.HEARD: ("gen_ai.input.messages", "gen_ai.request.messages"),
        Field.HISTORY: (
            "gen_ai.output.messages",
            "gen_ai.input.messages",
            "pydantic_ai.all_messages",
        ),
        Field.OFFERED: (
            "gen_ai.tool.definitions",
            "gen_ai.request.available_tools",
            "gen_ai.request.tools",
        ),
        Field.ERROR: ("gen_ai.tool.status",),
        Field.ERROR_TEXT: ("error.type", "error.message", "exception.message"),
        Field.TARGET: ("gen_ai.handoff.to_agent", "gen_ai.handoff.target"),
        Field.HANDED_BY: ("gen_ai.handoff.from_agent", "gen_ai.handoff.source"),
        Field.VERSION: ("gen_ai.agent.version",),
        Field.INPUT: ("gen_ai.prompt",),
        Field.OUTPUT: ("gen_ai.completion",),
    },
    flat={
        "gen_ai.input.messages": Field.HEARD,
        "gen_ai.output.messages": Field.ASKED,
        "gen_ai.prompt": Field.HEARD,
        "gen_ai.completion": Field.ASKED,
    },
)

MCP = Dialect(
    name="otel-mcp",
    kinds={"mcp.method.name": {"tools/call": "tool"}, "mcp.method": {"tools/call": "tool"}},
    fields={
        Field.TOOL: ("mcp.tool.name", "mcp.request.params.name"),
        Field.ARGUMENTS: (
            "mcp.request.argument",
            "mcp.tool.arguments",
            "mcp.request.params.arguments",
        ),
        Field.RESULT: ("mcp.tool.result", "mcp.response.value"),
    },
)

GOOGLE = Dialect(
    name="otel-genai",
    fields={
        Field.ARGUMENTS: ("gcp.vertex.agent.tool_call_args",),
        Field.RESULT: ("gcp.vertex.agent.tool_response",),
        Field.ASKED: ("gcp.vertex.agent.llm_response",),
        Field.HEARD: ("gcp.vertex.agent.llm_request",),
        Field.CONVERSATION: ("gcp.vertex.agent.session_id",),
    },
)

PYDANTIC = Dialect(
    name="otel-genai",
    fields={
        Field.ARGUMENTS: ("tool_arguments",),
        Field.RESULT: ("tool_response",),
        Field.OFFERED: ("model_request_parameters",),
        Field.AGENT_LABEL: ("agent_name",),
        Field.MODEL: ("model_name", "crewai.agent.llm"),
        Field.METADATA: ("metadata",),
        Field.DECISION: ("pydantic_ai.tool.deferral.name",),
        Field.ERROR_TEXT: ("pydantic_ai.tool.failure_stage",),
        Field.HISTORY: ("all_messages_events",),
    },
)

CLAUDE = Dialect(
    name="claude-code",
    kinds={
        "span.type": {
            "llm_request": "chat",
            "tool": "tool",
            "interaction": "agent",
            "tool.blocked_on_user": "part",
            "tool.execution": "part",
        }
    },
    fields={
        Field.TOOL: ("tool_name",),
        Field.CALL_ID: ("tool_use_id",),
        Field.TARGET: ("subagent_type",),
        Field.DECISION: ("decision",),
        Field.ERROR: ("success",),
        Field.ERROR_TEXT: ("error",),
        Field.REQUEST: ("user_prompt",),
        Field.MODEL: ("model",),
    },
)
