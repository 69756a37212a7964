"""Who acted for whom where: environment, service, agents, conversations, and trajectory ids."""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache

from collector.values import decode, text_of
from contracts.span import Value

ENVIRONMENT_KEYS = (
    "deployment.environment.name",
    "deployment.environment",
    "deployment_environment",
)

PAYLOAD_CHARACTERS = 100_000
"""Read of a step's payload for the acting agent's name."""

DEFAULT_NAMES = frozenset(
    {
        "openai agent",
        "agent",
        "default",
        "model",
        "tools",
        "assistant",
        "langgraph",
        "agents",
        "main",
    }
)
"""Names instrumentations write where they know none; any name an agent span carries goes before."""

_KEY = re.compile(
    r"^[0-9a-f]{24,}$|^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$|^asst_\w{20,}$", re.I
)
_DECORATION = re.compile(
    r"^(?:invoke_agent|create_agent|agent run|agent_run|run_agent|agent|invoke|execute agent|chat)"
    r"[ :.]+"
    r"\[?([^\]]+)\]?$",
    re.I,
)
_SUFFIX = re.compile(
    r"^(.+?)\.(?:agent|run|arun|_?execute_core|continue_run|acontinue_run|run_async|run_stream|invoke|"
    r"ainvoke|stream|astream|generate|execute|kickoff|__call__|process|workflow|forward)$"
)
_FRAMEWORK_NAME = re.compile(
    r"^(?:agent|crew|workflow|runner|graph|invocation|unknown|root|session)(?:[ ._]?run)?$", re.I
)


def environment_of(resource: Mapping[str, Value], own: str, default: str) -> str:
    """The deployment environment: the resource's, else the span's own, else `default`."""
    for key in ENVIRONMENT_KEYS:
        found = resource.get(key)
        if isinstance(found, str) and found:
            return found
    return own or default


def process_of(resource: Mapping[str, Value]) -> str:
    """What tells the processes of a service apart, "" if nothing does."""
    for name in _PROCESS:
        found = text_of(resource.get(name))
        if found:
            return found
    return ""


_PROCESS = ("service.instance.id", "k8s.pod.uid", "k8s.pod.name", "container.id", "host.name")


def service_of(resource: Mapping[str, Value]) -> str:
    """`service.name`, "" where the resource has none."""
    found = resource.get("service.name")
    return found if isinstance(found, str) else ""


@lru_cache(maxsize=4_096)
def is_named(name: str) -> bool:
    """Whether `name` is a real agent name, not a hash, an id or an instrumentation's default."""
    return bool(name) and name.lower() not in DEFAULT_NAMES and not _KEY.match(name)


def label_of(span_name: str, model: str) -> str:
    """An agent's name out of its span's name, "" where the span name is only a framework's word."""
    name = span_name
    for pattern in (_DECORATION, _SUFFIX):
        found = pattern.match(name)
        if found:
            name = found.group(1).strip()
    if (
        name == model
        or _FRAMEWORK_NAME.match(name)
        or name.lower() in ("invoke_agent", "agent run")
    ):
        return ""
    return name if is_named(name) else ""


def metadata_of(raw: Value) -> Mapping[str, Value]:
    """A run's metadata: a JSON object in an attribute; {} if it is none."""
    value = decode(raw)
    return value if isinstance(value, dict) else {}


_METADATA_AGENT = ("lc_agent_name", "agent_name", "agentName")
_METADATA_CONVERSATION = (
    "session_id",
    "sessionId",
    "conversation_id",
    "conversationId",
    "thread_id",
    "threadId",
)
_METADATA_USER = ("user_id", "userId", "user.id", "langfuse_user_id")


def from_metadata(metadata: Mapping[str, Value]) -> tuple[str, str, str]:
    """(agent, conversation, user) that a run's metadata names, "" where it does not."""
    return (
        _first(metadata, _METADATA_AGENT),
        _first(metadata, _METADATA_CONVERSATION),
        _first(metadata, _METADATA_USER),
    )


def _first(metadata: Mapping[str, Value], names: tuple[str, ...]) -> str:
    for name in names:
        found = text_of(metadata.get(name))
        if found:
            return found
    return ""


