"""Flows that fail by a value, by their own gate, or by the time of the step around them."""

from __future__ import annotations

import pytest

from liteq_flow.here import queues_of
from liteq_flow.running import body

from .running import Flows, statuses

pytestmark = pytest.mark.timeout(240)  # processes that are started on a loaded machine


def test_a_value_that_is_no_pattern_fails_its_step_alone(shared: Flows):
    document = shared.run(
        """
        params: {wanted: "re:("}
        steps:
          - id: gate
            preconditions: [{condition: x, expected: "${params.wanted}"}]
            run: echo never
          - {id: route, action: router.route, with: {value: x, routes: {"${params.wanted}": [chosen]}}}
          - {id: chosen, run: echo never}
          - {id: beside, run: echo beside}
        handler_on: {failure: {run: echo failed}}
        """,
        "pattern",
    )
    assert statuses(document) == {
        "gate": "failed", "route": "failed", "chosen": "upstream_failed", "beside": "succeeded",
        "handler_on.failure": "succeeded",
    }  # fmt: skip
    assert "'re:(' is no pattern" in document["error"]


def test_a_gate_that_cannot_be_tested_fails_the_flow_with_its_handlers(shared: Flows):
    document = shared.run(
        """
        preconditions: [{condition: "${env.NOBODY_SETS_THIS}", expected: "1"}]
        steps: [{id: work, run: echo never}]
        handler_on: {failure: {run: echo failed}, exit: {run: echo over}}
        """,
        "gated",
    )
    assert document["status"] == "failed"
    assert statuses(document) == {
        "work": "upstream_failed", "handler_on.failure": "succeeded", "handler_on.exit": "succeeded",
    }  # fmt: skip
    assert "NOBODY_SETS_THIS" in document["error"]


def test_no_attempt_is_waited_for_that_would_begin_behind_the_timeout_around_it(shared: Flows):
    """Neither the next try of a step nor its next turn: both would go on long after, or for ever."""
    document = shared.run(
        """
        steps:
          - {id: tries, action: dag.run, timeout_sec: 200, with: {dag: again}}
          - {id: turns, action: dag.run, timeout_sec: 200, with: {dag: on}}
        ---
        name: again
        steps: [{id: fails, run: exit 3, retry_policy: {limit: 3, interval_sec: 600}}]
        ---
        name: on
        steps:
          - id: looks
            run: echo not yet
            output: FOUND
            repeat_policy: {repeat: until, condition: "$FOUND", expected: there, interval_sec: 600}
        """,
        "late",
    )
    found = {step["id"]: (step["status"], step["attempts"], step["exit_code"]) for step in document["steps"]}
    assert found["tries/fails"] == ("failed", 1, 3)
    assert found["turns/looks"] == ("failed", 1, 0)
    assert "the timeout of the step that runs it is over" in document["error"]


def test_a_flow_remembers_a_whole_number_of_any_size(shared: Flows):
    document = shared.run(
        """
        type: chain
        steps:
          - {id: put, action: state.set, with: {key: wei, value: 100000000000000000000}}
          - {id: look, action: state.get, with: {key: wei}}
          - {id: tell, action: outputs.write, with: {values: {wei: "${look.outputs.value}"}}}
        """,
        "chain_of_blocks",
    )
    assert document["outputs"] == {"wei": 10**20}


def test_here_takes_the_queue_of_what_undoes_a_step(flows: Flows):
    file = flows.write("steps: [{id: pay, run: echo, compensate: {run: echo back, queue: undoing}}]")
    assert "undoing" in queues_of(flows.app, flows.start(file))


def test_a_run_looks_at_those_that_were_started_before_it(flows: Flows, monkeypatch: pytest.MonkeyPatch):
    """However many have been started since."""
    file = flows.write("max_active_runs: 1\nsteps: [{id: one, run: echo}]")
    runs = [flows.start(file) for _ in range(5)]
    monkeypatch.setattr(body, "LOOKED_AT", 2)
    assert [body.earlier(flows.app, one, "flow:flow") for one in runs] == [0, 1, 2, 2, 2]


