"""The scenarios: a measure at a size, the figure that stands for it in the tables, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["SCENARIOS", "Scenario"]


@dataclass(frozen=True)
class Scenario:
    """One table. `group`: scenarios whose figures are set against each other, and so are measured together.

    `reps`: at most so many repetitions, where one takes long. `big`: only when asked for. `about_s`: what a call takes
    as long as nobody has measured it, for the estimate.
    """

    measure: str
    figure: str
    unit: str
    higher: bool
    title: str
    sizes: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    reps: int | None = None
    big: bool = False
    timeout_s: float = 240.0
    about_s: float = 4.0


def _rate(measure: str, title: str, **more: Any) -> Scenario:
    return Scenario(measure, "tasks_per_s", "tasks/s", True, title, **more)


def _payload(size: int, words: str, tasks: int) -> Scenario:
    return _rate("payload", f"Drain, arguments of {words}", sizes={"size": size, "tasks": tasks}, reps=1)


def _cores(n: int) -> Scenario:
    return _rate("cores", f"Drain, all pinned to {n} of the processors", sizes={"cores": n}, group="cores")


def _crowd(n: int, **more: Any) -> Scenario:
    title = f"Drain by {n} workers of one process on one file"
    return _rate("crowd", title, sizes={"workers": n}, group="crowd", reps=1, **more)


def _backlog(rows: int, words: str, **more: Any) -> Scenario:
    title = f"Drain, {words} queued"
    return Scenario("backlog", "drain_per_s", "tasks/s", True, title, {"rows": rows}, group="backlog", **more)


def _chord(members: int, **more: Any) -> Scenario:
    return Scenario("chord", "seconds", "s", False, f"Chord of {members:,}, send to body", {"members": members}, **more)


def _chain(links: int, **more: Any) -> Scenario:
    return Scenario("chain", "ms_per_step", "ms/link", False, f"Chain of {links:,}", {"links": links}, **more)


def _steps(at_once: int, title: str, **sizes: Any) -> Scenario:
    sizes = {"at_once": at_once, **sizes}
    return Scenario("steps", "steps_per_s", "steps/s", True, title, sizes, group="steps")


def _batches(batch: int, title: str) -> Scenario:
    return Scenario("batches", "items_per_s", "items/s", True, title, {"batch": batch}, group="batches")


def _held(rows: int, words: str, **more: Any) -> Scenario:
    title = f"Drain of others, {words} held by a key"
    return Scenario("held", "tasks_per_s", "tasks/s", True, title, {"rows": rows}, group="held", **more)


def _soak(rounds: int, words: str, **more: Any) -> Scenario:
    title = f"Memory after {words} tasks, as a share of that after 100 k"
    return Scenario("soak", "growth", "of the first", False, title, {"rounds": rounds}, reps=1, **more)


def _claimers(connections: int, words: str) -> Scenario:
    title = f"Claims and acknowledgements one by one, by {words}"
    return _rate("claimers", title, sizes={"connections": connections}, group="claimers", reps=1, about_s=15)


def _requests(title: str, **sizes: Any) -> Scenario:
    return _rate("requests", title, sizes=sizes, group="requests", timeout_s=90.0)


SCENARIOS: dict[str, Scenario] = {
    "drain": _rate("drain", "Drain of a queue of no-op tasks, results stored"),
    "enqueue": _rate("enqueue", "Enqueue, one call a task"),
    "enqueue-many": _rate("enqueue_many", "Enqueue, many in a call"),
    "latency": Scenario(
        "latency", "p50_ms", "ms", False, "Idle latency: from the send to the start of the task, p50", about_s=8
    ),
    "roundtrip": Scenario("roundtrip", "p50_ms", "ms", False, "Send and wait for the result, p50"),
    "sleeps": Scenario(
        "sleeps", "share_of_ideal", "of ideal", True, "1,000 tasks of 5 ms sleep (300 where each forks)"
    ),
    "coroutines": Scenario(
        "coroutines",
        "of_ideal",
        "x the ideal",
        False,
        "10,000 coroutines of 100 ms, one process with 1,000 places (ideal: 1 s)",
        about_s=10,
    ),
    "chord-1000": _chord(1_000),
    "chain-100": _chain(100),
    "chord-150": _chord(150),
    "through": _rate("through", "Send one by one while 2 children run, to the end of the last task", about_s=8),
    "senders": _rate("senders", "20 senders in one process and 1 in another, at once", about_s=6),
    "idle": Scenario(
        "idle", "pss_mib", "MiB", False, "Memory of idle workers with 2 children (PSS; server apart)", about_s=8
    ),
    "cold-start": Scenario("cold_start", "seconds", "s", False, "Cold start to the first task", about_s=2),
    "producers": _rate("producers", "64 producers at once, one call a task"),
    "mixed": _rate("mixed", "2 producers and 2 workers at once, 20 % retried, 2 queues, 3 priorities", about_s=8),
    "payload-100": _payload(100, "100 B", 1_000),
    "payload-1k": _payload(1_000, "1 kB", 1_000),
    "payload-10k": _payload(10_000, "10 kB", 1_000),
    "payload-100k": _payload(100_000, "100 kB", 300),
    "payload-1m": _payload(1_000_000, "1 MB", 50),
    "payload-5m": _payload(4_900_000, "5 MB", 20),
    "cores-1": _cores(1),
    "cores-2": _cores(2),
    "cores-4": _cores(4),
    "crowd-1": _crowd(1),
    "crowd-8": _crowd(8),
    "crowd-64": _crowd(64, big=True, about_s=60),
    "backlog-10k": _backlog(10_000, "10 k"),
    "backlog-100k": _backlog(100_000, "100 k", reps=1, about_s=20),
    "backlog-1m": _backlog(1_000_000, "1 M", reps=1, about_s=30, timeout_s=600),
    "backlog-10m": _backlog(10_000_000, "10 M", reps=1, big=True, about_s=300, timeout_s=3_600),
    "chain-1000": _chain(1_000, reps=1, about_s=10),
    "chord-10000": _chord(10_000, group="chords", reps=1, about_s=15),
    "chord-100000": _chord(100_000, group="chords", reps=1, about_s=15),
    "steps-1": _steps(1, "Workflow steps, one run at a time", steps=200),
    "steps-50": _steps(50, "Workflow steps, 50 runs of 10 at once", steps=10),
    "suspensions": Scenario("suspensions", "p50_ms", "ms", False, "Suspension and wake-up of a run, p50"),
    "long-run": Scenario("long_run", "growth", "of early", False, "A run of 10,000 steps: the cost of a late step"),
    "sleeping": Scenario(
        "sleeping",
        "cpu_percent",
        "% of a core",
        False,
        "100,000 sleeping runs: idle CPU",
        reps=1,
        about_s=90,
        timeout_s=900,
    ),
    "batches-1": _batches(1, "Items, each a task of its own"),
    "batches-100": _batches(100, "Items, 100 in a batch"),
    "limited": _rate("limited", "Drain of tasks under a limit by key, with room for all"),
    "held-0": _held(0, "none", about_s=8),
    "held-100k": _held(100_000, "100,000", about_s=30),
    "claimers-4": _claimers(4, "4 connections"),
    "claimers-200": _claimers(200, "200 connections"),
    "requests": _requests("Sends by a program beside, one a request"),
    "requests-many": _requests("Sends by a program beside, 100 a request (SQS: 10)", at_once=100),
    "requests-8": _requests("Sends by 8 connections at once, one a request", senders=8),
    "soak-1m": _soak(10, "1 M", about_s=60, timeout_s=900),
    "soak-10m": _soak(100, "10 M", big=True, about_s=600, timeout_s=7_200),
}
