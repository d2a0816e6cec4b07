"""The benchmark tool's figures: medians, ratios inside one call, targets, floors, tables, plans."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def _importable():
    """The tool is no part of what is installed."""
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


@pytest.fixture
def tool() -> Callable[[str], ModuleType]:
    return lambda name: __import__(f"benchmarks.{name}", fromlist=["_"])


@pytest.fixture
def run(tool):
    return tool("runner").Run


@pytest.fixture
def results(tool, run):
    """Two repetitions of a drain, and one of another call of the tool, on a machine that was twice as fast."""
    made = [
        run("liteq", "relaxed", "drain", rep, {"tasks_per_s": liteq, "lost": 0, "duplicated": 1}, session=session)
        for session, rep, liteq in ((1, 0, 40_000), (1, 1, 50_000), (2, 0, 90_000))
    ]
    made += [run("celery-redis", "relaxed", "drain", rep, {"tasks_per_s": 1_000}) for rep in (0, 1)]
    made += [run("huey-sqlite", "relaxed", "drain", 0, {"tasks_per_s": 10_000})]
    made += [run("liteq", "relaxed", "latency", 0, {"p50_ms": 2.0, "p99_ms": 4.0})]
    made += [run("celery-redis", "relaxed", "latency", 0, {"p50_ms": 5.0, "p99_ms": 6.0})]
    made += [run("huey-redis", "relaxed", "latency", 0, {"p50_ms": 1.0, "p99_ms": 6.0})]
    about = {"redis": "Redis server v=7.0.15", "machine": {"processors": 2}, "versions": {"liteq": "this checkout"}}
    return tool("results").Results(made, about)


def test_a_value_is_the_median_of_its_repetitions_with_the_lowest_and_the_highest(tool, results):
    point = tool("results").Point("drain")
    assert results.value(point) == tool("results").Spread(50_000, 40_000, 90_000)
    with pytest.raises(LookupError):
        results.value(tool("results").Point("drain", "taskito"))


def test_a_ratio_is_taken_only_inside_one_call_of_the_tool(tool, results):
    point = tool("results").Point
    ratio = results.ratio(point("drain"), point("drain", "celery-redis"))
    assert (ratio.low, ratio.median, ratio.high) == (40, 45, 50)  # not 90: nobody was beside that
    with pytest.raises(LookupError):
        results.ratio(point("drain"), point("drain", "saq"))


def test_better_is_above_one_whichever_way_the_figure_goes(tool, results):
    better_by = tool("report").better_by
    assert better_by(results, "drain", "celery-redis") == 45
    assert better_by(results, "latency", "celery-redis") == 2.5
    assert better_by(results, "latency", "huey-redis") == 0.5
    assert better_by(results, "drain", "saq") is None


def test_each_target_stands_under_its_own_measure(tool):
    """A measure whose first target is not shown still has its name in front of the next one."""
    table = tool("pages").targets(tool("results").Results.load(ROOT / "benchmarks/results/reference"))
    rows = [line for line in table.splitlines() if "1.43 x bare loop" in line]
    assert [row.split(" | ")[0] for row in rows] == ["| workflow steps, one run at a time"]


def test_every_target_says_whether_it_is_met(tool, results):
    lines = tool("pages").targets(results).splitlines()
    assert "| drain, no-op tasks | at least 35,000 tasks/s | 50,000 tasks/s (40,000 - 90,000) | 1.43 | met |" in lines
    assert "|  | at least 30 x Celery + Redis | 45 x: 50,000 beside 1,000 (Celery + Redis) | 1.50 | met |" in lines
    assert "|  | at least 7 x the best peer | 4 x: 50,000 beside 10,000 (huey + SQLite) | 0.57 | **not met** |" in lines
    assert "| idle latency, p50 | at most 1 ms | 2 ms | 0.50 | **not met** |" in lines
    assert "| cold start to the first task | at most 0.25 s | not measured |  |  |" in lines


@pytest.fixture
def beside_celery(tool, run):
    """On a file: twice as fast as on a Redis that keeps nothing, and half as fast where it waits for the disk."""
    rates = {("celery-redis", "none"): 1_000, ("celery-liteq", "relaxed"): 2_000, ("celery-liteq", "durable"): 500}
    made = [run(*who, "enqueue", 0, {"tasks_per_s": rate}) for who, rate in rates.items()]
    made += [run(*who, "roundtrip", 0, {"p50_ms": 4_000 / rate}) for who, rate in rates.items()]
    made += [run("celery-liteq", "relaxed", "idle", 0, {"pss_mib": 50.0, "wakes_per_s": 1.5})]
    return tool("results").Results(made, {"redis": "Redis server v=7.0.15"})


def test_celery_on_a_file_has_targets_of_its_own_beside_a_redis_that_keeps_nothing(tool, beside_celery):
    lines = tool("pages").targets(beside_celery, tool("targets").CELERY_TARGETS).splitlines()
    assert (
        "| send, one a call | at least 1.2 x Celery + Redis | 2 x: 2,000 beside 1,000 (Celery + Redis) | 1.67 | met |"
        in lines
    )
    assert (
        "| the same, durable | at least 0.6 x Celery + Redis | 0.5 x: 500 beside 1,000 (Celery + Redis) | 0.83 |"
        " **not met** |"
    ) in lines
    assert "| idle worker: wake-ups | at most 2 a second | 1.5 a second | 1.33 | met |" in lines


def test_celery_on_a_file_is_shown_with_its_ratio_whichever_way_the_figure_goes(tool, beside_celery):
    table = tool("pages").PARTS["celery"](beside_celery)
    assert "a liteq file; WAL, NORMAL** | 2,000 (2 x) | 2 (2 x) | 50 |" in table
    assert "| Celery 5.7.0 + Redis 7.0.15; no persistence | 1,000 | 4 | - |" in table


def test_the_plan_beside_celery_has_what_each_of_its_targets_names(tool):
    calls = {call for block in tool("plan").beside_celery(1) for call in block.calls}
    for row in tool("targets").CELERY_TARGETS:
        for point in (row.of, row.over):
            if point is not None:
                assert tool("plan").Call(point.contestant, point.scenario, point.durability) in calls


def test_an_environment_with_this_checkout_is_made_of_it(tool, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(tool("environments").subprocess, "run", lambda command, **_: asked.append(command))
    (tmp_path / "celery-liteq").mkdir()
    tool("environments").make(tool("contestants").CONTESTANTS["celery-liteq"])
    assert asked[-1][-2:] == ["-e", str(ROOT)]
    made = len(asked)
    tool("environments").make(tool("contestants").CONTESTANTS["celery-liteq"])
    assert len(asked) == made, "it is there"


def test_a_python_that_is_a_name_alone_is_passed_over(tool, tmp_path, monkeypatch):
    """As pyenv has one for each version that is installed, also where another one is chosen."""
    shim = tmp_path / "python3.14"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"python3\.14 is not there"):
        tool("environments").make(tool("contestants").CONTESTANTS["liteq-3.14"])


def test_the_gate_names_the_floors_that_are_not_held(tool, results):
    gate, targets = tool("gate"), tool("targets")
    rows = [met for _, met in targets.measured(results, targets.gated()) if met]
    assert gate.broken(rows) == ["not held: drain duplicated is 1.000, the floor is <= 0"]
    assert gate.document(rows)["latency"]["held"]
    assert gate.document(rows)["latency"]["of_target"] == 0.5


def test_where_liteq_is_behind_is_listed(tool, results):
    listed = tool("pages").fill("<!-- benchmarks:behind -->\n<!-- /benchmarks:behind -->", results)
    assert "huey 3.5.4 + Redis 7.0.15; AOF everysec | 1 ms | 2 ms | 0.50 |" in listed
    assert "Celery" not in listed


def test_only_what_is_between_the_marks_is_replaced(tool, results):
    page = "before\n<!-- benchmarks:targets -->\nold\n<!-- /benchmarks:targets -->\nbehind\n"
    filled = tool("pages").fill(page, results)
    assert filled.startswith("before\n")
    assert filled.endswith("behind\n")
    assert "\nold\n" not in filled
    assert tool("pages").fill(filled, results) == filled


def test_a_block_of_which_a_part_is_missing_is_done_again_as_a_whole(tool, run, results):
    (block,) = tool("plan").chosen(["liteq", "celery-redis"], ["latency"], ["relaxed"], 1)
    assert results.has(block)
    (wider,) = tool("plan").chosen(["liteq", "saq"], ["latency"], ["relaxed"], 1)
    assert not results.has(wider)

    fresh = [run(name, "relaxed", "latency", 0, {"p50_ms": 3.0}, session=3) for name in ("liteq", "saq")]
    results.replace(wider, fresh)

    assert results.has(wider)
    assert results.value(tool("results").Point("latency")).median == 3.0
    assert not results.has(block), "its two halves are of different calls now"


def test_what_is_not_offered_is_not_missing(tool, run):
    results = tool("results").Results([run("ceiling", "relaxed", "latency", 0, not_offered=True)])
    (block,) = tool("plan").chosen(["ceiling"], ["latency"], ["relaxed"], 1)
    assert results.has(block)
    assert results.refused() == {("ceiling", "latency")}


def test_the_whole_plan_has_every_scenario_and_every_contestant_once_a_repetition(tool):
    contestants, scenarios = tool("contestants").CONTESTANTS, tool("scenarios").SCENARIOS
    blocks = list(tool("plan").everything(2, big=True))
    calls = [(call, block.rep) for block in blocks for call in block.calls]
    assert len(calls) == len(set(calls))
    assert {call.scenario for call, _ in calls} == set(scenarios)
    assert {call.contestant for call, _ in calls} == {name for name, one in contestants.items() if not one.python}
    assert {c.durability for c, _ in calls if c.contestant == "celery-redis"} == {"none", "relaxed", "durable"}
    small = {call.scenario for block in tool("plan").everything(1) for call in block.calls}
    assert small == {name for name, scenario in scenarios.items() if not scenario.big}


def test_the_estimate_is_what_it_took_before(tool, run):
    (block,) = tool("plan").chosen(["liteq", "bare"], ["latency"], ["relaxed"], 1)
    earlier = tool("results").Results([run("liteq", "relaxed", "latency", 0, {"p50_ms": 1.0}, took_s=52.0)])
    known = tool("estimate").known([earlier])
    assert tool("estimate").seconds([block], known, set()) == 52 + tool("scenarios").SCENARIOS["latency"].about_s
    assert tool("estimate").seconds([block], known, {("bare", "latency")}) == 52


def test_results_come_back_as_they_were_saved(tool, results, tmp_path):
    results.save(tmp_path)
    assert tool("results").Results.load(tmp_path) == results
    assert tool("results").Results.load(tmp_path / "nothing").runs == []


def test_it_draws_what_the_runs_are_enough_for(tool, results, tmp_path):
    pytest.importorskip("matplotlib")
    results.runs = [run for run in results.runs if run.scenario != "latency"]  # without its percentiles
    drawn = list(tool("plots").draw(results, tmp_path, "plot", ("svg",)))
    assert [path.name for path in drawn] == ["plot-throughput.svg"]
    assert drawn[0].read_text().startswith("<?xml")


def test_a_contestant_that_asks_for_no_server_has_none(monkeypatch, tool):
    """DBOS on a file looked for a server of the machine, because an address stood where none was given."""
    monkeypatch.delenv("BENCH_POSTGRESQL", raising=False)
    assert importlib.reload(tool("peers.surroundings")).POSTGRESQL == ""


def test_the_memory_of_a_process_that_has_ended_is_none(tool):
    processes = tool("processes")
    assert processes.pss_mib([os.getpid(), 2**22 + 1]) > 1
