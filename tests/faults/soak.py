"""Hours of ordinary work, and a look at what must stay flat: memory, the log, the file, the latency.

    python -m tests.faults.soak --minutes 60
    python -m tests.faults.soak --tasks 1000000 --plot soak.png

Prints one line each interval, and at the end how the last third compares with the one before it; exit code 1 where
memory or the file grew by more than a quarter, the log beyond its limit, or latency doubled. The first third is the
time in which caches fill and results are not old enough to leave.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from .harness import Drill, children_of, wait_for

# The last third against the second. Latency is that of a machine which others may use.
TOLERATED = {"parent": 1.25, "children": 1.25, "file": 1.25, "latency": 2.0}
LOG_MIB = 64.0


class Sample(NamedTuple):
    """One line of the series; sizes in MiB, latency in ms: from the call to the result in the file."""

    at_s: float
    done: int
    parent: float
    children: float
    log: float
    file: float
    latency: float


def rss_mib(pid: int) -> float:
    """The resident memory of a process."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def size_mib(path: str) -> float:
    try:
        return os.stat(path).st_size / 2**20
    except OSError:
        return 0.0


def soak(drill: Drill, minutes: float, tasks: float, interval_s: float) -> list[Sample]:
    """Run a worker under a steady producer for so long, or for so many tasks; the series."""
    drill.settings["LITEQ_RESULT_EXPIRES"] = str(min(30, int(minutes * 10)))
    drill.storage().close()
    worker = drill.worker()
    wait_for(lambda: len(children_of(worker.pid)) == 2, within_s=20)
    storage = drill.storage()
    began = time.monotonic()
    samples: list[Sample] = []
    done = 0
    while time.monotonic() - began < minutes * 60 and done < tasks:
        until = time.monotonic() + interval_s
        latencies = []
        while time.monotonic() < until:
            sent = time.perf_counter()
            ids = [drill.send(storage, "work", n) for n in range(20)]
            wait_for(lambda: all(r.finished_ms for r in storage.reader.find_many(ids).values()), within_s=30)
            latencies.append((time.perf_counter() - sent) * 1000)
            done += len(ids)
        children = sum(rss_mib(pid) for pid in children_of(worker.pid))
        sizes = size_mib(f"{drill.db}-wal"), size_mib(str(drill.db))
        sample = Sample(
            time.monotonic() - began, done, rss_mib(worker.pid), children, *sizes, statistics.median(latencies)
        )
        samples.append(sample)
        print(
            "  ".join(f"{name} {value:9,.1f}" for name, value in zip(Sample._fields, sample, strict=True)), flush=True
        )
    storage.close()
    drill.stop(worker)
    return samples


def verdict(samples: list[Sample]) -> bool:
    """Whether all that must be flat is; prints how much each has grown."""
    third = len(samples) // 3
    flat = True
    for name in ("parent", "children", "log", "file", "latency"):
        before = statistics.median(getattr(s, name) for s in samples[third : 2 * third])
        after = statistics.median(getattr(s, name) for s in samples[2 * third :])
        grown = after / max(before, 0.1)
        good = grown < TOLERATED[name] if name in TOLERATED else after < LOG_MIB
        flat &= good
        print(f"{name:9} {before:9,.1f} -> {after:9,.1f}  ({grown:.2f} x){'' if good else '  NOT FLAT'}")
    return flat


def plot(samples: list[Sample], target: Path) -> None:
    """The series as a picture: memory, sizes, latency over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = {"memory, MiB": ("parent", "children"), "sizes, MiB": ("log", "file"), "latency, ms": ("latency",)}
    figure, axes = plt.subplots(len(panels), sharex=True, figsize=(8, 7), layout="constrained")
    for axis, (label, names) in zip(axes, panels.items(), strict=True):
        for name in names:
            axis.plot([s.at_s / 60 for s in samples], [getattr(s, name) for s in samples], label=name)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.legend(loc="lower right", frameon=False)
    axes[-1].set_xlabel(f"minutes; {samples[-1].done:,} tasks")
    figure.savefig(target, dpi=120)
    print(f"plot: {target}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, help="how long; 60 where no number of tasks is given")
    parser.add_argument("--tasks", type=float, default=float("inf"), help="or how many tasks, whichever ends first")
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between two lines")
    parser.add_argument("--plot", type=Path, default=Path("soak.png"), help="where the picture goes")
    options = parser.parse_args()
    minutes = options.minutes or (60.0 if options.tasks == float("inf") else 24 * 60.0)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        drill = Drill(Path(folder))
        try:
            samples = soak(drill, minutes, options.tasks, options.interval)
        finally:
            drill.close()
    if samples:
        plot(samples, options.plot)
    if len(samples) < 6:
        print("too short to tell whether anything grows: six intervals at least")
        return 1
    return 0 if verdict(samples) else 1


if __name__ == "__main__":
    sys.exit(main())
