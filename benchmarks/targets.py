"""The targets of liteq, row by row, and the floors that it must hold: one table for the page and for the gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.contestants import CONTESTANTS, YARDSTICKS
from benchmarks.results import Point, Results, Spread
from benchmarks.scenarios import SCENARIOS

__all__ = ["CELERY_TARGETS", "TARGETS", "Met", "Target", "gated", "measured"]

BEST = "the best peer"


@dataclass(frozen=True)
class Target:
    """A figure of liteq, or its ratio to another figure, and its bound: at least (>=) or at most (<=).

    `floor`: the bound of the gate, where the row can be measured in its minute; far enough from the target that a busy
    machine does not break it. What is a time has none: in the gate it is `shown`, and its floor is on a row of its own,
    beside the bare loop. Without a `target` a row is the gate's alone.
    """

    measure: str
    of: Point
    sign: str
    target: float | None
    unit: str = ""
    over: Point | str | None = None
    floor: float | None = None
    shown: bool = False


@dataclass(frozen=True)
class Met:
    """A row with its value. `beside` names whom a ratio was taken to, and `beside_value` is theirs."""

    row: Target
    value: Spread
    beside: str = ""
    own: float | None = None
    beside_value: float | None = None

    def holds(self, bound: float) -> bool:
        """Whether the median keeps to the bound."""
        return self.value.median >= bound if self.row.sign == ">=" else self.value.median <= bound

    @property
    def of_target(self) -> float | None:
        """How far it is, as a ratio that is 1 or more where the target is met; None where it has none, or is 0."""
        if not self.row.target or not self.value.median:
            return None
        ratio = self.value.median / self.row.target
        return ratio if self.row.sign == ">=" else 1 / ratio


def _beside(scenario: str, contestant: str, durability: str = "relaxed") -> Point:
    return Point(scenario, contestant, durability)


DRAIN, ENQUEUE, MANY = Point("drain"), Point("enqueue"), Point("enqueue-many")
DURABLE = Point("enqueue", durability="durable")
TARGETS: tuple[Target, ...] = (
    Target("drain, no-op tasks", DRAIN, ">=", 35_000, "tasks/s"),
    Target("", DRAIN, ">=", 0.30, "of", _beside("drain", "ceiling"), floor=0.15),
    Target("", DRAIN, ">=", None, "x", _beside("drain", "bare"), floor=0.50),
    Target("", DRAIN, ">=", 30, "x", _beside("drain", "celery-redis")),
    Target("", DRAIN, ">=", 7, "x", BEST),
    Target("enqueue, one a call", ENQUEUE, ">=", 15_000, "calls/s"),
    Target("", ENQUEUE, ">=", 0.60, "of", _beside("enqueue", "bare"), floor=0.20),
    Target("the same, durable", DURABLE, ">=", 0.60, "of", _beside("enqueue", "bare", "durable"), floor=0.15),
    Target("enqueue, many a call", MANY, ">=", 150_000, "tasks/s"),
    Target("", MANY, ">=", None, "of", _beside("enqueue-many", "bare"), floor=0.12),
    Target("idle latency, p50", Point("latency"), "<=", 1.0, "ms", shown=True),
    Target("", Point("latency"), "<=", None, "x", _beside("latency", "bare"), floor=15),
    Target("idle latency, p99", Point("latency", figure="p99_ms"), "<=", 3.0, "ms", shown=True),
    Target("idle CPU", Point("idle", figure="cpu_percent"), "<=", 0.5, "% of a core", floor=2.0),
    Target("delay().get(), p50", Point("roundtrip"), "<=", 1.5, "ms", shown=True),
    Target("", Point("roundtrip"), "<=", None, "x", _beside("roundtrip", "bare"), floor=8),
    Target("1,000 x 5 ms sleep on 2 children", Point("sleeps"), ">=", 0.97, "of ideal", floor=0.60),
    Target("chord of 1,000, send to body", Point("chord-1000"), "<=", 0.15, "s", floor=1.0),
    Target("chord of 100,000: linear", Point("chord-100000"), "<=", 12, "x that of 10,000", Point("chord-10000")),
    Target("chain of 100, a link", Point("chain-100"), "<=", 0.4, "ms", shown=True),
    Target("", Point("chain-100"), "<=", None, "x", _beside("roundtrip", "bare"), floor=8),
    Target("chain of 1,000, a link", Point("chain-1000"), "<=", 0.4, "ms"),
    Target("idle PSS of the whole tree", Point("idle"), "<=", 45, "MiB", floor=70),
    Target("memory after 1 M tasks: flat", Point("soak-1m"), "<=", 1.1, "x that after 100 k"),
    Target("memory after 10 M tasks: flat", Point("soak-10m"), "<=", 1.1, "x that after 100 k"),
    Target("cold start to the first task", Point("cold-start"), "<=", 0.25, "s", shown=True),
    Target("", Point("cold-start"), "<=", None, "x", _beside("cold-start", "bare"), floor=15),
    Target("workflow steps, one run at a time", Point("steps-1"), ">=", None, "steps/s", shown=True),
    Target(
        "", Point("steps-1", figure="step_p50_us"), "<=", 1.43, "x",
        Point("steps-1", "bare", figure="step_p50_us"), floor=6,
    ),
    Target("the same, durable", Point("steps-1", durability="durable"), ">=", 0.70, "of",
           _beside("steps-1", "bare", "durable")),
    Target("workflow steps, 50 runs at once", Point("steps-50"), ">=", 0.70, "of", _beside("steps-50", "bare")),
    Target("the same, durable", Point("steps-50", durability="durable"), ">=", 0.70, "of",
           _beside("steps-50", "bare", "durable")),
    Target("", Point("steps-50", durability="durable"), ">=", 3, "x", _beside("steps-50", "dbos-wal", "durable")),
    Target("suspension and wake-up of a run, p50", Point("suspensions"), "<=", 1.5, "ms", shown=True),
    Target("run of 10,000 steps: flat", Point("long-run"), "<=", 1.1, "x that of early steps"),
    Target("100,000 sleeping runs: idle CPU", Point("sleeping"), "<=", 0.5, "% of a core"),
    Target("", Point("sleeping", figure="late_ms"), "<=", 5, "ms late"),
    Target(
        "", Point("sleeping", figure="claim_p50_ms"), "<=", 1.3, "x a claim without",
        Point("backlog-10k", figure="claim_p50_ms"),
    ),
    *(
        row
        for name, words in (("backlog-1m", "1 M rows"), ("backlog-10m", "10 M rows"))
        for row in (
            Target(
                f"{words} queued: claim p50", Point(name, figure="claim_p50_ms"), "<=", 1.3, "x that with 10 k",
                Point("backlog-10k", figure="claim_p50_ms"),
            ),
            Target(f"{words} queued: drain", Point(name), ">=", 1 / 1.2, "of that with 10 k", Point("backlog-10k")),
        )
    ),
    Target(
        "100,000 held by a key: drain of others", Point("held-100k"), ">=", 0.95, "of that with none", Point("held-0")
    ),
    Target(
        "", Point("held-100k", figure="writes_per_task"), "<=", 1.0, "x the writes with none",
        Point("held-0", figure="writes_per_task"),
    ),
    Target("lost", Point("drain", figure="lost"), "<=", None, "tasks", floor=0),
    Target("executed twice", Point("drain", figure="duplicated"), "<=", None, "tasks", floor=0),
)  # fmt: skip

# Celery on a liteq file; beside it Celery on a Redis that keeps nothing, the fastest that there is, at either level.
ON_REDIS = "celery-redis"


def _on_file(measure: str, scenario: str, sign: str, relaxed: float, durable: float, unit: str) -> tuple[Target, ...]:
    beside = _beside(scenario, ON_REDIS, "none")
    return (
        Target(measure, _beside(scenario, ON_FILE), sign, relaxed, unit, beside),
        Target("the same, durable", _beside(scenario, ON_FILE, "durable"), sign, durable, unit, beside),
    )


ON_FILE = "celery-liteq"
CELERY_TARGETS: tuple[Target, ...] = (
    *_on_file("send, one a call", "enqueue", ">=", 1.2, 0.6, "x"),
    Target("send and run", _beside("through", ON_FILE), ">=", 1.5, "x", _beside("through", ON_REDIS, "none")),
    Target("drain, sent before", _beside("drain", ON_FILE), ">=", 1.5, "x", _beside("drain", ON_REDIS, "none")),
    *_on_file("delay().get(), p50", "roundtrip", "<=", 0.7, 0.7, "x the time of"),
    *_on_file("chord of 150, send to body", "chord-150", "<=", 0.7, 0.7, "x the time of"),
    *_on_file("chain of 100, a link", "chain-100", "<=", 1.1, 1.1, "x the time of"),
    *(
        row
        for kind, more in (("relaxed", ""), ("durable", ", durable"))
        for row in (
            Target(f"idle worker{more}: wake-ups", Point("idle", ON_FILE, kind, "wakes_per_s"), "<=", 2, "a second"),
            Target(f"idle worker{more}: send to start, p50", Point("latency", ON_FILE, kind), "<=", 10, "ms"),
        )
    ),
    *(
        Target(words, Point("senders", "celery-liteq-gevent", kind), ">=", 0.5, "x", Point("senders", ON_FILE, kind))
        for kind, words in (("relaxed", "20 greenlets and a process send"), ("durable", "the same, durable"))
    ),
)


def gated() -> tuple[Target, ...]:
    """The rows that the gate looks at."""
    return tuple(row for row in TARGETS if row.floor is not None or row.shown)


def measured(results: Results, rows: tuple[Target, ...] = TARGETS) -> Iterator[tuple[Target, Met | None]]:
    """Each row with its value; None where these results do not have it."""
    for row in rows:
        try:
            yield row, _measure(results, row)
        except LookupError:
            yield row, None


def _measure(results: Results, row: Target) -> Met:
    if row.over is None:
        return Met(row, results.value(row.of))
    over = _best(results, row.of) if row.over == BEST else row.over
    assert isinstance(over, Point)
    return Met(
        row,
        results.ratio(row.of, over),
        over.scenario if over.contestant == row.of.contestant else CONTESTANTS[over.contestant].title,
        results.value(row.of).median,
        results.value(over).median,
    )


def _best(results: Results, point: Point) -> Point:
    """The figure of the peer that is best at it, tuned or not. Raises LookupError when no peer was measured."""
    peers = [
        Point(point.scenario, name, point.durability, point.figure)
        for name in results.contestants(point.scenario, point.durability)
        if name not in YARDSTICKS and not CONTESTANTS[name].is_liteq
    ]
    if not peers:
        raise LookupError(f"no peer in {point.scenario}")
    pick = max if SCENARIOS[point.scenario].higher else min
    return pick(peers, key=lambda peer: results.value(peer).median)
