"""What one sender may ask of the OTLP receivers."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ReceiverLimits:
    """Bounds of the OTLP/HTTP and OTLP/gRPC receivers. All are hard; none can be switched off.

    `request_bytes`: of one body as sent. `payload_bytes`: of one body after decompression; 20 MiB
    is the OpenTelemetry Collector's `max_request_body_size` since CVE-2024-36129, so what passes a
    Collector passes here.
    `inflate_ratio`: inflated to compressed bytes, looked at once more than `inflate_floor_bytes`
    came out. DEFLATE ends at 1032, chat histories repeated in every span reach 250.
    `receiving_bytes`: of all bodies not yet complete, together. `header_timeout_s`: from the first
    moment a request can be sent to its last header. `body_timeout_s`: from there to the body's end.
    `keep_alive_s`: idle time between two requests; exporters send every 5 s. `commit_timeout_s`:
    how long a sender is kept waiting for the commit before it is told to try again. `connections`:
    open at once; beyond, the one that has kept its peer's place longest is closed.
    `grpc_calls`: gRPC exports handled at once; each waits for its commit in a thread.
    """

    request_bytes: int = 20 * MIB
    payload_bytes: int = 20 * MIB
    inflate_ratio: int = 500
    inflate_floor_bytes: int = 1 * MIB
    receiving_bytes: int = 128 * MIB
    header_timeout_s: float = 5.0
    body_timeout_s: float = 15.0
    keep_alive_s: int = 60
    commit_timeout_s: float = 30.0
    connections: int = 512
    grpc_calls: int = 32