def test_each_flow_has_the_handlers_that_it_says(shared: Flows):
    """Also one that another calls; each is told how its own flow has ended."""
    file = shared.write(
        """
        type: chain
        steps:
          - {id: call, action: dag.run, with: {dag: kid}, continue_on: failed}
          - {id: idle, action: dag.run, with: {dag: calm}}
          - {id: look, run: "sort told | tr '\\n' ' '", output: TOLD}
        handler_on:
          wait: {run: echo outer waits >> told}
          success: {run: 'echo "outer $DAG_RUN_STATUS" >> told'}
        ---
        name: kid
        steps: [{id: ask, action: human.task, with: {prompt: "Go?"}}]
        handler_on:
          wait: {run: echo inner waits >> told}
          failure: {run: 'echo "inner $DAG_RUN_STATUS" >> told'}
        ---
        name: calm
        steps: [{id: one, run: echo one}]
        handler_on: {wait: {run: echo calm waits >> told}}
        """,
        "handled",
    )
    run_id = shared.start(file)
    shared.rest(run_id)
    told = file.parent / "told"
    shared.until(lambda: told.exists() and len(told.read_text().splitlines()) == 2)
    shared.app.Run(run_id).approve("call/ask", False, by="ann")
    document = shared.rest(run_id)
    assert document["outputs"] == {"TOLD": "inner failed inner waits outer waits"}, document
    assert told.read_text().splitlines()[-1] == "outer succeeded"


def test_a_step_that_has_failed_leaves_what_it_wrote(shared: Flows):
    """For those that go on after it: by its id as by its variable, and how each item of a loop has ended."""
    document = shared.run(
        """
        steps:
          - {id: build, run: "echo 5 warnings; exit 3", output: SAID, continue_on: failed}
          - id: each
            foreach: {items: [1, 2], steps: [{run: "test ${foreach.item} = 1"}]}
            continue_on: failed
          - id: tell
            depends: [build, each]
            run: echo "$SAID ${build.outputs.SAID} ${each.outputs.summary.failed} ${each.outputs.items[1].status}"
            output: TOLD
        """,
        "left",
    )
    assert document["outputs"] == {"TOLD": "5 warnings 5 warnings 1 failed"}, document


def test_a_step_finds_its_own_outputs_when_it_has_run(shared: Flows):
    document = shared.run(
        """
        steps:
          - id: poll
            run: 'echo x >> looks; echo "{\\"left\\": $((3 - $(wc -l < looks)))}"; wc -l < looks > seen'
            output: {left: {from: stdout, decode: json, select: .left}, seen: {from: file, path: seen}}
            repeat_policy: {repeat: until, condition: "${poll.outputs.left}", expected: "0", limit: 9}
          - {id: ship, depends: poll, run: echo 7, output: N, approval: {prompt: "Ship $N, ${ship.outputs.N}?"}}
          - {id: tell, depends: poll, run: 'echo "${poll.left} ${poll.seen}"', output: TOLD}
        """,
        "own",
    )
    assert document["outputs"] == {}, document
    assert [one["prompt"] for one in document["waiting"]] == ["Ship 7, 7?"]
    shared.app.Run(document["id"]).approve("ship", by="ann")
    assert shared.rest(document["id"])["outputs"] == {"N": "7", "TOLD": "0 3"}


@pytest.mark.parametrize(
    ("policy", "status", "attempts"),
    [
        ("retry_policy: {limit: '${params.n}', interval_sec: '${params.pause}'}", "failed", 3),
        ("retry_policy: {limit: '${params.number}'}", "failed", 2),
        ("retry_policy: {limit: '${params.pause}'}", "failed", 0),
        ("retry_policy: {limit: 1, interval_sec: '${params.often}'}", "failed", 0),
        ("repeat_policy: {repeat: while, exit_code: 3, limit: 2}", "failed", 2),  # never ready
        ("repeat_policy: {repeat: until, exit_code: 3, limit: 2}", "succeeded", 1),
    ],
)
def test_how_often_a_step_runs_is_said_in_the_file_or_by_a_value(
    policy: str, status: str, attempts: int, shared: Flows
):
    document = shared.run(
        f"""
        params: ["n=2", pause=10ms, often=very, {{name: number, type: number, default: "1"}}]
        steps:
          - id: work
            run: exit 3
            {policy}
        """,
        "often",
    )
    [step] = document["steps"]
    assert (step["status"], step["attempts"]) == (status, attempts)
    if not attempts:
        assert "is a whole number, not '10ms'" in step["error"] or "'very' is no time" in step["error"]
