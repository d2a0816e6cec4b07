"""Runs are killed: in their steps, between them, with their worker. What is recorded is never done again.

The numbers are those of the guarantees in docs/explanation (durable workflows).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq.exceptions import RunCancelled, WorkerLostError

from .flows import Flows, kill_parent
from .harness import children_of, stop_outside_transactions, told_of_its_loss, wait_for
from .sizes import size

SEEDS = size("WORKFLOW_SEEDS", 1, 60)
RACES = size("WORKFLOW_RACES", 30, 1_000)
ASKING = size("WORKFLOW_ASKING", 20, 200)
BUSY = size("WORKFLOW_BUSY", 50, 500)
DAY_S = 86_400
BODIES = ["six", "asix"]
ONCE = {f"one-{n}": 1 for n in range(1, 7)}

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children by /proc, and has them end with their parent"),
]


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flows]:
    flows = Flows.made(tmp_path, monkeypatch)
    yield flows
    flows.close()


def pass_time(seconds: float) -> None:
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > seconds, within_s=seconds + 10)


# -- 1: what is recorded does not run again ----------------------------------------------------------------------------


def places() -> list[str]:
    between = [f"{when} {n}" for n in range(1, 7) for when in ("in", "after")]
    return between + [f"{when} commit {n}" for n in range(1, 7) for when in ("before", "after")]


@pytest.mark.parametrize("body", BODIES)
def test_a_run_killed_anywhere_goes_on_behind_its_last_recorded_step(flows: Flows, body: str) -> None:
    """Killed in a step or before its commit: that one runs twice; after it: none. All others once, in any case."""
    flows.worker()
    plans = {f"{body}-{place}".replace(" ", "-"): place for place in places()}
    for id_, place in plans.items():
        flows.start_run(body, {"at": place}, id_=id_)
    flows.wait_ended(*plans)
    died = {path.name.split()[1] for path in flows.folder.glob("died *")}
    assert len(died) == len(plans), "each was killed"
    for id_, place in plans.items():
        assert flows.run(id_).result() == 210
        when, n = place.split()[0], place.split()[-1]
        again = {f"one-{n}": 2} if when in ("in", "before") else {}
        assert flows.counts(id_) == ONCE | again, place


@pytest.mark.parametrize("body", BODIES)
def test_a_run_whose_worker_is_killed_goes_on_in_the_next(flows: Flows, body: str) -> None:
    worker = flows.worker(name="worker-0")
    for n, at in enumerate(["in 2", "after 4"]):
        flows.start_run(body, {"at": at, "whom": "parent"}, id_=f"order-{n}")
        assert worker.wait(timeout=60) == -signal.SIGKILL
        worker = flows.worker(name=f"worker-{n + 1}")
        flows.wait_ended(f"order-{n}")  # before the next kill, which would hit a step of this one too
    assert flows.counts("order-0") == ONCE | {"one-2": 2}
    assert flows.counts("order-1") == ONCE
    assert flows.run("order-0").result() == flows.run("order-1").result() == 210


def test_runs_survive_kills_at_random(flows: Flows) -> None:
    for seed in range(SEEDS):
        rng = random.Random(seed)
        ids = [f"run-{seed}-{n}" for n in range(20)]
        workers = [flows.worker(name=f"worker-{seed}-{n}") for n in range(2)]
        for n, id_ in enumerate(ids):
            flows.start_run(BODIES[n % 2], {"at": "nowhere", "pause": 0.02}, id_=id_)
        for _ in range(6):
            before = len(flows.notes())
            wait_for(lambda b=before: len(flows.notes()) > b + 2 or flows.run(ids[-1]).ready())
            n = rng.randrange(2)
            if rng.random() < 0.3:
                kill_parent(workers[n])
                workers[n] = flows.worker(name=f"worker-{seed}-{n}")
            else:
                for pid in children_of(workers[n].pid)[:1]:
                    os.kill(pid, signal.SIGKILL)
        flows.wait_ended(*ids)
        assert {flows.run(id_).result() for id_ in ids} == {210}
        for id_ in ids:
            begun = [kind for kind, _, _ in flows.notes(run_id=id_)]
            assert begun == sorted(begun), "a kill repeats the one step that it hits, and none before it"
            assert set(begun) == set(ONCE)
        for worker in workers:
            flows.stop(worker)


# -- 4: a lease that is over writes nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize("emits", [False, True], ids=["its step", "a chunk of a stream"])
def test_a_worker_stopped_past_its_lease_cannot_write_for_its_run(flows: Flows, emits: bool) -> None:
    """While its heir is still at the same step; and it goes on with nothing."""
    zombie = flows.worker(children=1, name="worker-zombie")
    flows.start_run("stopped", emits, id_="order")
    frozen = flows.wait_noted("turn", "order")
    stop_outside_transactions(flows, {zombie.pid})
    flows.worker(children=1, name="worker-heir")
    heir = flows.wait_noted("turn", "order", n=2)
    (flows.folder / "go-0").touch()
    os.kill(frozen, signal.SIGCONT)  # alone: its parent would end it as soon as it beats
    assert flows.wait_noted("left", "order") == frozen
    assert flows.run("order").steps() == []
    os.killpg(zombie.pid, signal.SIGCONT)
    wait_for(lambda: told_of_its_loss(flows, "worker-zombie"))
    (flows.folder / "go-1").touch()
    flows.wait_ended("order")
    assert flows.counts("order") == {"turn": 2, "left": 2, "one-3": 1}
    chunks = [(chunk.attempt, chunk.data) for chunk in flows.run("order").stream("log")]
    assert chunks == ([(1, heir)] if emits else [])
    assert flows.run("order").result() == 30


def test_a_lease_is_not_taken_by_workers_that_start(flows: Flows) -> None:
    flows.worker(children=1, name="worker-first")
    flows.start_run("stopped", False, id_="order")
    flows.wait_noted("turn", "order")
    for n in range(3):
        flows.worker(children=1, name=f"worker-{n}")
        wait_for(lambda n=n: f"worker-{n}@" in flows.logs() and flows.logs().count("ready.") == n + 2)
    pass_time(5)  # longer than its lease
    (flows.folder / "go-0").touch()
    (flows.folder / "go-1").touch()
    flows.wait_ended("order")
    assert flows.counts("order") == {"turn": 1, "left": 1, "one-3": 1}


# -- 6, 13: sleeps -----------------------------------------------------------------------------------------------------


def test_a_sleep_of_a_day_goes_on_over_a_restart_and_ends_once(flows: Flows) -> None:
    worker = flows.worker()
    flows.start_run("sleepy", DAY_S, id_="order")
    flows.wait_status("order", "waiting")
    due = flows.run("order").info().due
    kill_parent(worker)
    flows.set_clock(DAY_S - 60)
    worker = flows.worker(name="worker-2")
    flows.start_run("six", id_="another")
    flows.wait_ended("another")
    assert flows.run("order").status == "waiting"
    assert flows.run("order").info().due == due, "only the rest is waited for"
    flows.set_clock(DAY_S + 1)
    flows.wait_ended("order")
    assert flows.counts("order") == {"one-1": 1, "one-2": 1}
    assert flows.run("order").result() == 30


# -- 7, 13: events -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["listens", "alistens"])
def test_events_come_once_and_in_order_though_each_turn_is_killed(flows: Flows, body: str) -> None:
    run = flows.run("order")
    run.send("go", 0)
    flows.worker()
    started = flows.start_run(body, 8, {"at": "turn 3"}, id_="order")
    for n in range(1, 8):
        run.send("go", n)
    assert started.result(timeout=60) == list(range(8))


def test_no_wake_up_is_lost_between_a_wait_and_what_it_waits_for(flows: Flows) -> None:
    flows.worker()
    rng = random.Random(RACES)
    ids = [f"run-{n}" for n in range(RACES)]
    for n, id_ in enumerate(ids):
        flows.start_run(["listens", "alistens", "gathers", "agathers"][n % 4], 5, id_=id_)
    for id_ in ids:
        if flows.run(id_).name.endswith("listens"):
            flows.wait_status(id_, "waiting")
            for k in range(5):  # each wakes it; the next may come while it runs, lets go, or waits again
                flows.run(id_).send("go", 2 * k)
                pass_time(rng.random() / 20)
    flows.wait_ended(*ids, within_s=60 + RACES / 5)
    assert {tuple(flows.run(id_).result()) for id_ in ids} == {(0, 2, 4, 6, 8)}


def test_a_wait_that_timed_out_stays_so_though_it_is_killed_again_and_again(flows: Flows) -> None:
    flows.worker()
    for n in range(4):
        flows.start_run("impatient", 6, {"at": f"turn {n}"}, id_=f"order-{n}")
        flows.wait_noted("turn-3=-1", f"order-{n}")  # it does time out, also while nothing comes
    for k in range(6):
        for n in range(4):
            flows.run(f"order-{n}").send("go", k)
        pass_time(0.08)
    flows.wait_ended(*(f"order-{n}" for n in range(4)))
    assert [flows.run(f"order-{n}").result() for n in range(4)] == [list(range(6))] * 4
    for n in range(4):
        turns = {kind for kind, _, _ in flows.notes(run_id=f"order-{n}")}
        assert len({turn.partition("=")[0] for turn in turns}) == len(turns), "no replay decides anew"


# -- 8, 17: compensations, cancels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["saga", "asaga"])
def test_compensations_run_last_in_first_out_also_when_they_are_killed(flows: Flows, body: str) -> None:
    flows.worker()
    places = ["nowhere", "undo 2", "fail to undo 2"]
    for place in places:
        flows.start_run(body, {"at": place}, id_=place.replace(" ", "-"))
    flows.wait_ended(*(place.replace(" ", "-") for place in places))
    for place in places:
        id_ = place.replace(" ", "-")
        undone = [kind for kind, _, _ in flows.notes(run_id=id_) if kind.startswith("undo")]
        assert undone == ["undo-3", *["undo-2"] * (2 if place == "undo 2" else 1), "undo-1"]
        assert {kind: n for kind, n in flows.counts(id_).items() if kind.startswith("one")} == {
            "one-1": 1, "one-2": 1, "one-3": 1,
        }  # fmt: skip
        assert flows.run(id_).status == "failed"
        with pytest.raises(LookupError, match="the order is refused"):
            flows.run(id_).result()
    failed = [step for step in flows.run("fail-to-undo-2").steps() if step.status == "failed"]
    assert [step.name for step in failed] == [f"workflow_app.{'a' * (body == 'asaga')}undo"]


def test_a_cancel_is_not_swallowed_and_runs_what_undoes(flows: Flows) -> None:
    flows.worker(children=4)
    plans: dict[str, tuple[str, Any]] = {
        "plain": ("cancelled", None), "killed": ("cancelled", {"at": "undo 1"}), "stubborn": ("stubborn", None),
    }  # fmt: skip
    for id_, (name, where) in plans.items():
        flows.start_run(name, *([where] if where else []), id_=id_)
        flows.wait_noted("held", id_)
        flows.run(id_).cancel("changed my mind")
        (flows.folder / f"go-{id_}").touch()
    flows.wait_ended(*plans)
    assert flows.counts("plain") == {"one-1": 1, "held": 1, "undo-1": 1}
    assert flows.counts("killed") == {"one-1": 1, "held": 1, "undo-1": 2}
    assert flows.counts("stubborn") == {"held": 1, "swallowed": 3}
    for id_ in plans:
        assert flows.run(id_).status == "cancelled"
        with pytest.raises(RunCancelled, match="changed my mind"):
            flows.run(id_).result()


# -- 12: children, pause, fork -----------------------------------------------------------------------------------------


def test_a_cancelled_run_takes_its_children_along_also_the_one_just_born(flows: Flows) -> None:
    flows.worker(children=3)
    flows.start_run("parent_of", 3, id_="order")
    flows.wait_noted("held", "order")
    children = [step.child_id for step in flows.run("order").steps() if step.kind == "spawn"]
    assert len(children) == 3
    for child in children:
        flows.wait_status(child, "waiting")
    flows.run("order").cancel()
    (flows.folder / "go-order").touch()
    flows.wait_ended("order", *children)
    assert {flows.run(id_).status for id_ in ("order", *children)} == {"cancelled"}
    assert not flows.notes(run_id="the")
    assert {run.status for run in flows.code.app.runs()} == {"cancelled"}


def test_a_paused_run_goes_on_in_another_worker_and_a_fork_repeats_nothing(flows: Flows) -> None:
    worker = flows.worker()
    flows.start_run("cancelled", id_="order")
    flows.wait_noted("held", "order")
    flows.run("order").pause()
    (flows.folder / "go-order").touch()
    flows.wait_status("order", "paused")
    kill_parent(worker)
    flows.worker(name="worker-2")
    flows.start_run("six", id_="another")
    flows.wait_ended("another")
    assert flows.run("order").status == "paused"
    flows.run("order").resume()
    flows.wait_ended("order")
    assert flows.counts("order") == {"one-1": 1, "held": 1, "one-2": 1}
    fork = flows.run("another").fork(4, id="fork")
    assert fork.result(timeout=60) == 210
    assert flows.counts("fork") == {f"one-{n}": 1 for n in (4, 5, 6)}
    assert flows.counts("another") == ONCE


def test_a_terminated_run_loses_its_process_and_undoes_nothing(flows: Flows) -> None:
    flows.settings["LITEQ_VISIBILITY_TIMEOUT"] = "60"
    flows.worker()
    flows.start_run("cancelled", id_="order")
    pid = flows.wait_noted("held", "order")
    reader = flows.code.app.storage.reader
    wait_for(lambda: time.time() * 1000 - reader.workers()[0].heartbeat_ms < 5_000)
    beat = reader.workers()[0].heartbeat_ms
    flows.run("order").terminate("enough")
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    assert reader.workers()[0].heartbeat_ms == beat, "long before a heartbeat finds the lease lost"
    assert flows.run("order").status == "cancelled"
    with pytest.raises(RunCancelled, match="enough"):
        flows.run("order").result()
    assert flows.counts("order") == {"one-1": 1, "held": 1}


# -- 9: transactional steps --------------------------------------------------------------------------------------------


def entries(path: Path) -> list[tuple[str, int]]:
    """The rows of the app's table, read by a process of its own: two libraries in one would drop each other's locks."""
    code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall())"
    query = "SELECT run, n FROM entries ORDER BY run, n"
    done = subprocess.run([sys.executable, "-c", code, path, query], capture_output=True, text=True, check=True)
    found: list[tuple[str, int]] = eval(done.stdout)
    return found


@pytest.mark.parametrize("elsewhere", [False, True], ids=["the queue's file", "a database of one's own"])
def test_a_transactional_step_leaves_one_row_wherever_it_is_killed(flows: Flows, elsewhere: bool) -> None:
    path = flows.folder / "books.db" if elsewhere else flows.db
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE entries (run TEXT, n INTEGER)')"
    subprocess.run([sys.executable, "-c", code, path], check=True)
    flows.worker()
    places = ["nowhere", "in 2", "after 2", "before commit 2", "after commit 2"]
    ids = [f"run-{n}" for n in range(len(places))]
    for id_, place in zip(ids, places, strict=True):
        flows.start_run("bookkeeping", elsewhere, {"at": place}, id_=id_)
    flows.wait_ended(*ids)
    assert [flows.run(id_).result() for id_ in ids] == [6] * len(ids)
    assert entries(path) == [(id_, n) for id_ in ids for n in (1, 2, 3)]


# -- 10: the memo ------------------------------------------------------------------------------------------------------


def test_an_expensive_answer_is_paid_for_once_though_who_computes_it_is_killed(flows: Flows) -> None:
    for n in range(2):
        flows.worker(children=3, name=f"worker-{n}")
    for n in range(ASKING):
        flows.start_run("asks", "why", id_=f"why-{n}")
        flows.start_run("asks", "how", {"at": "paying"}, id_=f"how-{n}")
    ids = [f"{word}-{n}" for word in ("why", "how") for n in range(ASKING)]
    flows.wait_ended(*ids)
    assert {flows.run(id_).result() for id_ in ids} == {"WHY", "HOW"}
    assert len(flows.notes("paid", "why")) == 1
    assert len(flows.notes("paid", "how")) == 2, "the one that was killed, and one more"


# -- 14, 19: attempts, timeouts, crashes -------------------------------------------------------------------------------


def test_attempts_and_their_pauses_survive_kills_and_restarts(flows: Flows) -> None:
    worker = flows.worker()
    flows.start_run("retries", id_="plain")
    flows.start_run("retries", {"at": "attempt 2"}, id_="killed")
    flows.wait_noted("failing", "killed", n=3)
    kill_parent(worker)
    flows.worker(name="worker-2")
    flows.wait_ended("plain", "killed")
    for id_, attempts in (("plain", 4), ("killed", 5)):
        # The parent was killed at any moment: in the middle of an attempt, it repeats that.
        assert attempts <= flows.counts(id_)["failing"] <= attempts + 1
        with pytest.raises(ConnectionError, match="attempt 4"):
            flows.run(id_).result()


def test_a_step_past_its_timeout_is_interrupted_or_its_process_is_killed(flows: Flows) -> None:
    flows.worker(children=2)
    flows.start_run("hung", "yields", id_="yields")
    flows.start_run("hung", "swallows", id_="swallows")
    flows.wait_ended("yields", "swallows")
    for id_ in ("yields", "swallows"):
        assert flows.run(id_).result() == "attempt 2"
        assert flows.counts(id_) == {"hangs": 2, "interrupted": 1}
    assert "does not yield" in flows.logs()
    assert flows.code.app.storage.reader.find("swallows").crashes == 0, "an attempt, and no crash"


def test_a_crash_counts_against_the_step_it_happened_in(flows: Flows) -> None:
    flows.worker()
    flows.start_run("each_once", 6, id_="each-once")
    flows.start_run("poisoned", id_="poisoned")
    flows.wait_ended("each-once", "poisoned")
    assert flows.run("each-once").result() == 210
    assert flows.counts("each-once") == {f"one-{n}": 2 for n in range(1, 7)}
    assert flows.counts("poisoned") == {"one-1": 1, "poison": 3}
    with pytest.raises(WorkerLostError, match=r"in step 'workflow_app\.poison'"):
        flows.run("poisoned").result()


# -- 18: deploys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["works_long", "aworks_long"])
def test_a_warm_stop_waits_for_the_step_in_progress_at_most(flows: Flows, body: str) -> None:
    worker = flows.worker()
    flows.start_run(body, 10, 0.6, id_="order")
    flows.wait_noted("over-1", "order")
    flows.wait_noted("long", "order", n=3)
    assert flows.stop(worker) == 0
    assert "over-7" not in flows.counts("order"), "one more would do; a busy machine is slow to stop it"
    assert flows.run("order").status == "queued"
    flows.worker(name="worker-2")
    flows.wait_ended("order")
    assert flows.counts("order")["long"] == 10


@pytest.mark.parametrize("tasks_too", [False, True], ids=["runs alone", "beside tasks"])
def test_a_rolling_deploy_strands_no_run_and_repeats_no_step(flows: Flows, tasks_too: bool) -> None:
    old, new = {"DRILL_CODE": "old", "LITEQ_RELEASE": "1"}, {"DRILL_CODE": "new", "LITEQ_RELEASE": "2"}
    workers = [flows.worker(name="worker-old", env=old), flows.worker(name="worker-new", env=new)]
    wait_for(lambda: flows.logs().count("ready.") == 2)  # one alone may do all before the other can be told to end
    ids = [f"order-{n}" for n in range(10)]
    for id_ in ids:
        flows.start_run("deployed", 1, id_=id_)
    for id_ in ids:
        flows.wait_status(id_, "waiting")
        flows.run(id_).send("go", 1)
        if tasks_too:
            flows.code.double.delay(1)
    killed = [pid for worker in workers for pid in children_of(worker.pid)[:1]]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    for id_ in ids:
        flows.run(id_).send("end", 1)
    flows.wait_ended(*ids)
    again = 0
    for id_ in ids:
        counts = flows.counts(id_)
        middle = counts.get("one-2", 0) + counts.get("one-20", 0)
        assert min(counts["one-1"], middle, counts["one-3"]) >= 1
        again += counts["one-1"] + middle + counts["one-3"] - 3
        assert flows.run(id_).result().split()[0] == "10"
    assert again <= len(killed), "a kill repeats the step that it hits, at most"
    assert [flows.stop(worker) for worker in workers] == [0, 0]


def test_a_run_that_new_code_cannot_go_on_with_is_stuck_until_the_right_code_comes(flows: Flows) -> None:
    old, new = {"DRILL_CODE": "old", "LITEQ_RELEASE": "1"}, {"DRILL_CODE": "new", "LITEQ_RELEASE": "2"}
    worker = flows.worker(name="worker-old", env=old)
    flows.start_run("changed", DAY_S, id_="order")
    flows.wait_status("order", "waiting")
    flows.stop(worker)
    flows.set_clock(DAY_S + 1)
    worker = flows.worker(name="worker-new", env=new)
    flows.wait_status("order", "stuck")
    error = flows.run("order").info().error
    assert "one" in error
    pass_time(7)  # a look of each worker for what is stuck, and more
    assert len(flows.notes("stuck", "order")) == 1, "signalled once, and not tried in a loop"
    assert flows.run("order").status == "stuck"
    flows.worker(name="worker-fixed", env=old)
    flows.wait_ended("order")
    assert flows.run("order").result() == 30
    assert {kind: n for kind, n in flows.counts("order").items() if kind.startswith("one")} == {"one-1": 1, "one-2": 1}
    flows.stop(worker)


# -- 20: the lock ------------------------------------------------------------------------------------------------------


def test_a_locked_file_reaches_nobody(flows: Flows) -> None:
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE entries (run TEXT, n INTEGER)')"
    subprocess.run([sys.executable, "-c", code, flows.db], check=True)
    for n in range(8):
        flows.worker(children=1, name=f"worker-{n}")
    ids = [f"run-{n}" for n in range(BUSY)]
    for id_ in ids:
        flows.start_run("busy", 3, id_=id_)
    seen = 0
    while any(flows.run(id_).status != "succeeded" for id_ in ids[-3:]):
        for id_ in ids[:5]:
            flows.run(id_).steps()
            flows.run(id_).get_state()
            seen += 1
        assert seen < 100_000
    flows.wait_ended(*ids)
    assert {flows.run(id_).result() for id_ in ids} == {6}
    assert "is locked" not in flows.logs()
    assert "not free" not in flows.logs()
    assert entries(flows.db) == sorted((id_, n) for id_ in ids for n in range(3))


def test_large_results_pass_and_what_is_over_the_limit_names_the_setting(flows: Flows) -> None:
    flows.worker()
    flows.start_run("large_ones", 5_000_000, id_="large")
    flows.start_run("large_ones", 17 * 2**20, id_="too-large")
    flows.wait_ended("large", "too-large")
    assert flows.run("large").result() == 10_000_000
    with pytest.raises(Exception, match="max_step_bytes"):
        flows.run("too-large").result()
