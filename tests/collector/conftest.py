import threading
from collections.abc import Iterator

import pytest

from collector.inbox import OtlpInbox
from collector.otlp import decode
from contracts.clock import SystemClock
from contracts.ports import Decode
from contracts.record import Decoded, Record


class Pipeline:
    """Polls an inbox as the daemon's loop does, and acknowledges what it decoded.

    While `may_commit` is clear it holds what it polled. With `refuses` set it gives records back.
    """

    def __init__(self, inbox: OtlpInbox) -> None:
        self.inbox = inbox
        self.records: list[Record] = []
        self.decoded: list[Decoded] = []
        self.may_commit = threading.Event()
        self.refuses = False
        self.decode: Decode = decode
        self.reset()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def reset(self) -> None:
        self.records, self.decoded = [], []
        self.may_commit.set()
        self.refuses = False
        self.decode = decode

    def start(self) -> None:
        self.inbox.start({})
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self.may_commit.set()
        self._thread.join()

    def span_names(self) -> list[str]:
        return [span.name for decoded in self.decoded for span in decoded.spans]

    def _run(self) -> None:
        while not self._stop.is_set():
            records = self.inbox.poll(0.05, 100)
            if not records:
                continue
            self.records.extend(records)
            results = self.decode(records)
            self.decoded.extend(results)
            self.may_commit.wait()
            if self.refuses:
                self.inbox.refuse(records, 3.0)
            else:
                rejected = {
                    record.ticket: result.rejected
                    for record, result in zip(records, results, strict=True)
                    if result.rejected
                }
                self.inbox.acknowledge(records, rejected)


@pytest.fixture(scope="module")
def inbox() -> OtlpInbox:
    return OtlpInbox(SystemClock())


@pytest.fixture(scope="module")
def running_pipeline(inbox: OtlpInbox) -> Iterator[Pipeline]:
    made = Pipeline(inbox)
    made.start()
    yield made
    made.stop()
    inbox.close(0.0)


@pytest.fixture
def pipeline(running_pipeline: Pipeline) -> Pipeline:
    """The running one, as new: a server takes a fifth of a second to stop, so it is shared."""
    running_pipeline.reset()
    return running_pipeline
