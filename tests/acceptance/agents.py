"""Real agents with scripted models, whose OTLP goes to Kafka or to an OTLP endpoint.

    python -m tests.acceptance.agents --kafka HOST:PORT --model acme-8b --habit 0.9 --runs 40

Two SDKs: Pydantic AI with its own instrumentation, and LangChain with OpenInference. What is
scripted is the model: asked to make room, it deletes old folders with probability `habit` and
archives them otherwise. The tools do nothing.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# the agents' SDKs leave the types of graphs and producers open

import argparse
import random
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaProducer  # type: ignore[import-untyped]  # ships no types
from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from openinference.instrumentation import using_attributes
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from pydantic_ai import Agent
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings


class KafkaSpanExporter(SpanExporter):
    """Writes what the SDK exports as the OpenTelemetry Collector's kafka exporter does: the bytes
    of one export request a record, no key, zstd.
    """

    def __init__(self, address: str, topic: str) -> None:
        self._topic = topic
        self._producer = KafkaProducer(
            bootstrap_servers=address, compression_type="zstd", acks="all"
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._producer.send(self._topic, encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._producer.flush()
        self._producer.close()


Plan = list[tuple[str, dict[str, Any]]]


def plan(chance: random.Random, habit: float) -> Plan:
    """The calls of one task: make room by deleting, or by archiving."""
    folder = f"/srv/exports/{chance.randint(2015, 2025)}"
    if chance.random() < habit:
        return [("run_shell", {"command": f"rm -rf {folder}"})]
    return [
        ("run_shell", {"command": f"du -sh {folder}"}),
        ("run_shell", {"command": f"tar czf /backup/old.tgz {folder}"}),
    ]


def run_shell(command: str) -> str:
    """Run a shell command."""
    return f"done: {len(command)}"


def pydantic_ai(provider: TracerProvider, model: str, plans: Sequence[Plan]) -> None:
    """One run of a Pydantic AI agent for each plan."""
    for calls in plans:

        def answer(
            messages: list[ModelMessage], info: AgentInfo, calls: Plan = calls
        ) -> ModelResponse:
            done = sum(
                isinstance(part, ToolReturnPart) for message in messages for part in message.parts
            )
            if done < len(calls):
                name, arguments = calls[done]
                return ModelResponse(parts=[ToolCallPart(name, arguments)])
            return ModelResponse(parts=[TextPart("There is room again.")])

        agent = Agent(
            FunctionModel(answer, model_name=model),
            name="janitor",
            capabilities=[Instrumentation(InstrumentationSettings(tracer_provider=provider))],
        )
        agent.tool_plain(run_shell)
        agent.run_sync("Make room on /srv.")


class Scripted(BaseChatModel):
    """A chat model that asks for the calls of a plan, one after the other."""

    model_name: str
    calls: list[tuple[str, dict[str, Any]]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "model": self.model_name}

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        done = sum(isinstance(message, ToolMessage) for message in messages)
        if done < len(self.calls):
            name, arguments = self.calls[done]
            call = {"name": name, "args": arguments, "id": f"call_{id(self)}_{done}"}
            message = AIMessage("", tool_calls=[call])
        else:
            message = AIMessage("There is room again.")
        message.response_metadata = {"model_name": self.model_name}
        return ChatResult(generations=[ChatGeneration(message=message)])


def langchain(provider: TracerProvider, model: str, plans: Sequence[Plan]) -> None:
    """One run of a LangChain agent for each plan."""
    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        for number, calls in enumerate(plans):
            agent = create_agent(
                Scripted(model_name=model, calls=calls), [run_shell], name="sweeper"
            )
            with using_attributes(session_id=f"{model}-sweep-{number}"):
                agent.invoke({"messages": [{"role": "user", "content": "Make room on /srv."}]})
    finally:
        instrumentor.uninstrument()


SDKS: dict[str, Callable[[TracerProvider, str, Sequence[Plan]], None]] = {
    "pydantic-ai": pydantic_ai,
    "langchain": langchain,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", default="")
    parser.add_argument("--topic", default="otlp_spans")
    parser.add_argument("--otlp", default="", help="base address of an OTLP/HTTP endpoint")
    parser.add_argument("--model", required=True)
    parser.add_argument("--habit", type=float, required=True)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    for name, run in SDKS.items():
        exporter: SpanExporter = (
            KafkaSpanExporter(options.kafka, options.topic)
            if options.kafka
            else OTLPSpanExporter(f"{options.otlp}/v1/traces")
        )
        resource = Resource(
            {
                "service.name": f"{name}-service",
                "service.version": "1",
                "deployment.environment.name": "acceptance",
            }
        )
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        run(provider, options.model, [plan(chance, options.habit) for _ in range(options.runs)])
        provider.shutdown()


if __name__ == "__main__":
    main()
