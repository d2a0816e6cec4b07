"""Flows whose workers are killed, whose files change, whose steps outlive their time, or whose run is cancelled."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from liteq_flow.jobs import process

from .running import Flows, statuses

pytestmark = pytest.mark.timeout(240)  # processes that are started, and killed, on a loaded machine

THREE = """
type: chain
shell: SHELL
steps:
  - {id: first, run: echo one, output: ONE}
  - {id: second, run: "touch begun; until test -e go; do sleep 0.05; done; echo two", output: TWO}
  - {id: third, run: 'echo "$ONE $TWO three"', output: THREE}
"""


def test_a_killed_worker_repeats_the_step_that_it_met_and_no_other(flows: Flows):
    worker = flows.worker()
    file = flows.write(THREE)
    run_id = flows.start(file)
    begun = file.parent / "begun"
    flows.until(begun.exists)

    flows.kill_worker(worker)
    (file.parent / "go").touch()
    flows.worker()
    document = flows.rest(run_id)

    assert (document["status"], document["outputs"]["THREE"]) == ("succeeded", "one two three")
    assert flows.ledger() == {"first": 1, "second": 2, "third": 1}


def test_what_a_killed_worker_ran_ends_with_it(flows: Flows):
    worker = flows.worker()
    file = flows.write("""
        steps:
          - {id: long, run: "sh -c 'echo $$ > inner; exec sleep 600' & echo $$ > outer; wait"}
        """)
    flows.start(file)
    pids = [file.parent / "inner", file.parent / "outer"]
    flows.until(lambda: all(one.exists() and one.read_text().strip() for one in pids))
    numbers = [int(one.read_text()) for one in pids]
    assert all(_lives(one) for one in numbers)
    flows.until(lambda: _is_guarded(os.getpgid(numbers[0])))  # the guard starts behind the command

    flows.kill_worker(worker)

    flows.until(lambda: not any(_lives(one) for one in numbers))


def test_a_command_that_cannot_be_guarded_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its job has failed, and is tried again."""

    def no_process(_group: int) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(process, "Guard", no_process)
    begun: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen
    monkeypatch.setattr(process.subprocess, "Popen", lambda *a, **k: begun.append(popen(*a, **k)) or begun[-1])
    with pytest.raises(BlockingIOError):
        process.run_command(
            ["sleep", "600"], env={**os.environ}, cwd=str(tmp_path), timeout_s=None, take=lambda *_: None,
            cancelled=lambda: False,
        )  # fmt: skip
    ends = [one.poll() for one in begun]
    for one in begun:
        one.kill()
    assert ends == [-signal.SIGKILL]


