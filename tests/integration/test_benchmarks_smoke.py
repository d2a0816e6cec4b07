"""The benchmark tool, at sizes that say nothing about speed: that it measures, counts, compares and reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def benchmarks(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *args],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_it_compares_liteq_with_the_ceiling(tmp_path):
    out = tmp_path / "smoke.json"
    sizes = ["drain.tasks=200", "latency.samples=5", "chord-1000.members=10", "chain-100.links=5"]
    done = benchmarks(
        "run", "--peers", "liteq,ceiling", "--reps", "1", "--out", str(out), "--timeout", "20",
        "--measures", "drain,latency,chord-1000,chain-100", *(f"--set={size}" for size in sizes),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

    runs = json.loads(out.read_bytes())["runs"]
    assert [run["error"] for run in runs] == [""] * len(runs)
    liteq = {run["scenario"]: run["figures"] for run in runs if run["contestant"] == "liteq"}
    assert liteq["drain"]["tasks_per_s"] > 0
    assert (liteq["drain"]["lost"], liteq["drain"]["duplicated"]) == (0, 0)
    assert liteq["latency"]["p50_ms"] > 0
    assert (liteq["chord-1000"]["lost"], liteq["chain-100"]["lost"]) == (0, 0)

    table = out.with_suffix(".md").read_text()
    assert "| liteq | relaxed |" in table
    assert "Not offered by: ceiling." in table


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "--peers", "nobody"], "'nobody' is none of liteq, ceiling"),
        (["run", "--measures", "speed"], "'speed' is none of drain"),
        (["run", "--set", "drain=3"], "'drain=3' is not SCENARIO.SIZE=NUMBER"),
    ],
)
def test_what_it_does_not_know_it_names(arguments, complaint):
    done = benchmarks(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
