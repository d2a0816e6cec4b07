"""Canvases and workflows call each other, in real workers: a run as a link, a member, a body; a canvas as a call.

And what first users of workflows wrote, and stumbled over.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest

from liteq import chain, chord, group
from liteq.exceptions import ChordError, RunCancelled, RunNotFound, TaskRevokedError, TimeLimitExceeded

from .worker_process import HERE, wait_for

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="liteq's workers need POSIX"),
]
WAIT = 30


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the app."""
    monkeypatch.setenv("FLOW_FOLDER", str(tmp_path))
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.delitem(sys.modules, "flow_tasks", raising=False)
    module = importlib.import_module("flow_tasks")
    yield module
    sys.modules.pop("flow_tasks", None)
    module.app.close()


@pytest.fixture
def flows(code: ModuleType, tmp_path: Path) -> Iterator[ModuleType]:
    """The same, and a worker of two processes beside it."""
    command = [sys.executable, "-m", "liteq", "-A", "flow_tasks", "worker", "-c", "2", "-l", "INFO"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    yield code
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def ledger(flows: ModuleType) -> list[str]:
    path = flows.FOLDER / "ledger"
    return path.read_text().splitlines() if path.exists() else []


def test_a_run_is_a_link_of_a_chain(flows):
    result = chain(flows.add.s(1, 2), flows.slowly.s(), flows.aslowly.s(), flows.add.s(10)).delay()
    assert result.get(timeout=WAIT) == 15
    assert (flows.slowly.s(1) | flows.add.s(1)).delay().get(timeout=WAIT) == 3
    assert chain(flows.add.s(1, 2), flows.slowly.si(40, more=2)).delay().get(timeout=WAIT) == 42
    assert ledger(flows) == ["mark 3", "mark 4", "mark 1", "mark 2", "mark 40", "mark 42"]


def test_a_run_is_a_member_of_a_group_and_of_a_chord(flows):
    members = [flows.slowly.s(1), flows.add.s(1, 1), flows.aslowly.s(5)]
    assert group(members).delay().get(timeout=WAIT) == [2, 2, 6]
    assert chord(members, flows.total.s()).delay().get(timeout=WAIT) == 10
    assert ledger(flows).count("total") == 1


def test_a_run_is_the_body_of_a_chord(flows):
    body = chord([flows.add.s(1, 1), flows.slowly.s(3)], flows.summed.s()).delay()
    assert body.get(timeout=WAIT) == 1006
    assert flows.app.Run(body.id).result() == 1006
    assert [step.kind for step in flows.app.Run(body.id).steps()] == ["sleep", "step"]


def test_a_run_in_a_canvas_has_links_of_its_own(flows):
    result = flows.slowly.apply_async((1,), link=flows.tell.si("link"))
    assert result.result(timeout=WAIT) == 2
    wait_for(lambda: "told link" in ledger(flows))
    flows.refusing.apply_async(("x",), link_error=flows.tell.s())
    wait_for(lambda: any(line.startswith("told ") and line != "told link" for line in ledger(flows)))
    flows.add.apply_async((1, 1), link=flows.slowly.s())
    wait_for(lambda: "mark 3" in ledger(flows))


def test_the_failure_of_a_run_is_the_failure_of_its_canvas(flows):
    linked = chain(flows.add.s(1, 1), flows.refusing.si("order"), flows.add.s(1)).apply_async()
    with pytest.raises(flows.Refused) as caught:
        linked.get(timeout=WAIT)
    assert caught.value.args == ("order", 8)
    body = chord([flows.add.s(1, 1), flows.refusing.si("order")], flows.total.s()).delay()
    assert isinstance(body.get(timeout=WAIT, propagate=False), ChordError)
    assert "total" not in ledger(flows)


def test_a_run_that_was_cancelled_is_a_revoked_link(flows):
    linked = chain(flows.waits_for.si("go"), flows.add.s(1)).apply_async()
    run = flows.app.Run(linked.parent.id)
    wait_for(lambda: run.status == "waiting", within_s=WAIT)
    run.cancel("not now")
    with pytest.raises(RunCancelled, match="not now"):
        run.result(timeout=WAIT)
    with pytest.raises(TaskRevokedError):
        linked.get(timeout=WAIT)
    assert [(step.name, step.status) for step in run.steps()] == [("go", "cancelled")]


def test_a_run_that_waits_for_an_event_holds_up_its_chain_alone(flows):
    linked = chain(flows.add.s(1, 1), flows.waits_for.si("go"), flows.add.s(1)).apply_async()
    run = flows.app.Run(linked.parent.id)
    wait_for(lambda: run.status == "waiting", within_s=WAIT)
    assert flows.add.delay(2, 2).get(timeout=WAIT) == 4
    run.send("go", 41)
    assert linked.get(timeout=WAIT) == 42


def test_a_member_whose_process_is_killed_ends_once(flows):
    found = chord([flows.dying.s(1), flows.slowly.s(10)], flows.total.s()).delay()
    assert found.get(timeout=WAIT) == 2 + 11
    assert ledger(flows).count("mark 1") == 1
    assert ledger(flows).count("total") == 1


def test_a_body_calls_canvases_with_runs_in_them(flows):
    run = flows.calls_canvases.start(5)
    found = run.result(timeout=WAIT)
    sent = found.pop("sent")
    assert found == {
        "chain": 107, "group": [5, 6, 7], "chord": 10, "body": 1006, "spawned": [3, 8],
        "link": "Refused", "member": "ChordError",
    }  # fmt: skip
    assert flows.app.AsyncResult(sent).get(timeout=WAIT) == 3
    kinds = [step.kind for step in run.steps()]
    assert kinds.count("call") == 6
    assert kinds.count("spawn") == 2
    assert kinds.count("send") == 1


# -- first programs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 20], ids=["in its last step", "between steps"])
def test_the_timeout_of_a_run_that_never_waits(flows, steps):
    """Four steps of 0.2 s begin at most; its saga runs."""
    run = flows.too_long.start(steps * 4)
    with pytest.raises(TimeLimitExceeded, match="took longer than its timeout"):
        run.result(timeout=WAIT)
    assert run.status == "failed"
    assert len([step for step in run.steps() if step.name == "time.sleep"]) <= 4
    assert ledger(flows) == ["mark -1"]


def test_an_async_body_sends_once_by_the_async_twins(flows):
    ids = flows.asends.start().result(timeout=WAIT)
    assert [flows.app.AsyncResult(id_).get(timeout=WAIT) for id_ in ids] == [2, 4, 3, 51]
    assert sorted(ledger(flows)) == ["mark 50", "mark 51"]


def test_a_body_continues_as_new_by_the_length_of_its_history_in_each_replay(flows):
    assert flows.renewed.start().result(timeout=WAIT) == 9
    assert ledger(flows) == [f"mark {n}" for n in range(1, 10)]


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda code: code.slowly.options(idd="x"), TypeError, "did you mean 'id'"),
        (lambda code: code.slowly.options(delay="5 minutes"), ValueError, "'5m'"),
        (lambda code: code.slowly.options(on_conflict="ignore"), ValueError, "'existing'"),
        (lambda code: code.app.step(retrys=3)(len), TypeError, "did you mean 'retries'"),
        (lambda code: code.app.workflow(versions="3")(len), TypeError, "did you mean 'version'"),
        (lambda code: code.app.runs(statuss="failed"), TypeError, "did you mean 'status'"),
        (lambda code: code.app.Run("nobody").get_state(), RunNotFound, "never started"),
        (lambda code: code.app.Run("nobody").approvals(), RunNotFound, "never started"),
    ],
)
def test_a_mistake_is_told_with_a_way_out(code, ask, error, words):
    with pytest.raises(error, match=words):
        ask(code)
