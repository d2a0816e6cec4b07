"""The same runs as pictures: PNG for a page, SVG for a closer look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.contestants import SCENARIOS
from benchmarks.report import values
from benchmarks.runner import Run

__all__ = ["draw"]

mpl.use("Agg")  # no screen
mpl.rcParams["svg.hashsalt"] = "liteq"  # the same runs, the same file
OURS, THEIRS, YARDSTICK = "#c44e52", "#7f8fa6", "#c9c9c9"
DURABILITY = "relaxed"


def draw(runs: list[Run], folder: Path, stem: str) -> Iterator[Path]:
    """Every picture that these runs are enough for; the files that were written."""
    pictures: dict[str, tuple[Callable[..., bool], Any]] = {
        "throughput": (_bars, ["drain", "enqueue", "enqueue-many"]),
        "workflows": (_bars, ["chord-1000", "chord-10000", "chain-100", "chain-1000"]),
        "latency": (_distribution, "latency"),
        "backlog": (_growth, ("backlog", "rows", ["drain_per_s"], "tasks queued")),
        "payload": (_growth, ("payload", "size", ["tasks_per_s"], "bytes of arguments")),
    }
    for name, (picture, what) in pictures.items():
        if picture(runs, what):
            for kind in ("png", "svg"):
                path = folder / f"{stem}-{name}.{kind}"
                plt.savefig(path, bbox_inches="tight", dpi=110, metadata={"Date": None} if kind == "svg" else None)
                yield path
        plt.close("all")


def _contestants(runs: list[Run], scenario: str) -> list[str]:
    there = (
        run.contestant for run in runs if run.scenario == scenario and run.durability == DURABILITY and run.figures
    )
    return list(dict.fromkeys(there))


def _color(contestant: str) -> str:
    return OURS if contestant == "liteq" else YARDSTICK if contestant in {"ceiling", "bare"} else THEIRS


def _bars(runs: list[Run], scenarios: list[str]) -> bool:
    there = [name for name in scenarios if _contestants(runs, name)]
    if not there:
        return False
    _, axes = plt.subplots(len(there), 1, figsize=(8, 3.2 * len(there)), squeeze=False)
    for axis, name in zip(axes[:, 0], there, strict=True):
        scenario = SCENARIOS[name]
        found = sorted(
            ((values(runs, name, scenario.figure, who, DURABILITY)[0], who) for who in _contestants(runs, name)),
            reverse=not scenario.higher,
        )
        bars = axis.barh([who for _, who in found], [v for v, _ in found], color=[_color(who) for _, who in found])
        axis.bar_label(bars, fmt=lambda v: f"{v:,.3g}" if v < 1000 else f"{v:,.0f}", padding=3, fontsize=8)
        axis.set_xscale("log")
        axis.margins(x=0.15)
        axis.set_title(
            f"{scenario.title} [{scenario.unit}], {'more' if scenario.higher else 'less'} is better", fontsize=10
        )
        axis.spines[["top", "right"]].set_visible(False)
    plt.tight_layout()
    return True


def _distribution(runs: list[Run], scenario: str) -> bool:
    there = _contestants(runs, scenario)
    if not there:
        return False
    _, axis = plt.subplots(figsize=(8, 4.5))
    for who in there:
        every = [
            r.figures["percentiles_ms"] for r in runs if (r.contestant, r.scenario) == (who, scenario) and r.figures
        ]
        cuts = [sum(column) / len(column) for column in zip(*every, strict=True)]
        axis.plot(
            cuts,
            range(1, 100),
            label=who,
            linewidth=2.5 if who == "liteq" else 1.2,
            color=OURS if who == "liteq" else None,
        )
    axis.set(xscale="log", xlabel="ms from the send to the start of the task", ylabel="percent of the tasks")
    axis.set_title("Idle latency, relaxed durability", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return True


def _growth(runs: list[Run], what: tuple[str, str, list[str], str]) -> bool:
    measure, size, figures, label = what
    names = [name for name, scenario in SCENARIOS.items() if scenario.measure == measure and size in scenario.sizes]
    lines: dict[str, list[tuple[int, float]]] = {}
    for name in names:
        for who in _contestants(runs, name):
            point = (SCENARIOS[name].sizes[size], values(runs, name, figures[0], who, DURABILITY)[0])
            lines.setdefault(who, []).append(point)
    if not any(len(points) > 1 for points in lines.values()):
        return False
    _, axis = plt.subplots(figsize=(8, 4))
    for who, points in lines.items():
        axis.plot(*zip(*sorted(points), strict=True), "o-", label=who, color=OURS if who == "liteq" else None)
    axis.set(xscale="log", yscale="log", xlabel=label, ylabel="drained tasks/s")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return True
