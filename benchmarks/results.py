"""The runs as a file, and the statistics over them: medians, spreads, and ratios inside one run."""

from __future__ import annotations

import datetime as dt
import os
import platform
import sqlite3
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import orjson

from benchmarks import environments, postgresql_server, redis_server
from benchmarks.contestants import CONTESTANTS
from benchmarks.plan import Block
from benchmarks.runner import Run
from benchmarks.scenarios import SCENARIOS

__all__ = ["Point", "Results", "Spread"]

FILE = "results.json"


@dataclass(frozen=True)
class Spread:
    """The median of the repetitions, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, found: list[float], what: object) -> Spread:
        """Raises LookupError where nothing was found."""
        if not found:
            raise LookupError(f"no {what}")
        return cls(statistics.median(found), min(found), max(found))


@dataclass(frozen=True)
class Point:
    """A figure of a contestant. Without `figure`: the one that stands for the scenario."""

    scenario: str
    contestant: str = "liteq"
    durability: str = "relaxed"
    figure: str = ""

    @property
    def name(self) -> str:
        """The figure."""
        return self.figure or SCENARIOS[self.scenario].figure


@dataclass
class Results:
    """The figures of a run, and the machine it ran on."""

    runs: list[Run] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    # -- statistics

    def by_turn(self, point: Point) -> dict[tuple[int, int], float]:
        """The figure by (call of the tool, repetition)."""
        return {
            (run.session, run.rep): float(run.figures[point.name])
            for run in self.runs
            if (run.contestant, run.scenario, run.durability) == (point.contestant, point.scenario, point.durability)
            and point.name in run.figures
        }

    def value(self, point: Point) -> Spread:
        """Over all repetitions. Raises LookupError when there is none."""
        return Spread.of(list(self.by_turn(point).values()), point)

    def ratio(self, one: Point, other: Point) -> Spread:
        """`one` / `other`, repetition by repetition of the same call of the tool. Raises LookupError when there is
        none of both."""
        divisors = self.by_turn(other)
        found = [value / divisors[turn] for turn, value in self.by_turn(one).items() if divisors.get(turn)]
        return Spread.of(found, (one, other))

    def contestants(self, scenario: str, durability: str = "relaxed") -> list[str]:
        """The contestants that have figures, in their order."""
        there = {r.contestant for r in self.runs if (r.scenario, r.durability) == (scenario, durability) and r.figures}
        return [name for name in CONTESTANTS if name in there]

    def executions(self, contestant: str = "liteq") -> tuple[int, int, int]:
        """In how many runs of a contestant the executions were counted, and how many tasks of them were lost, and run
        twice."""
        counted = [run.figures for run in self.runs if run.contestant == contestant and "lost" in run.figures]
        return len(counted), sum(f["lost"] for f in counted), sum(f["duplicated"] for f in counted)

    # -- what is there already

    def has(self, block: Block) -> bool:
        """Whether all calls of the block were made, by one call of the tool; what was not offered counts as made."""
        refused = {(run.contestant, run.scenario) for run in self.runs if run.not_offered}
        sessions = set()
        for call in block.calls:
            if (call.contestant, call.scenario) in refused:
                continue
            made = [run.session for run in self.runs if _key(run) == (*_names(call), block.rep)]
            if not made:
                return False
            sessions.add(made[-1])
        return len(sessions) <= 1

    def replace(self, block: Block, runs: Iterable[Run]) -> None:
        """Put the runs of a block in the place of what there was of it."""
        old = {(*_names(call), block.rep) for call in block.calls}
        self.runs = [run for run in self.runs if _key(run) not in old or run.not_offered] + list(runs)

    def refused(self) -> set[tuple[str, str]]:
        """The (contestant, scenario) pairs that are not offered."""
        return {(run.contestant, run.scenario) for run in self.runs if run.not_offered}

    # -- files

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Of a folder; empty where it has none."""
        path = folder / FILE
        if not path.exists():
            return cls()
        document = orjson.loads(path.read_bytes())
        return cls([Run(**run) for run in document.pop("runs")], document)

    def save(self, folder: Path) -> None:
        """As a whole, through a second file: who is interrupted here keeps the old one."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {**self.about, "runs": [run.document() for run in self.runs]}
        fresh = folder / f"{FILE}.new"
        fresh.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
        fresh.replace(folder / FILE)

    def begin(self, peers: list[str]) -> int:
        """Note what this call of the tool runs on, and with; its number."""
        session = 1 + max((run.session for run in self.runs), default=0)
        sessions = self.about.setdefault("sessions", {})
        sessions[str(session)] = {
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
            "liteq": environments.checkout(),
        }
        versions = {**self.about.get("versions", {}), **environments.versions(peers)}
        servers = {"redis": redis_server.version(), "postgresql": postgresql_server.version()}
        self.about.update(machine=machine(), versions=versions, **servers)
        return session


def _names(call: Any) -> tuple[str, str, str]:
    return call.contestant, call.scenario, call.durability


def _key(run: Run) -> tuple[str, str, str, int]:
    return (*_names(run), run.rep)


def machine() -> dict[str, Any]:
    """The facts of this machine that bear on the figures."""
    return {
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count(),
        "sqlite of liteq": apsw.sqlite_lib_version(),
        "sqlite of Python": sqlite3.sqlite_version,
    }
