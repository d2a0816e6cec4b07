"""`liteq flow run --here` and `wait`: one command is enough. Reports, exit codes, the same id again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(240)  # each command is a process, and each worker that it brings some more

ASKS = """
steps:
  - {id: build, run: echo v7, output: VERSION}
  - id: review
    depends: build
    action: human.task
    with:
      prompt: Release ${VERSION}?
      form: {type: object, properties: {environment: {type: string, enum: [staging, live]}}, required: [environment]}
  - {id: release, depends: review, run: 'echo "to ${steps.review.outputs.environment}"', output: RELEASED}
"""
SEES = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LITEQ_DURABILITY": "relaxed"}


@pytest.fixture
def liteq(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`liteq -b FILE ...`, as a process."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "liteq", "-b", f"sqlite:///{tmp_path}/queue.db", *args]
        return subprocess.run(command, cwd=tmp_path, env=SEES, capture_output=True, text=True, timeout=120, check=False)

    return run


def _report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_run_waits_for_a_person_and_goes_on(liteq, tmp_path: Path):
    (tmp_path / "flow.yaml").write_text(ASKS)
    begun = liteq("flow", "run", "flow.yaml", "--id", "r7", "--here", "-c", "2", "--json")
    document = _report(begun)
    assert (begun.returncode, document["id"], document["status"]) == (75, "r7", "waiting")
    assert [(one["step"], one["prompt"]) for one in document["waiting"]] == [("review", "Release v7?")]
    assert document["waiting"][0]["form"]["required"] == ["environment"]
    assert {one["id"]: one["status"] for one in document["steps"]} == {
        "build": "succeeded", "review": "waiting", "release": "waiting",
    }  # fmt: skip

    wrong = liteq("workflow", "approve", "r7", "review", "--yes", "--data", '{"environment": "moon"}')
    assert (wrong.returncode, "environment" in wrong.stderr) == (1, True)
    assert liteq("workflow", "approve", "r7", "review", "--yes", "--data", '{"environment": "live"}').returncode == 0

    ended = liteq("flow", "wait", "r7", "--here", "--json")
    document = _report(ended)
    assert (ended.returncode, document["status"], document["waiting"]) == (0, "succeeded", [])
    assert document["outputs"] == {"VERSION": "v7", "RELEASED": "to live"}
    assert set(document["steps"][0]) == {"id", "name", "status", "attempts", "exit_code", "started", "finished"}

    (tmp_path / "flow.yaml").write_text(ASKS.replace("v7", "v8"))
    other = liteq("flow", "run", "flow.yaml", "--id", "r7")
    assert (other.returncode, "liteq flow wait r7" in other.stderr) == (2, True)


def test_a_failure_is_the_exit_code(liteq, tmp_path: Path):
    (tmp_path / "flow.yaml").write_text("steps: [{id: one, run: exit 5}, {id: two, depends: one, run: echo never}]")
    done = liteq("flow", "run", "flow.yaml", "--here", "-c", "1", "--json")
    document = _report(done)
    assert (done.returncode, document["status"]) == (1, "failed")
    assert [(one["status"], one["exit_code"]) for one in document["steps"]] == [
        ("failed", 5),
        ("upstream_failed", None),
    ]


def test_what_is_refused_writes_nothing(liteq, tmp_path: Path):
    (tmp_path / "flow.yaml").write_text("params: [{name: n, type: integer}]\nsteps: [{id: one, run: echo}]")
    (tmp_path / "broken.yaml").write_text("steps: [{id: one, rum: echo}]")
    assert liteq("flow", "run", "broken.yaml", "--here").returncode == 65
    assert liteq("flow", "run", "flow.yaml", "-p", "n=many", "--here").returncode == 2
    assert liteq("flow", "run", "flow.yaml", "--params-json", "[]").returncode == 2
    assert not (tmp_path / "queue.db").exists()


def test_a_killed_command_leaves_no_worker_and_goes_on_by_its_id(liteq, tmp_path: Path, eventually):
    (tmp_path / "flow.yaml").write_text(
        "type: chain\nsteps:\n  - {id: one, run: echo one >> ledger}\n"
        "  - {id: two, run: 'echo two >> ledger; touch begun; until test -e go; do sleep 0.05; done'}\n"
    )
    command = [sys.executable, "-m", "liteq", "-b", f"sqlite:///{tmp_path}/queue.db", "flow", "run", "flow.yaml"]
    first = subprocess.Popen(
        [*command, "--id", "same", "--here", "-c", "2"], cwd=tmp_path, env=SEES, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    eventually((tmp_path / "begun").exists, within_s=100)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(60)
    (tmp_path / "go").touch()

    done = liteq("flow", "run", "flow.yaml", "--id", "same", "--here", "-c", "2", "--json")
    assert (done.returncode, _report(done)["status"]) == (0, "succeeded")
    assert (tmp_path / "ledger").read_text().split() == ["one", "two", "two"]
