"""The generated parts of the page about speed: every figure there comes from the results, none is typed.

A part stands between `<!-- benchmarks:NAME -->` and `<!-- /benchmarks:NAME -->`; what is between them is replaced.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contestants import CONTESTANTS, MAIN, YARDSTICKS
from benchmarks.report import better_by, label, number, row
from benchmarks.results import Point, Results
from benchmarks.scenarios import SCENARIOS
from benchmarks.targets import CELERY_TARGETS, TARGETS, Met, Target, measured

__all__ = ["CELERY", "IMAGES", "PAGES", "fill", "stale", "targets", "write"]

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "docs/explanation/performance.md", ROOT / "README.md")
CELERY = ROOT / "benchmarks/results/celery"  # the results of `run --celery`, a call of the tool of its own
IMAGES = ROOT / "docs/explanation/images"
WIDTH = 118
Better = Callable[[Results, str, str, str], float | None]
PART = re.compile(r"(<!-- benchmarks:([\w-]+) -->\n).*?(<!-- /benchmarks:\2 -->)", re.DOTALL)
COLUMNS = {
    "drain": "drain, tasks/s",
    "enqueue": "enqueue, calls/s",
    "latency": "idle latency p50, ms",
    "roundtrip": "send and wait p50, ms",
    "chord-1000": "chord of 1,000, s",
    "chain-100": "chain, ms a link",
    "sleeps": "5 ms sleeps, share of ideal",
    "idle": "idle PSS, MiB",
    "cold-start": "cold start, s",
}
MORE = {
    "enqueue-many": "enqueue many, tasks/s",
    "producers": "64 producers, calls/s",
    "mixed": "mixed load, tasks/s",
    "chain-1000": "chain of 1,000, ms a link",
    "chord-10000": "chord of 10,000, s",
}
LARGE = {f"payload-{size}": f"{words}, tasks/s" for size, words in
         (("100", "100 B"), ("1k", "1 kB"), ("10k", "10 kB"), ("100k", "100 kB"), ("1m", "1 MB"))}  # fmt: skip
LONG = {f"backlog-{size}": f"{size.replace('k', ' k').replace('1m', '1 M').replace('10m', '10 M')} queued, tasks/s"
        for size in ("10k", "100k", "1m", "10m")}  # fmt: skip
ITEMS = {"batches-1": "one by one, items/s", "batches-100": "100 in a batch, items/s"}
KEYED = {
    "limited": "under a limit with room, tasks/s",
    "held-0": "none held, tasks/s",
    "held-100k": "100,000 held by a key, tasks/s",
}
ON_A_FILE = {
    "enqueue": "send, calls/s",
    "through": "send and run, tasks/s",
    "drain": "drain, tasks/s",
    "roundtrip": "send and wait p50, ms",
    "latency": "idle latency p50, ms",
    "chord-150": "chord of 150, s",
    "chain-100": "chain, ms a link",
    "idle": "idle PSS, MiB",
}
SYNCED = {name: COLUMNS[name] for name in ("drain", "enqueue", "latency")}
NO_YARDSTICKS = tuple(name for name in CONTESTANTS if name not in YARDSTICKS)
TUNED = {name: COLUMNS[name] for name in ("drain", "latency", "roundtrip", "sleeps")}


def targets(results: Results, rows: tuple[Target, ...] = TARGETS) -> str:
    """The table of the targets."""
    lines = [row(["measure", "target", "measured", "of target", ""]), row(["---"] * 5)]
    measure = said = ""
    for target, met in measured(results, rows):
        measure = target.measure or measure
        if target.target is None:
            continue
        name, said = "" if measure == said else measure, measure
        if met is None:
            lines.append(row([name, _bound(target), "not measured", "", ""]))
            continue
        share = f"{met.of_target:.2f}" if met.of_target is not None else ""
        verdict = "met" if met.holds(target.target) else "**not met**"
        lines.append(row([name, _bound(target), _value(met), share, verdict]))
    return "\n".join(lines)


def _bound(target: Target) -> str:
    words = "at least" if target.sign == ">=" else "at most"
    assert target.target is not None
    return f"{words} {_amount(target, target.target)}{_beside(target)}"


def _beside(target: Target) -> str:
    """Whom it is compared with; where that is liteq itself, the unit says it."""
    if isinstance(target.over, Point):
        return "" if target.over.contestant == "liteq" else f" {CONTESTANTS[target.over.contestant].title}"
    return f" {target.over}" if target.over else ""


def _amount(target: Target, value: float) -> str:
    if target.unit.startswith("of"):
        return f"{value:.0%} {target.unit}".strip()
    return f"{number(value)} {target.unit}".strip()


def _value(met: Met) -> str:
    spread = f" ({number(met.value.low)} - {number(met.value.high)})" if met.value.low != met.value.high else ""
    if met.own is None or met.beside_value is None:
        return f"{_amount(met.row, met.value.median)}{spread}"
    ratio = f"{met.value.median:.0%}" if met.row.unit.startswith("of") else f"{number(met.value.median)} x"
    return f"{ratio}: {number(met.own)} beside {number(met.beside_value)} ({met.beside})"


def _overview(results: Results, columns: dict[str, str], who: list[tuple[str, str]], better: Better = better_by) -> str:
    """Contestants beside columns, with how much better liteq is in brackets, or what `better` says."""
    columns = {name: words for name, words in columns.items() if any(r.scenario == name for r in results.runs)}
    if not columns:
        return "Not measured yet."
    lines = [row(["", *columns.values()]), row(["---"] * (len(columns) + 1))]
    for contestant, durability in who:
        cells = [_cell(results, name, contestant, durability, better) for name in columns]
        if any(cell != "-" for cell in cells):
            title = label(results, contestant, durability)
            mark = "**" if contestant in {"liteq", "celery-liteq"} else "*" if contestant in YARDSTICKS else ""
            lines.append(row([f"{mark}{title}{mark}", *cells]))
    return "\n".join(lines)


def _cell(results: Results, name: str, contestant: str, durability: str, better_than: Better) -> str:
    point = Point(name, contestant, durability)
    try:
        value = results.value(point)
    except LookupError:
        return "-"
    words = number(value.median)
    if name == "idle":
        words += _server_memory(results, point)
    better = better_than(results, name, contestant, durability)
    if better is None or name == "sleeps":  # of its own ideal: no ratio to another's
        return words
    return f"{words} ({number(better)} x)"


def _server_memory(results: Results, point: Point) -> str:
    try:
        server = results.value(Point("idle", point.contestant, point.durability, "server_pss_mib"))
    except LookupError:
        return ""
    return f" + {number(server.median)}"


def _relaxed(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, "relaxed") for name in names]


def _synced(results: Results) -> list[tuple[str, str]]:
    return [
        (name, kind)
        for kind in ("none", "durable", "strict")
        for name in (("liteq",) if kind == "strict" else MAIN)
        if kind in CONTESTANTS[name].durabilities
    ]


def _on_a_file(results: Results) -> str:
    """Celery on a liteq file and on Redis, with how much better each is than Celery on a Redis that keeps nothing."""
    who = [(name, kind) for name in ("celery-liteq", "celery-redis") for kind in ("none", "relaxed", "durable")]
    return _overview(results, ON_A_FILE, who, _than_redis)


def _than_redis(results: Results, scenario: str, contestant: str, durability: str) -> float | None:
    redis, own = Point(scenario, "celery-redis", "none"), Point(scenario, contestant, durability)
    try:
        ratio = results.ratio(own, redis) if SCENARIOS[scenario].higher else results.ratio(redis, own)
    except LookupError:
        return None
    return None if own == redis else ratio.median


def _behind(results: Results) -> str:
    """Where a contestant is ahead of liteq, relaxed."""
    lines = [row(["measure", "ahead of liteq", "theirs", "liteq's", "liteq / theirs"]), row(["---"] * 5)]
    for name, scenario in SCENARIOS.items():
        for contestant in results.contestants(name):
            better = better_by(results, name, contestant)
            if better is None or better >= 1 or contestant == "ceiling" or name == "sleeps":
                continue
            theirs, ours = results.value(Point(name, contestant)), results.value(Point(name))
            cells = [f"{number(theirs.median)} {scenario.unit}", f"{number(ours.median)} {scenario.unit}"]
            lines.append(row([scenario.title, label(results, contestant, "relaxed"), *cells, f"{better:.2f}"]))
    return "\n".join(lines)


def _machine(results: Results) -> str:
    about = results.about
    machine = about.get("machine", {})
    reps = 1 + max((run.rep for run in results.runs), default=0)
    runs, lost, twice = results.executions()
    redis = about.get("redis", "").rpartition("v=")[2]
    peers = _count_peers(results)
    words = (
        f"{machine.get('processors')} processors, {_system(machine)}, Python {machine.get('python')}, SQLite "
        f"{machine.get('sqlite of liteq')} (liteq), Redis {redis}. {_commits(results)}{reps} repetitions, fewer "
        f"of what takes long; those of a drain differed by up to {_noise(results):.0%} of their median, so a factor "
        f"smaller than that is not shown. In {runs} runs of liteq in which the executions were counted {lost} tasks "
        f"were lost and {twice} run twice; of the peers: {peers}."
    )
    return textwrap.fill(words, WIDTH)


def _system(machine: dict[str, Any]) -> str:
    """The system without what its distributor appends to the kernel's version: `Linux 6.18 x86_64`."""
    return re.sub(r"(\d+\.\d+)\S*", r"\1", str(machine.get("system")), count=1)


