"""Runs of real workers, as an operator sees and steers them: signals, the command line, a deploy that does not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .engines import on_both_engines
from .worker_process import Site, wait_for

HERE = Path(__file__).resolve().parent


@pytest.fixture
def site(tmp_path: Path, broker: str) -> Iterator[Site]:
    site = Site(tmp_path, app="operated_runs", broker=broker)
    yield site
    site.close()


def start(site: Site, flow: str, id_: str) -> Any:
    """Send it by its name alone: it is a run once a worker that knows the workflow has taken it."""
    site.app.send_task(f"operated_runs.{flow}", task_id=id_)
    wait_for(lambda: site.app.storage.runs.find(id_), what="a worker takes it")
    return site.app.Run(id_)


def told(site: Site) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.ledger.read_text().splitlines()] if site.ledger.exists() else []


def liteq(site: Site, *args: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ, "WORKER_TEST_BROKER": site.broker, "WORKER_TEST_LEDGER": str(site.ledger),
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }  # fmt: skip
    command = [sys.executable, "-m", "liteq", "-A", "operated_runs", "workflow", *args]
    return subprocess.run(command, env=env, cwd=site.folder, capture_output=True, text=True, timeout=120)


def shown(site: Site, *args: str) -> list[dict[str, Any]]:
    done = liteq(site, *args, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_receivers_in_the_worker_are_told_of_failures(site):
    site.worker("-c", "1")
    start(site, "fails", "f")
    wait_for(lambda: told(site))
    assert told(site) == [
        {"signal": "workflow_failed", "run_id": "f", "name": "operated_runs.fails", "error": "ValueError: out of stock"}
    ]


def test_a_run_that_its_step_kills_too_often_is_told_of_with_the_step(site):
    site.worker("-c", "1")
    run = start(site, "dies", "d")
    (one,) = wait_for(lambda: told(site))
    assert (one["signal"], one["run_id"]) == ("workflow_failed", "d")
    assert "in step 'operated_runs.kills'" in one["error"]
    assert run.status == "failed"


@on_both_engines
def test_an_approval_is_told_of_until_it_is_decided_from_the_command_line(site):
    site.worker("-c", "1")
    run = start(site, "asks", "a")
    wait_for(lambda: len(told(site)) >= 2, what="a reminder")
    first = told(site)[0]
    assert {key: first[key] for key in ("signal", "run_id", "title", "details")} == {
        "signal": "approval_requested", "run_id": "a", "title": "Go?", "details": {"total": 3},
    }  # fmt: skip
    assert [one["title"] for one in shown(site, "pending")] == ["Go?"]
    assert liteq(site, "approve", "a", "Go?", "--yes", "--by", "bob", "--comment", "fine").returncode == 0
    assert run.result(timeout=60) == "bob: fine"
    assert shown(site, "pending") == []


def test_what_executes_is_shown_and_terminate_ends_its_process(site):
    site.worker("-c", "1")
    run = start(site, "takes_long", "t")
    (began,) = wait_for(lambda: told(site))
    wait_for(lambda: shown(site, "show", "t")[0]["now"] == ["operated_runs.long_one"])
    assert shown(site, "steps", "t")[0]["status"] == "running"
    assert liteq(site, "terminate", "t", "--reason", "enough").returncode == 0
    wait_for(lambda: not Path(f"/proc/{began['began']}").exists(), what="its process has ended")
    assert run.status == "cancelled"
    assert "enough" in liteq(site, "show", "t").stdout


def test_code_that_does_not_fit_is_found_before_and_after_its_deploy(site):
    worker = site.worker("-c", "1")
    run = start(site, "deployed", "r")
    wait_for(lambda: run.info().waiting_for == ["event go"])
    site.end(worker)
    os.environ["OTHER_CODE"] = "2"
    try:
        checked = liteq(site, "replay", "--check")
        assert checked.returncode == 1
        assert "step 'operated_runs.quick' with other arguments" in checked.stdout
        assert liteq(site, "send", "r", "go", "41").returncode == 0
        worker = site.worker("-c", "1")
        wait_for(lambda: run.status == "stuck")
        wait_for(lambda: told(site))
        assert (told(site)[0]["signal"], told(site)[0]["run_id"]) == ("workflow_stuck", "r")
        site.end(worker)
    finally:
        del os.environ["OTHER_CODE"]
    assert liteq(site, "replay", "--check").returncode == 0
    site.worker("-c", "1")
    assert liteq(site, "resume", "--status", "stuck", "--yes").returncode == 0
    assert run.result(timeout=60) == 42
