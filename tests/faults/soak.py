"""Hours of ordinary work, and a look at what must stay flat: memory, the log, the file, the latency.

    python -m tests.faults.soak --minutes 60

Prints one line each interval, and at the end how the second half compares with the first; exit code 1 where memory grew
by more than a quarter or latency doubled.
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

# The second half against the first. Latency is that of a machine which others may use.
TOLERATED = {"parent": 1.25, "children": 1.25, "latency": 2.0}
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


def soak(drill: Drill, minutes: float, interval_s: float) -> list[Sample]:
    """Run a worker under a steady producer; the series."""
    drill.settings["LITEQ_RESULT_EXPIRES"] = "30"
    drill.storage().close()
    worker = drill.worker()
    wait_for(lambda: len(children_of(worker.pid)) == 2, within_s=20)
    storage = drill.storage()
    began = time.monotonic()
    samples: list[Sample] = []
    done = 0
    while time.monotonic() - began < minutes * 60:
        until = time.monotonic() + interval_s
        latencies = []
        while time.monotonic() < until:
            sent = time.perf_counter()
            ids = [drill.send(storage, "work", n) for n in range(20)]
            wait_for(lambda: all(r.finished_ms for r in storage.find_many(ids).values()), within_s=30)
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
    half = len(samples) // 2
    flat = True
    for name in ("parent", "children", "log", "latency"):
        before = statistics.median(getattr(s, name) for s in samples[:half])
        after = statistics.median(getattr(s, name) for s in samples[half:])
        grown = after / max(before, 0.1)
        flat &= grown < TOLERATED[name] if name in TOLERATED else after < LOG_MIB
        print(f"{name:9} {before:9,.1f} -> {after:9,.1f}  ({grown:.2f} x)")
    return flat


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between two lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        drill = Drill(Path(folder))
        try:
            samples = soak(drill, options.minutes, options.interval)
        finally:
            drill.close()
    return 0 if len(samples) < 2 or verdict(samples) else 1


if __name__ == "__main__":
    sys.exit(main())
