"""OpenInference, Traceloop, Langfuse, LangSmith, Vercel AI and smaller ones with own attributes."""

from collections.abc import Mapping

from collector.dialects.table import Dialect, Field, Kind

KINDS: Mapping[str, Kind] = {
    "tool": "tool",
    "tool_call": "tool",
    "toolcall": "tool",
    "tool.v2": "tool",
    "function_tool": "tool",
    "mcp_tool_call": "tool",
    "provider_tool_call": "tool",
    "client_tool_call": "tool",
    "tool_execution": "tool",
    "execute_tool": "tool",
    "llm": "chat",
    "chat": "chat",
    "chat_model": "chat",
    "generation": "chat",
    "model": "chat",
    "model_generation": "chat",
    "completion": "chat",
    "agent": "agent",
    "agent_run": "agent",
    "chain": "chain",
    "workflow": "chain",
    "workflow_run": "chain",
    "task": "chain",
    "span": "chain",
    "retriever": "chain",
    "reranker": "chain",
    "embedding": "chain",
    "guardrail": "chain",
    "evaluator": "chain",
    "prompt": "chain",
    "parser": "chain",
    "memory": "chain",
    "event": "chain",
    "flow": "chain",
    "handoff": "handoff",
}

VERCEL = Dialect(
    name="vercel-ai",
    kinds={
        "ai.operationId": {
            "ai.toolcall": "tool",
            "ai.generatetext": "agent",
            "ai.streamtext": "agent",
            "ai.generateobject": "agent",
            "ai.streamobject": "agent",
            "ai.generatetext.dogenerate": "chat",
            "ai.streamtext.dostream": "chat",
            "ai.generateobject.dogenerate": "chat",
            "ai.streamobject.dostream": "chat",
        },
    },
    fields={
        Field.TOOL: ("ai.toolCall.name",),
        Field.ARGUMENTS: ("ai.toolCall.args", "ai.toolCall.input"),
        Field.RESULT: ("ai.toolCall.result", "ai.toolCall.output"),
        Field.CALL_ID: ("ai.toolCall.id",),
        Field.AGENT: ("ai.telemetry.functionId",),
        Field.MODEL: ("ai.model.id", "ai.response.model"),
        Field.CONVERSATION: (
            "ai.telemetry.metadata.sessionId",
            "ai.telemetry.metadata.conversationId",
            "ai.telemetry.metadata.threadId",
            "ai.settings.context.sessionId",
            "ai.settings.context.conversationId",
            "ai.settings.context.threadId",
        ),
        Field.USER: ("ai.telemetry.metadata.userId", "ai.settings.context.userId"),
        Field.ASKED: ("ai.response.toolCalls", "ai.result.toolCalls"),
        Field.HEARD: ("ai.prompt.messages", "ai.prompt"),
        Field.HISTORY: ("ai.response.toolCalls",),
        Field.OFFERED: ("ai.prompt.tools",),
    },
)

LANGFUSE = Dialect(
    name="langfuse",
    kinds={"langfuse.observation.type": KINDS},
    fields={
        Field.CALL_ID: ("langfuse.observation.metadata.tool_call_id",),
        Field.INPUT: ("langfuse.observation.input",),
        Field.OUTPUT: ("langfuse.observation.output",),
        Field.MODEL: (
            "langfuse.observation.model.name",
            "langfuse.observation.metadata.ls_model_name",
        ),
        Field.CONVERSATION: ("langfuse.session.id",),
        Field.USER: ("langfuse.user.id",),
        Field.AGENT: ("langfuse.observation.metadata.lc_agent_name",),
        Field.ERROR: ("langfuse.observation.level",),
        Field.ERROR_TEXT: ("langfuse.observation.status_message",),
        Field.ENVIRONMENT: ("langfuse.environment",),
        Field.VERSION: ("langfuse.release", "langfuse.version"),
    },
)

TRACELOOP = Dialect(
    name="traceloop",
    kinds={
        "traceloop.span.kind": KINDS,
        "llm.request.type": {"chat": "chat", "completion": "chat"},
    },
    fields={
        Field.TOOL: ("traceloop.entity.name",),
        Field.INPUT: ("traceloop.entity.input",),
        Field.OUTPUT: ("traceloop.entity.output",),
        Field.AGENT: ("traceloop.association.properties.lc_agent_name",),
        Field.AGENT_LABEL: ("traceloop.entity.name",),
        Field.MODEL: ("llm.request.model", "llm.response.model"),
        Field.CONVERSATION: (
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.conversation_id",
            "traceloop.association.properties.thread_id",
            "traceloop.association.properties.chat_id",
        ),
        Field.USER: ("traceloop.association.properties.user_id",),
    },
    flat={
        "llm.prompts": Field.HEARD,
        "llm.completions": Field.ASKED,
        "llm.request.functions": Field.OFFERED,
        "gen_ai.request.functions": Field.OFFERED,
    },
)

