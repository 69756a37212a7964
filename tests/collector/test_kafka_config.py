"""Kafka settings that are refused, and brokers that cannot be reached, without any broker."""

import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr, ValidationError

from collector import kafka_client
from collector.config import KafkaConfig
from collector.kafka import UNKNOWN_LAG_S, KafkaSource
from contracts.clock import SystemClock
from contracts.errors import ConfigError, SourceUnavailable

SERVERS: dict[str, Any] = {"bootstrap_servers": ("127.0.0.1:1",)}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"topic": "x"}, "topic"),
        ({"bootstrap_servers": ()}, "bootstrap_servers"),
        ({"topics": ()}, "topics"),
        ({"topics": ("a",), "topic_pattern": "a.*"}, "topic_pattern"),
        ({"topic_pattern": "(("}, "topic_pattern"),
        ({"encoding": "jaeger"}, "encoding"),
        (
            {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "u", "sasl_password": "p"},
            "insecure",
        ),
        ({"security_protocol": "SASL_SSL", "sasl_username": "u"}, "sasl_password"),
        ({"stall_s": 0}, "stall_s"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        KafkaConfig(**{**SERVERS, **settings})


def test_settings_that_are_taken() -> None:
    assert KafkaConfig(**SERVERS).topics == ("otlp_spans",)
    assert KafkaConfig(**SERVERS, topic_pattern="otlp_.*").topic_pattern == "otlp_.*"
    insecure = KafkaConfig(
        **SERVERS,
        security_protocol="SASL_PLAINTEXT",
        sasl_username="u",
        sasl_password=SecretStr("secret"),
        insecure=True,
    )
    assert "secret" not in repr(insecure)


def test_without_fast_checksums_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        return None

    monkeypatch.setattr(kafka_client, "find_spec", missing)
    with pytest.raises(ConfigError, match="crc32c"):
        KafkaSource(KafkaConfig(**SERVERS), SystemClock())


def test_a_certificate_file_that_is_missing() -> None:
    config = KafkaConfig(**SERVERS, security_protocol="SSL", ssl_ca_file="/nowhere/ca.pem")
    with pytest.raises(ConfigError, match="ssl"):
        KafkaSource(config, SystemClock())


def _wait_for_failure(source: KafkaSource) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            source.poll(0.1, 10)
        except SourceUnavailable as error:
            return str(error)
    pytest.fail("the source never said that it is unavailable")


def test_a_broker_that_is_not_there_is_named_and_costs_nothing() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
    config = KafkaConfig(bootstrap_servers=(address,), request_timeout_s=1.0, backoff_max_s=1.0)
    source = KafkaSource(config, SystemClock())
    assert source.lag_s(0) is None
    source.start({})
    said = _wait_for_failure(source)
    assert address in said
    assert "refused" in said
    assert not source.up
    lag = source.lag_s(time.time_ns())
    assert lag is not None
    assert lag >= UNKNOWN_LAG_S
    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - began < 3:
        with pytest.raises(SourceUnavailable):
            source.poll(0.5, 10)
    assert time.process_time() - cpu < 0.5 * (time.monotonic() - began)
    source.refuse([], 1.0)
    source.acknowledge([], {})
    assert not source.gaps()
    closing = time.monotonic()
    source.close(5)
    source.close(5)
    assert time.monotonic() - closing < 6


def _certificate(folder: Path, host: str, days: int) -> tuple[Path, Path]:
    """A self-signed certificate for an address, valid from 10 days ago for so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    begin = datetime.now(UTC) - timedelta(days=10)  # noqa: TID251  # a real certificate's time
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


@pytest.mark.parametrize(
    ("host", "days", "trusted", "said"),
    [
        ("127.0.0.1", 5, True, "expired"),
        ("10.0.0.1", 30, True, "IP address mismatch"),
        ("127.0.0.1", 30, False, "self-signed"),
    ],
)
def test_tls_that_cannot_be_trusted_is_refused_with_the_reason(
    tmp_path: Path, host: str, days: int, trusted: bool, said: str
) -> None:
    certificate, private = _certificate(tmp_path, host, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        stop: list[bool] = []

        def serve() -> None:
            while not stop:
                try:
                    peer, _ = listener.accept()
                    with peer:
                        peer.settimeout(1)
                        context.wrap_socket(peer, server_side=True).close()
                except OSError:
                    continue

        thread = Thread(target=serve)
        thread.start()
        config = KafkaConfig(
            bootstrap_servers=(f"127.0.0.1:{listener.getsockname()[1]}",),
            security_protocol="SASL_SSL",
            sasl_username="u",
            sasl_password=SecretStr("top secret"),
            ssl_ca_file=str(certificate) if trusted else None,
            request_timeout_s=0.6,
            backoff_s=0.3,
        )
        source = KafkaSource(config, SystemClock())
        source.start({})
        message = _wait_for_failure(source)
        source.close(5)
        stop.append(True)
        thread.join()
    assert said in message
    assert "secret" not in message


def test_refusing_before_the_start_is_no_error() -> None:
    source = KafkaSource(KafkaConfig(**SERVERS), SystemClock())
    source.refuse([], 1.0)
    assert source.poll(0.0, 1) == []
    assert source.lag_s(1) is None
    source.close(1)
