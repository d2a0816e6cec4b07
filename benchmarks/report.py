"""The runs as Markdown: a table a scenario, and an overview; versions and durability beside every figure."""

from __future__ import annotations

import re

from benchmarks.contestants import CONTESTANTS
from benchmarks.results import Point, Results
from benchmarks.runner import Run
from benchmarks.scenarios import SCENARIOS, Scenario

__all__ = ["better_by", "label", "markdown", "number", "row"]


def label(results: Results, name: str, durability: str) -> str:
    """`Celery 5.7.0 + Redis 7.0.15, AOF everysec`"""
    contestant = CONTESTANTS[name]
    words = contestant.title
    if contestant.version:
        words = re.sub(r"^[\w-]+", lambda name: f"{name[0]} {contestant.version}", words)
    server = results.about.get("redis", "").rpartition("v=")[2]
    if contestant.redis and server:
        words = words.replace("Redis", f"Redis {server}", 1)
    if contestant.postgresql and (found := re.search(r"\d[\d.]*", results.about.get("postgresql", ""))):
        words = words.replace("PostgreSQL", f"PostgreSQL {found[0]}", 1)
    return f"{words}; {contestant.kept(durability)}"


def better_by(results: Results, scenario: str, contestant: str, durability: str = "relaxed") -> float | None:
    """How much better liteq is, above 1, or worse, below; at the same durability, and relaxed beside a Redis without
    persistence. None where they did not run together."""
    if contestant == "liteq":
        return None
    same = "relaxed" if durability == "none" else durability
    try:
        ratio = results.ratio(Point(scenario, durability=same), Point(scenario, contestant, durability)).median
    except LookupError:
        return None
    return ratio if SCENARIOS[scenario].higher or not ratio else 1 / ratio


def markdown(results: Results) -> str:
    """One table a scenario; then what everything was."""
    parts = ["# Results\n", _machine(results)]
    parts += [_table(results, name) for name in SCENARIOS if any(run.scenario == name for run in results.runs)]
    return "\n".join([*parts, _versions(results)])


def _machine(results: Results) -> str:
    words = ", ".join(f"{key} {value}" for key, value in results.about.get("machine", {}).items())
    calls = "; ".join(
        f"call {n} of the tool: {said['date']}, {said['liteq']}"
        for n, said in sorted(results.about.get("sessions", {}).items(), key=lambda item: int(item[0]))
    )
    servers = " ".join(f"{results.about[one]}." for one in ("redis", "postgresql") if results.about.get(one))
    return f"Machine: {words}. {servers} {calls}\n"


def _table(results: Results, name: str) -> str:
    scenario = SCENARIOS[name]
    runs = [run for run in results.runs if run.scenario == name]
    others = _other_figures(runs, scenario)
    head = ["contestant", "durability", scenario.unit, "liteq is better by", "of the ceiling", *others]
    lines = [f"## {scenario.title}\n", row(head), row(["---"] * len(head))]
    points = {Point(name, run.contestant, run.durability) for run in runs if scenario.figure in run.figures}
    # By name too: what is equal keeps its place from one report to the next.
    points_sorted = sorted(points, key=lambda p: (_order(results, p), p.contestant, p.durability))
    for point in points_sorted:
        value = results.value(point)
        better = better_by(results, name, point.contestant, point.durability)
        cells = [
            label(results, point.contestant, point.durability),
            point.durability,
            f"{number(value.median)} ({number(value.low)} - {number(value.high)})",
            f"{number(better)} x" if better else "",
            _of_ceiling(results, point),
        ]
        lines.append(row([*cells, *(_maybe(results, point, figure) for figure in others)]))
    failed = {(run.contestant, run.durability): run.error for run in runs if run.error}
    for (contestant, durability), error in failed.items():
        said = error.strip().splitlines()[-1][:80].replace("|", "/")
        lines.append(row([label(results, contestant, durability), durability, f"failed: {said}"]))
    absent = sorted({run.contestant for run in runs if run.not_offered})
    if absent:
        lines.append(f"\nNot offered by: {', '.join(absent)}.")
    return "\n".join([*lines, ""])


def _order(results: Results, point: Point) -> float:
    median = results.value(point).median
    return -median if SCENARIOS[point.scenario].higher else median


def _other_figures(runs: list[Run], scenario: Scenario) -> list[str]:
    found: dict[str, None] = {}
    for run in runs:
        found.update((k, None) for k, v in run.figures.items() if isinstance(v, int | float))
    return [figure for figure in found if figure != scenario.figure]


def _of_ceiling(results: Results, point: Point) -> str:
    try:
        return f"{results.ratio(point, Point(point.scenario, 'ceiling')).median:.1%}"
    except LookupError:
        return ""


def _maybe(results: Results, point: Point, figure: str) -> str:
    try:
        return number(results.value(Point(point.scenario, point.contestant, point.durability, figure)).median)
    except LookupError:
        return ""


def _versions(results: Results) -> str:
    head = ["contestant", "name", "set up as", "installed"]
    lines = ["## Who they are\n", row(head), row(["---"] * len(head))]
    lines += [
        row([CONTESTANTS[name].title, f"`{name}`", CONTESTANTS[name].setting, installed])
        for name, installed in results.about.get("versions", {}).items()
        if name in CONTESTANTS
    ]
    return "\n".join([*lines, ""])


def row(cells: list[str]) -> str:
    """Of a table."""
    return "| " + " | ".join(cells) + " |"


def number(value: float) -> str:
    """Three figures, or whole."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
