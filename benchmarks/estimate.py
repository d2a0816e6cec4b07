"""How long a run will take: what each call took before, here or in the published results, else its scenario's guess."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from benchmarks.plan import Block, Call
from benchmarks.results import Results
from benchmarks.scenarios import SCENARIOS

__all__ = ["known", "seconds", "words"]


def known(earlier: Iterable[Results]) -> dict[Call, float]:
    """Seconds by call; of later results where several have it."""
    found: dict[Call, float] = {}
    for results in earlier:
        took: dict[Call, list[float]] = {}
        for run in results.runs:
            if run.took_s:
                took.setdefault(Call(run.contestant, run.scenario, run.durability), []).append(run.took_s)
        found.update((call, statistics.median(seconds)) for call, seconds in took.items())
    return found


def seconds(blocks: Iterable[Block], took: dict[Call, float], refused: set[tuple[str, str]]) -> float:
    """Of all that is not refused."""
    return sum(
        took.get(call, SCENARIOS[call.scenario].about_s)
        for block in blocks
        for call in block.calls
        if (call.contestant, call.scenario) not in refused
    )


def words(blocks: list[Block], took: dict[Call, float], refused: set[tuple[str, str]]) -> str:
    """For people."""
    calls = sum(len(block.calls) for block in blocks)
    return f"{calls} calls are to do, about {seconds(blocks, took, refused) / 60:.0f} minutes"
