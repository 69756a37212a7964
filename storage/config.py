"""Settings of the store."""

from pydantic import BaseModel, ConfigDict, Field


class QueryLimits(BaseModel):
    """What one SQL query of a responder may use before it is stopped.

    `timeout_s`: wall clock, process start excluded. `max_rows`: a larger result is refused, not
    cut. `memory_mb`: DuckDB's limit in the child; its address space is bounded 1.25 GiB above.
    `max_result_mb`: bytes of the result as Arrow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_s: float = Field(default=30.0, gt=0, le=3600)
    max_rows: int = Field(default=100_000, gt=0)
    memory_mb: int = Field(default=256, ge=64)
    max_result_mb: int = Field(default=256, gt=0)


class StorageSettings(BaseModel):
    """How the DuckDB file is opened and kept.

    `memory_limit_mb`, `threads`: DuckDB's own. `checkpoint_wal_mb`: write-ahead log size at which
    the writer checkpoints; DuckDB's default of 16 stalls commits for over a second (measured with
    2.0.0). `checkpoint_interval_s`: a log of any size is folded in after so long.
    `queue_size`: writes waiting for the writer before `Busy`. `min_free_mb`: free disk space below
    which commits are refused, because a full disk inside a checkpoint costs a reopen.
    `concurrent_queries`: child processes at once; others wait. `retention_days`: 0 keeps all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_limit_mb: int = Field(default=1024, ge=128)
    threads: int = Field(default=2, ge=1)
    checkpoint_wal_mb: int = Field(default=128, ge=1)
    checkpoint_interval_s: float = Field(default=300.0, gt=0)
    queue_size: int = Field(default=16, ge=1)
    min_free_mb: int = Field(default=64, ge=0)
    concurrent_queries: int = Field(default=2, ge=1)
    retention_days: int = Field(default=0, ge=0)
    query: QueryLimits = QueryLimits()