def _commits(results: Results) -> str:
    """The commits at which liteq was measured, the one of most measures first, and what was measured at the others."""
    measured: dict[str, set[str]] = {}
    for run in results.runs:
        said = results.about.get("sessions", {}).get(str(run.session))
        if said:
            commit = f"{said['liteq'].removeprefix('this checkout, ')} ({said['date']})"
            measured.setdefault(commit, set()).add(run.scenario)
    first, *others = sorted(measured, key=lambda commit: -len(measured[commit])) or [""]
    words = [f"at {one}: {', '.join(f'`{name}`' for name in sorted(measured[one]))}" for one in others]
    return f"liteq is of commit {first}{''.join(f'; {one}' for one in words)}. " if first else ""


def _machine_of_celery(results: Results) -> str:
    if not results.runs:
        return "Not measured yet."
    machine, sessions = results.about["machine"], list(results.about["sessions"].values())
    commits = dict.fromkeys(said["liteq"].removeprefix("this checkout, ") for said in sessions)
    runs, lost, twice = results.executions("celery-liteq")
    words = (
        f"{machine['processors']} processors, {_system(machine)}, Python {machine['python']}, Redis "
        f"{results.about.get('redis', '').rpartition('v=')[2]}; liteq of commit {' and '.join(commits)}, on "
        f"{sessions[-1]['date']}; {1 + max(run.rep for run in results.runs)} repetitions. In {runs} runs on a file in "
        f"which the executions were counted {lost} tasks were lost and {twice} run twice."
    )
    return textwrap.fill(words, WIDTH)