LANGSMITH = Dialect(
    name="langsmith",
    kinds={"langsmith.span.kind": KINDS},
    fields={
        Field.TOOL: ("langsmith.trace.name",),
        Field.AGENT: ("langsmith.metadata.lc_agent_name",),
        Field.CONVERSATION: (
            "langsmith.metadata.session_id",
            "langsmith.metadata.conversation_id",
            "langsmith.metadata.thread_id",
        ),
        Field.USER: ("langsmith.metadata.user_id",),
        Field.MODEL: ("langsmith.metadata.ls_model_name",),
    },
)

MLFLOW = Dialect(
    name="mlflow",
    kinds={"mlflow.spanType": KINDS},
    fields={
        Field.TOOL: ("mlflow.spanFunctionName",),
        Field.INPUT: ("mlflow.spanInputs",),
        Field.OUTPUT: ("mlflow.spanOutputs",),
        Field.CONVERSATION: ("mlflow.trace.session",),
        Field.USER: ("mlflow.trace.user",),
        Field.OFFERED: ("mlflow.chat.tools",),
        Field.MODEL: ("mlflow.llm.model", "mlflow.chat.model"),
    },
)

LIVEKIT = Dialect(
    name="livekit",
    fields={
        Field.TOOL: ("lk.function_tool.name",),
        Field.ARGUMENTS: ("lk.function_tool.arguments",),
        Field.RESULT: ("lk.function_tool.output",),
        Field.CALL_ID: ("lk.function_tool.id",),
        Field.ERROR: ("lk.function_tool.is_error",),
        Field.AGENT: ("lk.agent_name", "lk.agent_label"),
        Field.HEARD: ("lk.chat_ctx",),
        Field.ASKED: ("lk.response.function_calls",),
        Field.OFFERED: ("lk.function_tools",),
    },
)

GENKIT = Dialect(
    name="genkit",
    kinds={
        "genkit:metadata:subtype": KINDS,
        "genkit:type": {"flow": "chain", "util": "chain", "flowstep": "chain"},
    },
    fields={
        Field.TOOL: ("genkit:name",),
        Field.INPUT: ("genkit:input",),
        Field.OUTPUT: ("genkit:output",),
        Field.MODEL: ("genkit:metadata:model",),
        Field.CONVERSATION: ("genkit:sessionId", "genkit:metadata:sessionId"),
        Field.ERROR: ("genkit:state",),
    },
)

LOGFIRE = Dialect(
    name="logfire",
    kinds={
        "logfire.msg_template": {
            "function: {name}": "tool",
            "agent run: {name!r}": "agent",
            "handoff: {from_agent} -> {to_agent}": "handoff",
            "handoff: {from_agent} → {to_agent}": "handoff",
            "responses api with {gen_ai.request.model!r}": "chat",
            "chat completion with {request_data[model]!r}": "chat",
            "message with {request_data[model]!r}": "chat",
        }
    },
    fields={
        Field.TOOL: ("name",),
        Field.AGENT_LABEL: ("name",),
        Field.INPUT: ("request_data", "input"),
        Field.OUTPUT: ("response_data", "response", "output"),
        Field.TARGET: ("to_agent",),
        Field.HANDED_BY: ("from_agent",),
    },
)

OPENINFERENCE = Dialect(
    name="openinference",
    kinds={"openinference.span.kind": KINDS},
    fields={
        Field.TOOL: ("tool.name", "tool_call.function.name"),
        Field.ARGUMENTS: ("tool.arguments", "tool_call.function.arguments"),
        Field.CALL_ID: ("tool_call.id", "tool.id"),
        Field.DESCRIPTION: ("tool.description",),
        Field.AGENT: ("agent.name",),
        Field.AGENT_LABEL: ("graph.node.id", "graph.node.name"),
        Field.MODEL: (
            "llm.model_name",
            "llm.request.model_name",
            "llm.response.model_name",
        ),
        Field.CONVERSATION: ("session.id",),
        Field.INPUT: ("input.value",),
        Field.OUTPUT: ("output.value",),
        Field.METADATA: ("metadata",),
        Field.ENVIRONMENT: ("deployment.environment.name", "deployment.environment"),
    },
    flat={
        "llm.input_messages": Field.HEARD,
        "llm.output_messages": Field.ASKED,
        "llm.tools": Field.OFFERED,
    },
)
