"""Settings of the collector: OTLP listeners, decoding limits and Kafka. Units are in the names."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from contracts.record import Encoding

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

MIB = 1024 * 1024


class DecodeLimits(BaseModel):
    """What one payload and one span may hold. What is beyond is cut and flagged, or set aside.

    `payload_bytes`: a bigger payload becomes a dead letter; 20 MiB is what the OTLP receivers let
    in, Kafka's own default is 1 MiB. `payload_values`: messages or brackets in a
    payload over 1 MiB; real spans need one per 30 bytes or more, a bomb of empty ones needs one per
    2 bytes and 40 times its size in memory. `value_chars`: longest text kept whole; agents do send
    tool arguments and chat histories of hundreds of kB, so 1 MiB. `attributes`: per span or event;
    flattened chat histories reach thousands. `depth`: levels of nested arrays and maps in one
    value, below the 31 at which the protobuf parser gives up. `dead_letters`: kept per payload, the
    rest is only counted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    payload_bytes: int = Field(default=20 * MIB, gt=0)
    payload_values: int = Field(default=500_000, gt=0)
    value_chars: int = Field(default=MIB, gt=0)
    key_chars: int = Field(default=4_096, gt=0)
    attributes: int = Field(default=16_384, gt=0)
    events: int = Field(default=4_096, gt=0)
    values: int = Field(default=100_000, gt=0)
    depth: int = Field(default=24, gt=0, le=24)
    dead_letters: int = Field(default=100, gt=0)


class OtlpConfig(BaseModel):
    """OTLP receivers; an address of null switches that receiver off.

    `queue_requests`, `queue_bytes`: what may wait for its commit before senders are told to come
    back later. `limits`: of every payload, whichever way it came.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    http: str | None = "127.0.0.1:4318"
    grpc: str | None = "127.0.0.1:4317"
    queue_requests: int = Field(default=1_000, gt=0)
    queue_bytes: int = Field(default=64 * MIB, gt=0)
    limits: DecodeLimits = DecodeLimits()


class KafkaConfig(BaseModel):
    """A Kafka source. `topics` or `topic_pattern`, not both.

    `topic_pattern`: regular expression that a topic's whole name must match. `log_topics`: those of
    the topics whose records are OTLP logs. `group_id`: only where offsets are committed as a
    courtesy to lag tools, "" for nowhere; positions are Telltale's own. `encoding`: `auto` tells
    JSON from protobuf by the first byte. `insecure`: allow a password over an unencrypted
    connection (SASL_PLAINTEXT). `ssl_ca_file` without a value means the system's authorities.

    `fetch_bytes`: per partition and request. `inflated_bytes`: largest record batch once
    decompressed. `buffer_bytes`, `buffer_records`: what waits for `poll`. `discover_s`: how often
    topics and partitions are looked up anew. `stall_s`: a partition with records to read that gives
    none for this long is sought again, after twice that the consumer is rebuilt. `corrupt_retries`:
    how often an unreadable batch is fetched again before it is given up and recorded as a gap.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bootstrap_servers: tuple[str, ...] = Field(min_length=1)
    topics: tuple[str, ...] = ("otlp_spans",)
    topic_pattern: str | None = None
    log_topics: tuple[str, ...] = ("otlp_logs",)
    group_id: str = "telltale"
    client_id: str = "telltale"
    encoding: Encoding = "auto"

    security_protocol: SecurityProtocol = "PLAINTEXT"
    insecure: bool = False
    ssl_ca_file: str | None = None
    ssl_cert_file: str | None = None
    ssl_key_file: str | None = None
    ssl_key_password: SecretStr | None = None
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None

    fetch_bytes: int = Field(default=MIB, gt=0)
    inflated_bytes: int = Field(default=32 * MIB, gt=0)
    buffer_bytes: int = Field(default=32 * MIB, gt=0)
    buffer_records: int = Field(default=10_000, gt=0)
    discover_s: float = Field(default=30.0, gt=0)
    stall_s: float = Field(default=30.0, gt=0)
    corrupt_retries: int = Field(default=3, ge=0)
    request_timeout_s: float = Field(default=10.0, gt=0.5)
    backoff_s: float = Field(default=0.5, gt=0)
    backoff_max_s: float = Field(default=15.0, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> "KafkaConfig":
        if self.topic_pattern is None and not self.topics:
            raise ValueError("topics: name at least one, or give topic_pattern")
        if self.topic_pattern is not None:
            if "topics" in self.model_fields_set:
                raise ValueError("topics and topic_pattern: give one of the two")
            try:
                re.compile(self.topic_pattern)
            except re.error as error:
                raise ValueError(f"topic_pattern: {error}") from error
        if self.security_protocol == "SASL_PLAINTEXT" and not self.insecure:
            raise ValueError(
                "security_protocol: SASL_PLAINTEXT sends the password unencrypted; "
                "use SASL_SSL, or set insecure: true"
            )
        if self.security_protocol.startswith("SASL") and not (
            self.sasl_username and self.sasl_password
        ):
            raise ValueError("sasl_username and sasl_password: both are needed for SASL")
        return self
