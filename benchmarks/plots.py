"""The same runs as pictures: PNG for a page, SVG for a closer look. A contestant has one colour in all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.contestants import CONTESTANTS, YARDSTICKS
from benchmarks.report import better_by, number
from benchmarks.results import Point, Results
from benchmarks.scenarios import SCENARIOS

__all__ = ["draw"]

mpl.use("Agg")  # no screen
mpl.rcParams.update(
    {
        "svg.hashsalt": "liteq",  # the same runs, the same file
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.axisbelow": True,
        "axes.edgecolor": "#888888",
        "grid.color": "#e4e4e4",
        "figure.facecolor": "white",
    }
)
DURABILITY = "relaxed"
COLOURS = {
    "liteq": "#c1272d",
    "celery": "#4f9d3a",
    "rq": "#8c6d31",
    "dramatiq": "#7b52ab",
    "huey-redis": "#2166ac",
    "huey-sqlite": "#67a9cf",
    "saq": "#e08214",
    "taskito": "#1b9e9e",
    "ceiling": "#b8bcc2",
    "bare": "#8a8f98",
}
MARKS = {"none": "o", "relaxed": "s", "durable": "D", "strict": "X"}
KEPT = {
    "none": "none: memory alone",
    "relaxed": "relaxed: the last moments may go",
    "durable": "durable: nothing goes",
    "strict": "strict",
}


def draw(results: Results, folder: Path, stem: str, kinds: tuple[str, ...] = ("png", "svg")) -> Iterator[Path]:
    """Every picture that these runs are enough for; the files that were written."""
    pictures: dict[str, tuple[Callable[..., bool], Any]] = {
        "throughput": (_bars, ["drain", "enqueue", "enqueue-many"]),
        "workflows": (_bars, ["chord-1000", "chord-10000", "chain-100", "chain-1000"]),
        "footprint": (_bars, ["idle", "cold-start"]),
        "latency": (_distribution, "latency"),
        "durability": (_durabilities, ["drain", "enqueue"]),
        "backlog": (
            _growth, ("backlog", "rows", {"drain_per_s": "drained tasks/s", "claim_p50_ms": "claim p50, ms"},
                      "tasks queued"),
        ),
        "payload": (
            _growth, ("payload", "size", {"tasks_per_s": "drained tasks/s", "enqueue_per_s": "enqueued calls/s"},
                      "bytes of arguments"),
        ),
    }  # fmt: skip
    for name, (picture, what) in pictures.items():
        if picture(results, what):
            folder.mkdir(parents=True, exist_ok=True)
            for kind in kinds:
                path = folder / f"{stem}-{name}.{kind}"
                plt.savefig(path, bbox_inches="tight", dpi=130, metadata={"Date": None} if kind == "svg" else None)
                yield path
        plt.close("all")


def _colour(contestant: str) -> str:
    if contestant in COLOURS:
        return COLOURS[contestant]
    family = next((name for name in COLOURS if contestant.startswith(name)), "")
    return COLOURS.get(family, "#444444")


def _count(value: float, _: object = None) -> str:
    """10000 -> 10 k, for an axis."""
    for size, letter in ((1_000_000, " M"), (1_000, " k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _log(axis: Axes, which: str) -> None:
    """A logarithmic scale with plain numbers."""
    getattr(axis, f"set_{which}scale")("log")
    scale = getattr(axis, f"{which}axis")
    scale.set_major_formatter(FuncFormatter(_count))
    scale.set_minor_formatter(NullFormatter())


def _bars(results: Results, scenarios: list[str]) -> bool:
    """A panel a scenario, the best on top; the labels say the figure and how much better liteq is."""
    there = [name for name in scenarios if results.contestants(name, DURABILITY)]
    if not there:
        return False
    rows = [len(results.contestants(name, DURABILITY)) for name in there]
    _, panels = plt.subplots(
        len(there), 1, squeeze=False,
        figsize=(8.5, sum(0.33 * n + 1.0 for n in rows)), height_ratios=[n + 1 for n in rows],
    )  # fmt: skip
    for axis, name in zip(panels[:, 0], there, strict=True):
        scenario = SCENARIOS[name]
        found = sorted(
            ((results.value(Point(name, who)).median, who) for who in results.contestants(name, DURABILITY)),
            reverse=not scenario.higher,
        )
        bars = axis.barh([_title(who) for _, who in found], [v for v, _ in found], color=[_colour(w) for _, w in found])
        axis.bar_label(bars, [_words(results, name, who, value) for value, who in found], padding=4, fontsize=8.5)
        scale = _bar_scale(axis, found[0][0], found[-1][0])
        better = "longer is better" if scenario.higher else "shorter is better"
        axis.set_title(f"{scenario.title.split(' (')[0]}   [{scenario.unit}{scale}; {better}]")
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
        for tick in axis.get_yticklabels():
            tick.set_fontweight("bold" if tick.get_text() == "liteq" else "normal")
    plt.tight_layout(h_pad=1.6)
    return True


def _bar_scale(axis: Axes, one: float, other: float) -> str:
    """With room for the labels. Logarithmic, from a whole power of ten on, where the longest is 20 times the shortest;
    what to say of it."""
    low, high = min(one, other), max(one, other)
    if high < 20 * low:
        axis.set_xlim(0, high * 1.25)
        return ""
    _log(axis, "x")
    start = 10 ** math.floor(math.log10(low * 0.8))
    axis.set_xlim(start, high * (high / start) ** 0.24)
    return ", log"


def _title(contestant: str) -> str:
    title = CONTESTANTS[contestant].title
    return f"({title})" if contestant in YARDSTICKS else title


def _words(results: Results, scenario: str, contestant: str, value: float) -> str:
    better = better_by(results, scenario, contestant)
    if better is None:
        return number(value)
    return f"{number(value)}   liteq {number(better) if better >= 1 else f'{better:.2g}'} x"


def _distribution(results: Results, scenario: str) -> bool:
    there = results.contestants(scenario, DURABILITY)
    if not there:
        return False
    _, axis = plt.subplots(figsize=(8.5, 4.8))
    there.sort(key=lambda who: results.value(Point(scenario, who)).median)
    for who in there:
        every = [
            run.figures["percentiles_ms"]
            for run in results.runs
            if (run.contestant, run.scenario, run.durability) == (who, scenario, DURABILITY) and run.figures
        ]
        cuts = [sum(column) / len(column) for column in zip(*every, strict=True)]
        style = "--" if who.endswith("-tuned") else ":" if who.endswith(("-2x1", "rq")) else "-"
        p50 = number(results.value(Point(scenario, who)).median)
        axis.plot(
            cuts, range(1, 100), style, label=f"{_title(who)}: p50 {p50} ms", color=_colour(who),
            linewidth=3 if who == "liteq" else 1.6, zorder=3 if who == "liteq" else 2,
        )  # fmt: skip
    _log(axis, "x")
    axis.set(xlabel="ms from the send to the start of the task (log)", ylabel="percent of the tasks", ylim=(0, 100))
    axis.set_title("Idle latency, relaxed durability: further left is better")
    axis.grid()
    axis.legend(fontsize=8.5, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return True


def _durabilities(results: Results, scenarios: list[str]) -> bool:
    """A row a contestant, a mark a durability."""
    there = [name for name in scenarios if len({run.durability for run in results.runs if run.scenario == name}) > 1]
    if not there:
        return False
    figure, panels = plt.subplots(1, len(there), figsize=(5.2 * len(there), 4.4), squeeze=False, sharey=True)
    who = sorted(
        {name for scenario in there for kind in ("none", "durable") for name in results.contestants(scenario, kind)},
        key=lambda name: list(CONTESTANTS).index(name),
        reverse=True,
    )
    for axis, scenario in zip(panels[0], there, strict=True):
        for kind, mark in MARKS.items():
            points = [
                (results.value(Point(scenario, name, kind)).median, who.index(name), _colour(name))
                for name in results.contestants(scenario, kind)
                if name in who
            ]
            if points:
                x, y, colours = zip(*points, strict=True)
                axis.scatter(x, y, marker=mark, c=colours, s=64, edgecolors="white", zorder=3)
                axis.scatter([], [], marker=mark, c="#555555", label=KEPT[kind])
        _log(axis, "x")
        axis.set_yticks(range(len(who)), [_title(name) for name in who])
        axis.set_title(f"{SCENARIOS[scenario].title.split(',')[0]}   [{SCENARIOS[scenario].unit}, log]")
        axis.grid()
    found = [axis.get_legend_handles_labels() for axis in panels[0]]
    figure.legend(*max(found, key=lambda pair: len(pair[0])), fontsize=8.5, frameon=False, ncols=4, loc="lower center")
    plt.tight_layout(rect=(0, 0.06, 1, 1))
    return True


def _growth(results: Results, what: tuple[str, str, dict[str, str], str]) -> bool:
    measure, size, figures, label = what
    names = [name for name, scenario in SCENARIOS.items() if scenario.measure == measure and size in scenario.sizes]
    panels = {words: _lines(results, names, size, figure) for figure, words in figures.items()}
    panels = {words: lines for words, lines in panels.items() if any(len(points) > 1 for points in lines.values())}
    if not panels:
        return False
    _, axes = plt.subplots(1, len(panels), figsize=(5.4 * len(panels), 4.2), squeeze=False)
    for axis, (words, lines) in zip(axes[0], panels.items(), strict=True):
        for who, points in lines.items():
            wide = 3 if who == "liteq" else 1.6
            axis.plot(*zip(*sorted(points), strict=True), "o-", label=_title(who), color=_colour(who), linewidth=wide)
        _log(axis, "x")
        _log(axis, "y")
        low, high = axis.get_ylim()
        axis.set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
        axis.set(xlabel=f"{label} (log)")
        axis.set_title(f"{words} (log)")
        axis.grid()
    # Of the fullest panel, beside the last.
    handles = max((axis.get_legend_handles_labels() for axis in axes[0]), key=lambda found: len(found[0]))
    axes[0][-1].legend(*handles, fontsize=8.5, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    plt.tight_layout()
    return True


def _lines(results: Results, names: list[str], size: str, figure: str) -> dict[str, list[tuple[int, float]]]:
    """Points by contestant."""
    found: dict[str, list[tuple[int, float]]] = {}
    for name in names:
        for who in results.contestants(name, DURABILITY):
            try:
                value = results.value(Point(name, who, figure=figure)).median
            except LookupError:
                continue
            found.setdefault(who, []).append((SCENARIOS[name].sizes[size], value))
    return found
