"""Every error Telltale raises on purpose, split by what the caller must do.

TelltaleError
+-- RetryableError          try the same thing again, later
|   +-- Busy                a bounded queue is full; carries how long to wait
|   +-- SourceUnavailable   a broker or peer cannot be reached
|   +-- StoreUnavailable    the store must be reopened; the outcome of the last commit is unknown
+-- PermanentError          never retry unchanged
    +-- BadPayload          bytes that cannot be decoded; becomes a dead letter
    +-- ConfigError         names the key at fault
    +-- DataFolderInUse     another process owns the data folder
    +-- OutputError         a file or folder that was asked for cannot be written
    +-- QueryRefused        SQL that is not a single read-only SELECT over the views
    +-- BadCondition        a --where condition that does not parse or names an unknown column
    +-- RuleError           a rule file that does not load or whose own cases fail
    +-- BaselineError       an artefact that is corrupt, foreign, unknown or not fit for its use
"""


class TelltaleError(Exception):
    """Base of all errors raised on purpose; the message is fit to show to an operator."""


class RetryableError(TelltaleError):
    """The same call may succeed later."""


class PermanentError(TelltaleError):
    """The same call will fail again."""


class Busy(RetryableError):
    """A bounded queue is full. `retry_after_s`: seconds to wait before trying again."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceUnavailable(RetryableError):
    """A broker or peer cannot be reached now."""


class StoreUnavailable(RetryableError):
    """The database raised a fatal error; reopen, read the ledger, seek. Outcome of the commit
    unknown.
    """


class BadPayload(PermanentError):
    """Bytes that are not what they claim to be. `reason`: of `contracts.record.REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConfigError(PermanentError):
    """A setting is unknown or wrong. `key`: its dotted name as the user writes it."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}" if key else message)
        self.key = key


class DataFolderInUse(PermanentError):
    """Another process owns the data folder."""


class OutputError(PermanentError):
    """A file or folder that was asked for cannot be written. `path`: it, `reason`: why."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path} cannot be written: {reason}")


class QueryRefused(PermanentError):
    """SQL that is not one read-only SELECT over the public views, or that ran past its limits."""


class BadCondition(PermanentError):
    """A `--where` condition that does not parse or names an unknown column."""


class RuleError(PermanentError):
    """A rule file that does not load, or whose own cases fail."""


class BaselineError(PermanentError):
    """A baseline that is missing, corrupt, foreign, tampered with, or unfit for this use."""