@lru_cache(maxsize=4_096)
def conversation_trajectory(environment: str, service: str, conversation: str) -> str:
    """`c-` and 32 hex digits, the same for every trace of one conversation of one service."""
    joined = "\x00".join((environment, service, conversation)).encode("utf-8", "replace")
    return "c-" + hashlib.blake2b(joined, digest_size=16).hexdigest()


def trace_trajectory(trace_id: str) -> str:
    """`t-` and the trace id, where no conversation id is known."""
    return "t-" + trace_id


_PROMPT_NAME = re.compile(
    r"\byour (?:internal )?name is [\"'`]?([\w.-]+)|^\W*you are (?:the )?[\"'`]?"
    r"((?!(?:an?|the|now|going|to|not|in|my|our|very|responsible)\b)"
    r"\w[\w-]*(?: [A-Z][\w-]*){0,4})"
    r"[\"'`]?[.,\n]",
    re.I,
)


def from_prompt(system: str) -> str:
    """The name that a system prompt gives its agent (`You are x.`, `Your name is x.`), "" if none.

    Frameworks write such openings themselves (CrewAI, Google ADK). The last resort for spans that
    name no agent at all.
    """
    found = _PROMPT_NAME.search(system[:500])
    if not found:
        return ""
    name = found.group(1) or found.group(2)
    return name if is_named(name) else ""


_MCP_NAME = re.compile(r"^mcp__.+?__(.+)$")
_DISPLAY = re.compile(r"\W+")
_SPAN_PREFIX = re.compile(
    r"^(?:execute_tool|execute tool|tools/call|running tool:?|call tool:?|tool_call|tool call:?|"
    r"tool:|Function:|function_tool|execute_function|ai\.toolCall|MCP send tools/call|tool) +(.+)$|"
    r"^(?:tool|execute_tool|function_tool|ToolCall|langchain4j\.tools|agent\.tool)[.:/](.+)$",
    re.I,
)
_SPAN_SUFFIX = re.compile(
    r"^(.+)\.(?:tool|run|arun|__call__|call|acall|invoke|ainvoke|execute|forward)$"
)


def tool_from_span_name(name: str) -> str:
    """The tool's name out of a span's name, decorations removed."""
    found = _SPAN_PREFIX.match(name)
    if found:
        name = found.group(1) or found.group(2)
    found = _SPAN_SUFFIX.match(name)
    return found.group(1) if found else name


_PSEUDO_TOOL = re.compile(r"^\(.*\)$|^final_(?:answer|result)$")


def is_pseudo_tool(tool: str, given: Value) -> bool:
    """Whether a tool is only a framework's way to write something else, and no call of it is one.

    Google ADK's `(merged tools)`; the answer to the user dressed as a tool (`final_answer`); the
    end of a loop (`finish` without arguments).
    """
    return bool(_PSEUDO_TOOL.match(tool)) or (tool == "finish" and not given)


_PAYLOAD_NAME = re.compile(
    r"\b(?:current_agent_name|active_agent|current_agent|last_agent|agent_name)"
    r"\\*[\"']?\s*[:=]\s*\\*[\"']([\w .-]{1,60})\\*[\"']"
)


def from_payload(text: str) -> str:
    """The agent that a framework's step says is acting, in what it was given or gave."""
    if "agent" not in text:
        return ""
    found = _PAYLOAD_NAME.search(text[:PAYLOAD_CHARACTERS])
    return found.group(1) if found and is_named(found.group(1)) else ""


@lru_cache(maxsize=8_192)
def tool_name(raw: str) -> str:
    """The tool's name as a model can call it.

    A name with blanks is a display name (no model API takes one): `Delegate work to coworker`
    becomes `delegate_work_to_coworker`, as its framework registers it.
    """
    name = raw.strip()
    if " " in name:
        name = _DISPLAY.sub("_", name).strip("_").lower()
    return name


@lru_cache(maxsize=8_192)
def match_name(tool: str) -> str:
    """The name by which spans and asks of one tool are recognised as the same."""
    found = _MCP_NAME.match(tool)
    name = found.group(1) if found else tool
    return name.removeprefix("functions.").replace("-", "_").replace(" ", "_").lower()
