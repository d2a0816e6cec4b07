"""The benchmark tool, at sizes that say nothing about speed: it measures, counts, compares, goes on, and reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "drain.tasks=200", "latency.samples=5", "chord-1000.members=10", "chain-100.links=5", "steps-1.in_all=40",
    "steps-1.steps=10", "steps-50.in_all=500", "suspensions.turns=5", "long-run.steps=100", "sleeping.runs=20",
    "sleeping.settle_s=0.1", "sleeping.seconds=0.3", "sleeping.samples=2", "batches-1.items=200",
    "batches-100.items=300", "limited.tasks=200", "held-0.tasks=200", "held-100k.tasks=200", "held-100k.rows=300",
    "held-0.written=50", "held-100k.written=50",
]  # fmt: skip


def benchmarks(*args: str, timeout: float = 50) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *args],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def run_small(out: Path, measures: str) -> subprocess.CompletedProcess[str]:
    return benchmarks(
        "run", "--peers", "liteq,ceiling", "--reps", "1", "--out", str(out), "--timeout", "20",
        "--measures", measures, *(f"--set={size}" for size in SMALL),
    )  # fmt: skip


def runs_of(out: Path) -> list[dict]:
    return json.loads((out / "results.json").read_bytes())["runs"]


def test_it_compares_liteq_with_the_ceiling(tmp_path):
    done = run_small(tmp_path, "drain,latency,chord-1000,chain-100")
    assert done.returncode == 0, done.stdout + done.stderr

    runs = runs_of(tmp_path)
    assert [run["error"] for run in runs] == [""] * len(runs)
    liteq = {run["scenario"]: run["figures"] for run in runs if run["contestant"] == "liteq"}
    assert liteq["drain"]["tasks_per_s"] > 0
    assert (liteq["drain"]["lost"], liteq["drain"]["duplicated"]) == (0, 0)
    assert liteq["latency"]["p50_ms"] > 0
    assert (liteq["chord-1000"]["lost"], liteq["chain-100"]["lost"]) == (0, 0)

    table = (tmp_path / "results.md").read_text()
    assert "| liteq; WAL, NORMAL | relaxed |" in table
    assert "Not offered by: ceiling." in table


def test_it_measures_workflows_beside_the_bare_loop(tmp_path):
    done = benchmarks(
        "run", "--peers", "liteq,bare", "--reps", "1", "--out", str(tmp_path), "--timeout", "40",
        "--measures", "steps-1,steps-50,suspensions,long-run,sleeping", *(f"--set={size}" for size in SMALL),
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

    runs = runs_of(tmp_path)
    assert [run["error"] for run in runs] == [""] * len(runs)
    figures = {(run["scenario"], run["contestant"]): run["figures"] for run in runs}
    for contestant in ("liteq", "bare"):
        for scenario in ("steps-1", "steps-50"):
            steps = figures[scenario, contestant]
            assert steps["steps_per_s"] > 0
            assert (steps["lost"], steps["duplicated"]) == (0, 0)
    assert figures["suspensions", "liteq"]["p50_ms"] > 0
    assert figures["long-run", "liteq"]["late_us"] > 0
    assert figures["sleeping", "liteq"]["late_ms"] >= 0


def test_it_measures_batches_and_limits_by_key(tmp_path):
    done = benchmarks(
        "run", "--peers", "liteq,bare", "--reps", "1", "--out", str(tmp_path), "--timeout", "40",
        "--measures", "batches-1,batches-100,limited,held-0,held-100k", *(f"--set={size}" for size in SMALL),
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

    runs = runs_of(tmp_path)
    assert [run["error"] for run in runs] == [""] * len(runs)
    figures = {(run["scenario"], run["contestant"]): run["figures"] for run in runs}
    for contestant in ("liteq", "bare"):
        for scenario in ("batches-1", "batches-100"):
            assert figures[scenario, contestant]["items_per_s"] > 0
            assert (figures[scenario, contestant]["lost"], figures[scenario, contestant]["duplicated"]) == (0, 0)
    empty, held = figures["held-0", "liteq"], figures["held-100k", "liteq"]
    assert figures["limited", "liteq"]["lost"] == empty["lost"] == held["lost"] == 0
    # One write a minute comes by the clock: how far the tokens may have gone (storage/sqlite/tokens.py).
    assert abs(held["writes_per_task"] - empty["writes_per_task"]) * 50 < 1.5
    assert empty["writes_per_task"] > 0


def test_an_interrupted_run_goes_on_with_what_is_missing(tmp_path):
    assert run_small(tmp_path, "drain").returncode == 0
    first = runs_of(tmp_path)

    done = run_small(tmp_path, "drain,chain-100")

    assert "1 of 2 blocks are there" in done.stdout
    again = [run for run in runs_of(tmp_path) if run["scenario"] == "drain"]
    assert again == first
    assert {run["session"] for run in runs_of(tmp_path) if run["scenario"] == "chain-100"} == {2}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "--peers", "nobody"], "'nobody' is none of liteq, liteq-postgresql, ceiling"),
        (["run", "--measures", "speed"], "'speed' is none of drain"),
        (["run", "--set", "drain=3"], "'drain=3' is not SCENARIO.SIZE=NUMBER"),
        (["run", "--set", "drain.tasks=many"], "'drain.tasks=many' is not SCENARIO.SIZE=NUMBER"),
    ],
)
def test_what_it_does_not_know_it_names(arguments, complaint):
    done = benchmarks(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_a_report_of_nothing_says_how_to_get_results(tmp_path):
    done = benchmarks("report", str(tmp_path))
    assert done.returncode == 1
    assert "python -m benchmarks run --out" in done.stderr


def test_the_page_and_the_readme_say_what_the_published_results_say():
    done = benchmarks("report", "--check")
    assert done.returncode == 0, done.stderr


def test_the_reads_of_the_pages_are_measured_on_a_file_of_their_own():
    done = benchmarks("reads", "--rows", "1000")
    assert done.returncode == 0, done.stderr
    named = [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:]]
    assert {"overview", "list dead", "one task", "search task:shop.rare"} <= set(named)
