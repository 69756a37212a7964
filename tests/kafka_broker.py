"""A real Apache Kafka broker on free ports of this machine: for tests, and for `make kafka`.

One node in KRaft mode, no container: Maven resolves the jars from Maven Central into a cache folder
(`.cache/kafka` in the repository, or `TELLTALE_KAFKA_CACHE`), Java runs them, data lives in a
temporary folder. Needs `java` (17 or newer) and, the first time, `mvn`.

Run as a program it prints the address and stops the broker on Ctrl-C or SIGTERM.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from collector.config import KafkaConfig
from contracts.errors import SourceUnavailable

KAFKA = "4.1.1"
LOG4J = "2.25.3"
"""The version Kafka's own log4j comes in; without the slf4j binding the broker logs nothing."""
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "kafka"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>telltale</groupId><artifactId>kafka-broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{KAFKA}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>{LOG4J}</version></dependency>
  </dependencies>
</project>
"""


class BrokerUnavailable(Exception):
    """No broker can be had here; the message says why."""


def jars(cache: Path | None = None) -> Path:
    """The folder with the broker's jars, resolved by Maven if it is not there yet."""
    cache = cache or Path(os.environ.get("TELLTALE_KAFKA_CACHE") or CACHE)
    folder = cache / f"kafka-{KAFKA}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerUnavailable("Maven (mvn) is not installed, and no Kafka is in the cache")
    cache.mkdir(parents=True, exist_ok=True)
    # Resolved beside its place and moved there whole: an interrupted download is never used.
    with tempfile.TemporaryDirectory(dir=cache) as work:
        (Path(work) / "pom.xml").write_text(POM)
        run = subprocess.run(
            [maven, "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"],
            cwd=work,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if run.returncode != 0:
            last = (run.stdout + run.stderr).strip().splitlines()[:1]
            raise BrokerUnavailable(f"Maven could not resolve Kafka {KAFKA}: {' '.join(last)}")
        if not folder.is_dir():
            (Path(work) / "libs").rename(folder)
    return folder


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Broker:
    """One broker. `start` after `stop` keeps its data and its address.

    `settings`: more lines of server.properties. `data`: folder for its log, a temporary one if not
    given. `port`: a free one if 0.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, data: Path | None = None, port: int = 0
    ) -> None:
        java = shutil.which("java")
        if java is None:
            raise BrokerUnavailable("Java is not installed")
        self._java = java
        self._classpath = f"{jars()}/*"
        self._temporary = data is None
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-")) if data is None else data
        self._folder.mkdir(parents=True, exist_ok=True)
        broker_port, controller_port = free_ports(2)
        self.address = f"127.0.0.1:{port or broker_port}"
        self.log_file = self._folder / "broker.log"
        self._properties = self._folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self._folder / "log"),
            "num.partitions": "4",
            "auto.create.topics.enable": "true",
            "message.max.bytes": str(32 * 1024 * 1024),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            **(settings or {}),
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        if not (self._folder / "log" / "meta.properties").exists():
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            self._java_run(
                "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties)
            )

    def start(self) -> None:
        """Start and wait until it answers. Raises `BrokerUnavailable`."""
        if self._process is not None:
            return
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._java,
                    "-Xmx512m",
                    "-XX:+UseSerialGC",
                    "-cp",
                    self._classpath,
                    "kafka.Kafka",
                    str(self._properties),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._process = None
                raise BrokerUnavailable(f"Kafka ended at start, see {self.log_file}")
            if self._answers():
                return
            time.sleep(0.2)
        self.stop()
        raise BrokerUnavailable(f"Kafka did not answer in {START_TIMEOUT_S:.0f} s")

    def stop(self) -> None:
        """Stop this broker's own process. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop and delete the data, if it was temporary."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    def wait(self) -> int:
        """Until the broker ends by itself."""
        return 0 if self._process is None else self._process.wait()

    def __enter__(self) -> "Broker":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answers(self) -> bool:
        """Whether it lists its topics: the port opens some time before that."""
        # Here and not above: every test session imports this module, few start a broker.
        from collector.kafka_client import Cluster

        host, port = self.address.split(":")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex((host, int(port))) != 0:
                return False
        try:
            cluster = Cluster(KafkaConfig(bootstrap_servers=(self.address,), request_timeout_s=3))
        except SourceUnavailable:
            return False
        try:
            cluster.topics(None)
        except SourceUnavailable:
            return False
        finally:
            cluster.close()
        return True

    def _java_run(self, *arguments: str) -> None:
        run = subprocess.run(
            [self._java, "-cp", self._classpath, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if run.returncode != 0:
            raise BrokerUnavailable(f"{arguments[0]} failed: {(run.stdout + run.stderr)[-300:]}")


def main(arguments: Sequence[str]) -> int:
    """Run a broker until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A real Apache Kafka broker for development.")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: free one)")
    parser.add_argument("--data", type=Path, help="folder to keep its data in (default: temporary)")
    options = parser.parse_args(arguments)

    def interrupted(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    # Both: a shell starts what runs in the background with SIGINT ignored.
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    try:
        broker = Broker(data=options.data, port=options.port)
    except BrokerUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        with broker:
            sys.stdout.write(f"Kafka {KAFKA} answers on {broker.address}; Ctrl-C stops it\n")
            sys.stdout.flush()
            return broker.wait()
    except BrokerUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
