"""Medians and ratios of runs, as JSON and as Markdown."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import sys
from pathlib import Path
from typing import Any

import apsw
import orjson

from benchmarks import environments, redis_server
from benchmarks.contestants import CONTESTANTS, SCENARIOS, Scenario
from benchmarks.runner import Run

__all__ = ["about", "load", "markdown", "ratios", "save", "values"]

Spread = tuple[float, tuple[float, float]]  # the median, and the lowest and the highest


def values(runs: list[Run], scenario: str, figure: str, contestant: str, durability: str = "relaxed") -> Spread:
    """A figure over the repetitions. Raises LookupError when there is none."""
    found = [
        run.figures[figure]
        for run in runs
        if (run.contestant, run.scenario, run.durability) == (contestant, scenario, durability)
        and figure in run.figures
    ]
    if not found:
        raise LookupError(f"no {figure} of {contestant} in {scenario}, {durability}")
    return statistics.median(found), (min(found), max(found))


def ratios(
    runs: list[Run], scenario: str, figure: str, one: str, other: str,
    durability: str = "relaxed", other_durability: str | None = None,
) -> Spread:  # fmt: skip
    """`one` / `other`, repetition by repetition of the same call of the tool. Raises LookupError when there is none."""
    by_rep: dict[tuple[str, str, int, int], float] = {
        (run.contestant, run.durability, run.session, run.rep): run.figures[figure]
        for run in runs
        if run.scenario == scenario and figure in run.figures
    }
    found = []
    for (name, kind, session, rep), value in by_rep.items():
        if (name, kind) == (one, durability):
            divisor = by_rep.get((other, other_durability or durability, session, rep))
            if divisor:
                found.append(value / divisor)
    if not found:
        raise LookupError(f"no {figure} of {one} and {other} in {scenario}")
    return statistics.median(found), (min(found), max(found))


# -- files


def save(path: Path, runs: list[Run]) -> None:
    """The runs and what they ran on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = about(path) if path.exists() else {}
    contestants = sorted({run.contestant for run in runs})
    if set(known.get("versions", {})) != set(contestants):
        known = {"machine": machine(), "versions": environments.versions(contestants), "redis": redis_server.version()}
    document = {**known, "runs": [run.document() for run in runs]}
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))


def load(path: Path) -> list[Run]:
    """The runs of a file."""
    return [Run(**run) for run in orjson.loads(path.read_bytes())["runs"]]


def about(path: Path) -> dict[str, Any]:
    """What the runs of a file ran on."""
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    document.pop("runs")
    return document


def machine() -> dict[str, Any]:
    """What of this machine bears on the figures."""
    return {
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count(),
        "sqlite of liteq": apsw.sqlite_lib_version(),
        "sqlite of Python": sqlite3.sqlite_version,
    }


# -- Markdown


def markdown(runs: list[Run], known: dict[str, Any]) -> str:
    """One table a scenario; then what everything was."""
    parts = ["# Results\n", _machine(known), _overview(runs)]
    for name, scenario in SCENARIOS.items():
        if any(run.scenario == name for run in runs):
            parts.append(_table(runs, name, scenario))
    parts.append(_versions(known))
    return "\n".join(parts)


def _machine(known: dict[str, Any]) -> str:
    words = ", ".join(f"{key} {value}" for key, value in known.get("machine", {}).items())
    return f"Machine: {words}. {known.get('redis', '')}\n"


def _overview(runs: list[Run], durability: str = "relaxed") -> str:
    """Every contestant beside every scenario: medians."""
    there = [name for name in SCENARIOS if any(run.scenario == name and run.figures for run in runs)]
    lines = [_row(["relaxed, medians", *(f"{name} {SCENARIOS[name].unit}" for name in there)])]
    lines.append(_row(["---"] * (len(there) + 1)))
    for contestant in CONTESTANTS:
        cells = [_maybe(runs, name, SCENARIOS[name].figure, contestant, durability) or "-" for name in there]
        if set(cells) != {"-"}:
            lines.append(_row([contestant, *cells]))
    return "\n".join([*lines, ""])


def _table(runs: list[Run], name: str, scenario: Scenario) -> str:
    others = _other_figures(runs, name, scenario)
    head = ["contestant", "durability", scenario.unit, "liteq is better by", "of the ceiling", *others]
    lines = [f"## {scenario.title}\n", _row(head), _row(["---"] * len(head))]
    pairs = sorted(
        {(run.contestant, run.durability) for run in runs if run.scenario == name and run.figures},
        key=lambda pair: values(runs, name, scenario.figure, *pair)[0],
        reverse=scenario.higher,
    )
    for contestant, durability in pairs:
        median, (low, high) = values(runs, name, scenario.figure, contestant, durability)
        cells = [contestant, durability, f"{_number(median)} ({_number(low)} - {_number(high)})"]
        cells += [_against_liteq(runs, name, scenario, contestant, durability)]
        cells += [_of_ceiling(runs, name, scenario, contestant, durability)]
        cells += [_maybe(runs, name, figure, contestant, durability) for figure in others]
        lines.append(_row(cells))
    failed = {(r.contestant, r.durability): r.error for r in runs if r.scenario == name and r.error}
    for (contestant, durability), error in failed.items():
        lines.append(_row([contestant, durability, f"failed: {error.strip().splitlines()[-1][:80]}"]))
    absent = sorted({run.contestant for run in runs if run.scenario == name and run.not_offered})
    if absent:
        lines.append(f"\nNot offered by: {', '.join(absent)}.")
    return "\n".join([*lines, ""])


def _other_figures(runs: list[Run], name: str, scenario: Scenario) -> list[str]:
    found: dict[str, None] = {}
    for run in runs:
        if run.scenario == name:
            found.update((k, None) for k, v in run.figures.items() if isinstance(v, int | float))
    return [figure for figure in found if figure != scenario.figure]


def _against_liteq(runs: list[Run], name: str, scenario: Scenario, contestant: str, durability: str) -> str:
    """At the same durability; Redis without persistence stands beside liteq relaxed."""
    if contestant == "liteq":
        return ""
    same = "relaxed" if durability == "none" else durability
    try:
        ratio = ratios(runs, name, scenario.figure, "liteq", contestant, same, durability)[0]
    except LookupError:
        return ""
    return f"{_number(ratio if scenario.higher else 1 / ratio)} x" if ratio else ""


def _of_ceiling(runs: list[Run], name: str, scenario: Scenario, contestant: str, durability: str) -> str:
    try:
        return f"{ratios(runs, name, scenario.figure, contestant, 'ceiling', durability, 'relaxed')[0]:.1%}"
    except LookupError:
        return ""


def _maybe(runs: list[Run], name: str, figure: str, contestant: str, durability: str) -> str:
    try:
        return _number(values(runs, name, figure, contestant, durability)[0])
    except LookupError:
        return ""


def _versions(known: dict[str, Any]) -> str:
    lines = ["## Who they are\n", _row(["contestant", "set up as", "installed"]), _row(["---"] * 3)]
    lines += [
        _row([name, CONTESTANTS[name].setting, installed])
        for name, installed in known.get("versions", {}).items()
        if name in CONTESTANTS
    ]
    return "\n".join([*lines, ""])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
