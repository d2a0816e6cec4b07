"""The ratios that must hold on any machine: liteq beside the ceiling and the bare loop, inside one run."""

from __future__ import annotations

from typing import Any

from benchmarks.plan import Block, Call
from benchmarks.results import Point, Results
from benchmarks.runner import take_turns
from benchmarks.scenarios import SCENARIOS
from benchmarks.targets import Met, gated, measured

__all__ = ["broken", "document", "run", "table"]

# Enough for a ratio, small enough for a minute.
SIZES: dict[str, dict[str, Any]] = {
    "drain": {"tasks": 20_000},
    "enqueue": {"seconds": 0.7},
    "enqueue-many": {"tasks": 100_000},
    "latency": {"samples": 120},
    "roundtrip": {"samples": 60},
    "sleeps": {"tasks": 400},
    "idle": {"settle_s": 1.0, "seconds": 2.0},
}


def blocks(reps: int) -> list[Block]:
    """Every figure that a gated row names, its scenario's contestants in turn."""
    calls: dict[str, dict[Call, None]] = {}
    for row in gated():
        for point in (row.of, row.over):
            if isinstance(point, Point):
                call = Call(point.contestant, point.scenario, point.durability)
                calls.setdefault(point.scenario, {})[call] = None
    return [Block(name, rep, tuple(found)) for name, found in calls.items() for rep in range(reps)]


def run(reps: int, *, sizes: dict[str, dict[str, Any]] | None = None) -> list[Met]:
    """Take turns; every gated row with its value. Raises RuntimeError where a run failed."""
    asked = {name: {**SIZES.get(name, {}), **(sizes or {}).get(name, {})} for name in SCENARIOS}
    results = Results()
    for _, runs in take_turns(blocks(reps), sizes=asked):
        for done in runs:
            if done.error:
                raise RuntimeError(f"{done.contestant}, {done.scenario}: {done.error}")
        results.runs += runs
    return [met for _, met in measured(results, gated()) if met is not None]


def broken(rows: list[Met]) -> list[str]:
    """A sentence for each floor that is not held."""
    return [
        f"not held: {name(met)} is {met.value.median:.3f}, the floor is {met.row.sign} {met.row.floor:g}"
        for met in rows
        if met.row.floor is not None and not met.holds(met.row.floor)
    ]


def name(met: Met) -> str:
    """A row in one line: `drain / ceiling`."""
    point = met.row.of
    parts = [point.scenario, point.figure, "" if point.durability == "relaxed" else point.durability]
    over = _over(met)
    return " ".join(part for part in parts if part) + (f" / {over}" if over else "")


def _over(met: Met) -> str:
    """Whom it is beside, and with which other scenario; empty where the figure stands alone."""
    over = met.row.over
    if not isinstance(over, Point) or over.scenario == met.row.of.scenario:
        return met.beside
    return f"{met.beside} {over.scenario}"


def document(rows: list[Met]) -> dict[str, dict[str, Any]]:
    """For JSON: by name of the row."""
    return {
        name(met): {
            "value": met.value.median,
            "spread": [met.value.low, met.value.high],
            "unit": met.row.unit,
            "sign": met.row.sign,
            "floor": met.row.floor,
            "target": met.row.target,
            "of_target": met.of_target,
            "held": met.row.floor is None or met.holds(met.row.floor),
        }
        for met in rows
    }


def table(rows: list[Met]) -> str:
    """For people."""
    lines = [f"{'':<31} {'value':>9} {'spread':>19} {'':>11}  {'floor':>7} {'target':>9}  of target"]
    for met in rows:
        row, value = met.row, met.value
        unit = "" if met.beside else row.unit
        floor = f"{row.sign} {row.floor:>6g}" if row.floor is not None else f"{'-':>9}"
        target = f"{row.target:>9,g}" if row.target is not None else f"{'-':>9}"
        share = f"{met.of_target:.2f}" if met.of_target is not None else "-"
        lines.append(
            f"{name(met):<31} {value.median:>9,.3f} {f'({value.low:,.3f} - {value.high:,.3f})':>19} {unit:>11}"
            f" {floor} {target}  {share}"
        )
    return "\n".join(lines)
