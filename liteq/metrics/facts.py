"""The facts that metrics are made of: read from the file, each by an index and a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liteq.utils.records import NamedTuple

__all__ = ["Facts", "LimitFacts", "QueueFacts", "Sum", "WorkerFacts"]


class Sum(NamedTuple):
    """The attempts of a task that had one outcome, since the file was made. `runs`, `waits`: counts by the bounds."""

    task: str
    queue: str
    outcome: str
    exception: str
    n: int
    run_s: float = 0.0
    wait_s: float = 0.0
    runs: Sequence[int] = ()
    waits: Sequence[int] = ()


class QueueFacts(NamedTuple):
    """A queue at this moment; `head_wait_s` 0 where nothing waits."""

    name: str
    pending: int
    held: int
    head_wait_s: float
    paused: bool
    slots: int
    workers: int


class LimitFacts(NamedTuple):
    """A limit that the code declares, at this moment: with a `*` in its key, all keys that fit it together.

    `most`: how many of one key run at once, None for any number; `head_wait_s`: for how long the first that it holds
    has been due.
    """

    key: str
    running: int
    held: int
    most: int | None
    head_wait_s: float
    paused: bool


class WorkerFacts(NamedTuple):
    """A worker at this moment."""

    name: str
    up: bool
    busy: int
    slots: int
    heartbeat_age_s: float


class Facts(NamedTuple):
    """All that a scrape tells. `capped`: the metrics whose numbers were not counted to their end."""

    bounds: Sequence[float]  # upper ends of the histograms' buckets, in seconds, without the infinite one
    sums: Sequence[Sum]
    queues: Sequence[QueueFacts]
    states: Mapping[str, int]
    capped: Sequence[str]
    workers: Sequence[WorkerFacts]
    child_exits: Mapping[tuple[str, str], int]  # by worker and reason
    schedules: Mapping[str, float]  # late by so many seconds
    runs: Mapping[tuple[str, str], int]  # by workflow and state
    steps: Mapping[tuple[str, str], int]  # by workflow and outcome
    memo: Mapping[str, int]
    leases_lost: int
    reaped: int
    write_waits: Sum
    sizes: Mapping[str, int]  # file, wal, free, disk_free
    warnings: int
    versions: tuple[str, str, str]  # liteq, SQLite, driver
    limits: Sequence[LimitFacts] = ()
    counted_to: int = 0  # messages of a kind that were counted at most
    age_s: float = 0.0  # of a copy or a replica