def _noise(results: Results, scenario: str = "drain") -> float:
    """The widest spread of anybody's repetitions, as a share of their median."""
    found = [results.value(Point(scenario, name)) for name in results.contestants(scenario)]
    return max(((value.high - value.low) / value.median for value in found), default=0.0)


def _summary(results: Results) -> str:
    """The few figures that stand for all, relaxed."""
    celery = {name: results.value(Point(name, "celery-redis")).median for name in ("chord-1000", "latency")}
    own = {name: results.value(Point(name)).median for name in celery}
    drained = better_by(results, "drain", "celery-redis") or 0.0
    words = (
        f"Measured beside its peers in one run on a machine of {results.about['machine']['processors']} cores, relaxed "
        f"durability, results stored: it drained {number(round(drained))} times as many no-op tasks a second as Celery "
        f"on Redis, took a chord of 1,000 through in {own['chord-1000']:.2f} s (Celery: {celery['chord-1000']:.1f} s), "
        f"and began a task {own['latency']:.1f} ms after it was sent to an idle worker ({celery['latency']:.1f} ms)."
    )
    return textwrap.fill(words, WIDTH)


def _count_peers(results: Results) -> str:
    found = []
    for name in CONTESTANTS:
        runs, lost, twice = results.executions(name)
        if runs and (lost or twice) and name != "liteq":
            found.append(f"{CONTESTANTS[name].title} {lost} and {twice} in {runs} runs")
    return "; ".join(found) or "none and none"


PARTS: dict[str, Callable[[Results], str]] = {
    "machine": _machine,
    "targets": targets,
    "peers": lambda results: _overview(results, COLUMNS, _relaxed(MAIN)),
    "more": lambda results: _overview(results, MORE, _relaxed(MAIN)),
    "payload": lambda results: _overview(results, LARGE, _relaxed(MAIN)),
    "backlog": lambda results: _overview(results, LONG, _relaxed(MAIN)),
    "batches": lambda results: _overview(results, ITEMS, _relaxed(MAIN)),
    "limits": lambda results: _overview(results, KEYED, _relaxed(MAIN)),
    "durability": lambda results: _overview(results, SYNCED, _synced(results)),
    "tuned": lambda results: _overview(results, TUNED, _relaxed(NO_YARDSTICKS)),
    "celery": _on_a_file,
    "celery-targets": lambda results: targets(results, CELERY_TARGETS),
    "celery-machine": _machine_of_celery,
    "behind": _behind,
    "summary": _summary,
}


def fill(text: str, results: Results) -> str:
    """`text` with each of its parts made anew. Raises KeyError for a part that nobody makes."""
    beside_celery = Results.load(CELERY)

    def made(found: re.Match[str]) -> str:
        of = beside_celery if found[2].startswith("celery") else results
        return f"{found[1]}{PARTS[found[2]](of)}\n{found[3]}"

    return PART.sub(made, text)


def stale(results: Results) -> list[Path]:
    """The pages that say something else than the results."""
    return [page for page in PAGES if fill(page.read_text(), results) != page.read_text()]


def write(results: Results) -> list[Path]:
    """Fill every page; those that changed."""
    changed = stale(results)
    for page in changed:
        page.write_text(fill(page.read_text(), results))
    return changed
