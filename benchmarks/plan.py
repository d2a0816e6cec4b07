"""In which order: blocks of calls that are compared with each other, and so run close in time, in turn.

A block is what an interrupted run repeats: either all of it is there, from one call of the tool, or it is done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.contestants import CONTESTANTS, MAIN
from benchmarks.scenarios import SCENARIOS

__all__ = ["Block", "Call", "beside_celery", "chosen", "everything"]

HTTP = ("liteq", "gateway", "gateway-sqs", "moto", "wsgi", "wsgiref")
VARIANTS = tuple(name for name, one in CONTESTANTS.items() if name not in {*MAIN, *HTTP} and not one.python)
# The tuned and the untuned beside the rest where their setting could matter; every durability where it could.
WITH_VARIANTS = {"drain", "enqueue-many", "latency", "roundtrip", "sleeps"}
WITH_DURABILITIES = {"drain", "enqueue", "enqueue-many", "latency", "requests", "steps-1", "steps-50"}
# A long queue is made by sending it, so only who sends fast is asked to; the ratio of sizes is each one's own.
ONLY: dict[str, tuple[str, ...]] = {
    "coroutines": ("liteq-asyncio", "taskiq-1000", "saq-1000", "arq-1000"),
    "backlog-10k": ("liteq", "liteq-postgresql", "bare", "celery-redis", "huey-redis", "huey-sqlite", "taskito"),
    "backlog-100k": ("liteq", "bare", "huey-redis", "huey-sqlite", "taskito"),
    "backlog-1m": ("liteq", "liteq-postgresql", "bare"),
    "backlog-10m": ("liteq",),
    "chord-150": ("liteq", "celery-redis", "celery-liteq"),
    "chord-100000": ("liteq",),
    "through": ("liteq", "celery-redis", "celery-liteq"),
    "senders": ("celery-liteq", "celery-liteq-gevent"),
    "crowd-1": ("liteq",),
    "crowd-8": ("liteq",),
    "crowd-64": ("liteq",),
    "steps-1": ("liteq", "bare", "celery-redis", "dbos", "dbos-postgresql"),
    "steps-50": ("liteq", "bare", "celery-redis", "dbos", "dbos-postgresql"),
    "suspensions": ("liteq",),
    "long-run": ("liteq",),
    "sleeping": ("liteq",),
    "batches-1": ("liteq", "bare"),
    "batches-100": ("liteq", "bare"),
    "limited": ("liteq",),
    "held-0": ("liteq",),
    "held-100k": ("liteq",),
    "claimers-4": ("liteq-postgresql",),
    "claimers-200": ("liteq-postgresql",),
    "requests": HTTP,
    "requests-many": HTTP,
    "requests-8": HTTP,
    "soak-1m": ("liteq",),
    "soak-10m": ("liteq",),
}
SYNCED = ("relaxed", "durable")
WAITS = ("latency", "idle")  # of these two the disk of a Redis is no part
ON_A_FILE = ("enqueue", "through", "drain", "roundtrip", "latency", "chord-150", "chain-100", "idle")


@dataclass(frozen=True)
class Call:
    """One contestant, one scenario, one durability."""

    contestant: str
    scenario: str
    durability: str


@dataclass(frozen=True)
class Block:
    """Calls that take turns: the `rep`-th repetition of each."""

    name: str
    rep: int
    calls: tuple[Call, ...]


def chosen(peers: Sequence[str], scenarios: Sequence[str], durabilities: Sequence[str], reps: int) -> Iterator[Block]:
    """Every one of `peers` in every one of `scenarios`, in each durability that it has."""
    return _blocks(
        [
            Call(name, scenario, durability)
            for scenario in scenarios
            for name in peers
            for durability in durabilities
            if durability in CONTESTANTS[name].durabilities
        ],
        reps,
    )


def everything(reps: int, *, big: bool = False) -> Iterator[Block]:
    """The runs behind the published tables and pictures. `big`: also those of many minutes and gigabytes."""
    names = (name for name, scenario in SCENARIOS.items() if big or not scenario.big)
    return _blocks([call for name in names for call in _all_calls(name)], reps)


def beside_celery(reps: int) -> Iterator[Block]:
    """Celery on a liteq file beside Celery on Redis, which keeps nothing (its fastest) or waits for the disk."""
    kinds = [("celery-redis", "none"), ("celery-redis", "durable"), *(("celery-liteq", kind) for kind in SYNCED)]
    calls = [
        Call(name, scenario, kind)
        for scenario in ON_A_FILE
        for name, kind in kinds
        if (name, kind) != ("celery-redis", "durable") or scenario not in WAITS
    ]
    calls += [Call(name, "senders", kind) for kind in SYNCED for name in ONLY["senders"]]
    return _blocks(calls, reps)


def _all_calls(scenario: str) -> Iterator[Call]:
    for name in ONLY.get(scenario, MAIN):
        for durability in CONTESTANTS[name].durabilities:
            if durability == "relaxed" or scenario in WITH_DURABILITIES:
                yield Call(name, scenario, durability)
    if scenario in WITH_VARIANTS:
        for name in VARIANTS:
            yield Call(name, scenario, "relaxed")


def _blocks(calls: Iterable[Call], reps: int) -> Iterator[Block]:
    groups: dict[str, list[Call]] = {}
    for call in calls:
        groups.setdefault(SCENARIOS[call.scenario].group or call.scenario, []).append(call)
    for name, together in groups.items():
        for rep in range(reps):
            turn = tuple(c for c in together if rep < (SCENARIOS[c.scenario].reps or reps))
            if turn:
                yield Block(name, rep, turn)
