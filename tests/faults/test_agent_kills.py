"""Agents are killed in their tools, and charges inside: no request is paid twice, no effect in doubt is repeated."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.exceptions import StepInDoubt

from .flows import Flows, kill_parent
from .harness import children_of, wait_for
from .sizes import size

SEEDS = size("AGENT_SEEDS", 1, 40)
KINDS = ["model-1", "tool-a", "tool-b", "tool-c", "model-2"]
PHASE = {"model-1": 0, "tool-a": 1, "tool-b": 1, "tool-c": 1, "model-2": 2}

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children by /proc, and has them end with their parent"),
]


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flows]:
    flows = Flows.made(tmp_path, monkeypatch)
    yield flows
    flows.close()


def charged(flows: Flows, run_id: str) -> list[str]:
    """The keys under which a run has charged, each time that it did."""
    return [kind for kind, _, _ in flows.notes(run_id=run_id) if kind.startswith("charged-")]


def test_an_agent_killed_inside_each_request_and_each_tool(flows: Flows) -> None:
    """Nothing that is recorded is done again: the request before is paid once, only what was in progress is repeated.

    It dies in its steps one after the other, twice in each: that buries no run.
    """
    flows.worker()
    for kind in KINDS:
        flows.start_run("agent", {"at": f"in {kind}", "times": 2}, id_=kind)
    flows.wait_ended(*KINDS, within_s=180)
    for kind in KINDS:
        assert flows.run(kind).result() == ["model-1", "tool-a", "tool-b", "tool-c", "model-2"]
        counts = flows.counts(kind)
        assert counts[kind] == 3, "each kill repeats it once"
        again = [one for one, n in counts.items() if n > 1]
        assert {PHASE[one] for one in again} == {PHASE[kind]}, "only what was in progress"


def test_agents_killed_at_random_repeat_what_was_in_progress(flows: Flows) -> None:
    flows.settings["LITEQ_MAX_CRASHES"] = "50"  # chance may hit the same tools each time
    for seed in range(SEEDS):
        rng = random.Random(seed)
        ids = [f"agent-{seed}-{n}" for n in range(10)]
        worker = flows.worker(name=f"worker-{seed}")
        for id_ in ids:
            flows.start_run("agent", {"at": "nowhere", "pause": 0.02}, id_=id_)
        for n in range(5):
            before = len(flows.notes())
            wait_for(lambda b=before: len(flows.notes()) > b + 2 or flows.run(ids[-1]).ready(), within_s=60)
            if rng.random() < 0.3:
                kill_parent(worker)
                worker = flows.worker(name=f"worker-{seed}-{n}")
            else:
                for pid in children_of(worker.pid)[:1]:
                    os.kill(pid, signal.SIGKILL)
        flows.wait_ended(*ids, within_s=180)
        for id_ in ids:
            assert flows.run(id_).result() == KINDS
            phases = [PHASE[kind] for kind, _, _ in flows.notes(run_id=id_)]
            assert phases == sorted(phases), "what is recorded is not done again"
        flows.stop(worker)


@pytest.mark.parametrize("at", ["before charge", "after charge"])
@pytest.mark.parametrize("whom", ["child", "parent"])
def test_a_charge_that_was_killed_is_looked_for_and_not_repeated(flows: Flows, at: str, whom: str) -> None:
    worker = flows.worker(children=1)
    flows.start_run("pays_by_looking", {"at": at, "whom": whom}, id_="order")
    if whom == "parent":
        assert worker.wait(timeout=60) == -signal.SIGKILL
        flows.worker(children=1, name="worker-2")
    flows.wait_ended("order", within_s=120)
    assert flows.run("order").result() == [10, "found" if at == "after charge" else "charged", 20]
    assert len(charged(flows, "order")) == 1
    assert len(flows.notes("looked", "order")) == 1, "once for each doubt"


def test_a_charge_that_was_killed_waits_for_a_person(flows: Flows) -> None:
    """Over a restart, and holding nothing: another run goes through the only process meanwhile."""
    worker = flows.worker(children=1)
    for id_, at in (("done", "after charge"), ("again", "before charge"), ("fails", "before charge")):
        flows.start_run("pays_by_asking", {"at": at}, id_=id_)
        flows.wait_status(id_, "waiting", within_s=60)
    assert sorted(flows.code.app.storage.runs.in_doubt()) == ["again", "done", "fails"]
    flows.stop(worker)
    flows.worker(children=1, name="worker-2")
    flows.start_run("six", id_="other")
    flows.wait_ended("other", within_s=120)
    for id_, answer in (("done", {"answer": "done", "result": "by hand"}), ("again", {"answer": "repeat"})):
        (asked,) = flows.run(id_).approvals()
        assert asked.details["step"] == "charge_by_asking"
        assert flows.run(id_).approve(asked.title, data=answer, by="ann")
    flows.run("fails").approve(flows.run("fails").approvals()[0].title, ok=False)
    flows.wait_ended("done", "again", "fails", within_s=120)
    assert flows.run("done").result() == [10, "by hand", 20]
    assert flows.run("again").result() == [10, "charged", 20]
    with pytest.raises(StepInDoubt):
        flows.run("fails").result()
    assert {id_: len(charged(flows, id_)) for id_ in ("done", "again", "fails")} == {"done": 1, "again": 1, "fails": 0}