def _is_guarded(group: int) -> bool:
    """Whether a shell runs that ends this process group."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True)
    return any(line.endswith(f" sh {group}") for line in listed.stdout.splitlines())


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        if Path("/proc").is_dir() and Path("/proc/self").exists():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_file_that_changes_under_a_waiting_run_changes_nothing_there(flows: Flows):
    flows.worker()
    text = """
        steps:
          - {id: ask, action: human.task, with: {prompt: "Go?"}}
          - {id: tell, depends: ask, run: echo VERSION, output: TOLD}
        """
    file = flows.write(text.replace("VERSION", "old"))
    run_id = flows.start(file)
    assert [one["step"] for one in flows.rest(run_id)["waiting"]] == ["ask"]

    flows.write(text.replace("VERSION", "new").replace("id: tell", "id: say"))
    flows.app.Run(run_id).approve("ask", by="ann")

    document = flows.rest(run_id)
    assert (statuses(document), document["outputs"]) == ({"ask": "succeeded", "tell": "succeeded"}, {"TOLD": "old"})


def test_a_run_keeps_the_variables_of_the_worker_that_it_has_worked_with(flows: Flows, monkeypatch: pytest.MonkeyPatch):
    """It goes on in a worker with others, behind a change of the `.env` file, and comes to the same values."""
    monkeypatch.setenv("STAGE", "one")
    worker = flows.worker()
    file = flows.write("""
        dotenv: ["${env.STAGE}.env"]
        env: {PLACE: "$STAGE/$CITY", CITY: nowhere}
        preconditions: [{condition: "$STAGE", expected: one}]
        steps:
          - id: kept
            preconditions: [{condition: "${env.CITY}", expected: Rome}]
            action: state.set
            with: {key: place, value: "$PLACE in $CITY"}
          - id: ask
            depends: kept
            action: human.task
            with: {prompt: "Go on in $CITY?"}
          - id: after
            depends: ask
            output: {place: "$PLACE in $CITY", kept: "${kept.outputs.value}"}
          - id: tell
            depends: after
            action: outputs.write
            with: {values: {now: "${after.outputs.place}", then: "${after.outputs.kept}"}}
        """)
    (file.parent / "one.env").write_text("CITY=Rome\n")
    run_id = flows.start(file)
    assert [one["prompt"] for one in flows.rest(run_id)["waiting"]] == ["Go on in Rome?"]

    flows.kill_worker(worker)
    monkeypatch.setenv("STAGE", "two")
    (file.parent / "one.env").write_text("CITY=Oslo\n")
    (file.parent / "two.env").write_text("CITY=Bern\n")
    flows.worker()
    flows.app.Run(run_id).approve("ask", by="ann")
    document = flows.rest(run_id)

    assert document["status"] == "succeeded", document["error"]
    assert document["outputs"] == {"now": "two/$CITY in Bern", "then": "one/$CITY in Rome"}


def test_a_step_ends_at_its_timeout_with_all_that_it_has_started(flows: Flows):
    flows.worker()
    document = flows.run("""
        steps:
          - id: slow
            run: "sh -c 'echo $$ > inner; exec sleep 600' & sleep 600"
            timeout_sec: 3
          - id: daemon
            run: "sh -c 'echo $$ > left; exec sleep 600' > /dev/null 2>&1 & echo gone on"
            timeout_sec: 60
        """)
    found = {step["id"]: step for step in document["steps"]}
    assert (found["slow"]["status"], found["daemon"]["status"]) == ("failed", "succeeded")
    assert "longer than 3 s" in found["slow"]["error"]
    pids = [int((flows.folder / "flow" / name).read_text()) for name in ("inner", "left")]
    flows.until(lambda: not any(_lives(pid) for pid in pids))


def test_a_cancel_ends_the_command_and_runs_the_handler(flows: Flows):
    flows.worker()
    file = flows.write("""
        handler_on:
          abort: {run: echo stopped > stopped.txt}
        steps:
          - {id: long, run: echo $$ > pid; exec sleep 600}
          - {id: after, depends: long, run: echo never}
        """)
    run_id = flows.start(file)
    pid = file.parent / "pid"
    flows.until(lambda: pid.exists() and pid.read_text().strip())

    flows.app.Run(run_id).cancel("no more")
    document = flows.rest(run_id)

    assert (document["status"], set(statuses(document).values()) - {"succeeded"}) == ("aborted", {"aborted"})
    assert (file.parent / "stopped.txt").read_text() == "stopped\n"
    flows.until(lambda: not _lives(int(pid.read_text())))


def test_a_run_has_a_time_of_its_own(flows: Flows):
    flows.worker()
    document = flows.run("""
        timeout_sec: 1
        steps:
          - {id: wait, action: wait.duration, with: {duration: 10m}}
        """)
    assert (document["status"], statuses(document)) == ("failed", {"wait": "aborted"})
    assert "longer than its timeout" in document["error"]


def test_a_command_in_doubt_is_asked_about_instead_of_repeated(flows: Flows):
    flows.worker()
    file = flows.write("""
        shell: SHELL
        steps:
          - {id: pay, run: echo paid, doubt: ask, output: PAID}
          - {id: send, run: echo sent, doubt: ask, output: SENT}
        """)
    flows.kill_in({"pay", "send"})
    run_id = flows.start(file)
    asked = flows.rest(run_id)["waiting"]
    assert {one["step"] for one in asked} == {"pay", "send"}

    flows.app.Run(run_id).approve("pay", by="ann", data={"answer": "done", "result": "paid by hand"})
    flows.app.Run(run_id).approve("send", by="ann", data={"answer": "repeat"})
    document = flows.rest(run_id)

    assert document["outputs"] == {"PAID": "paid by hand", "SENT": "sent"}
    assert flows.ledger() == {"pay": 1, "send": 2}


def test_a_command_with_a_memo_is_paid_for_once(flows: Flows):
    flows.worker()
    text = "params: {n: 1}\nshell: SHELL\nsteps: [{id: pay, run: 'echo $RANDOM ${params.n}', memo: 1h, output: PAID}]"
    file = flows.write(text)
    first, again, other = (flows.rest(flows.start(file, n=n))["outputs"]["PAID"] for n in (1, 1, 2))
    assert first == again != other
    assert flows.ledger() == {"pay": 2}


def test_the_memo_keeps_no_failure_and_no_condition(flows: Flows):
    """A command that fails once is tried again, and a condition is about now."""
    flows.worker()
    file = flows.write(
        """
        shell: SHELL
        steps:
          - id: pay
            preconditions: test ! -e shut
            run: if [ -e there ]; then echo paid; else touch there; exit 3; fi
            memo: 1h
            retry_policy: {limit: 1, interval_sec: 0}
            output: PAID
        """
    )
    assert flows.rest(flows.start(file))["outputs"] == {"PAID": "paid"}
    (file.parent / "shut").touch()
    assert [one["status"] for one in flows.rest(flows.start(file))["steps"]] == ["skipped"]
