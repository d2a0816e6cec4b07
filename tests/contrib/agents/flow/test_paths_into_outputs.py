"""Forms of older files: paths into the JSON that `output: NAME` took, and flows that `run: NAME` with params calls."""

from __future__ import annotations

import json

import pytest

from liteq_flow.errors import FlowRefused
from liteq_flow.reader.reading import read

from .running import Flows

pytestmark = pytest.mark.timeout(240)

TEXT = """
steps:
  - name: config
    command: |
      echo '{"db": {"host": "h", "user": "it is $(id) and \\"mine\\""}, "tags": ["a", "b"]}'
    output: CONFIG
  - name: use
    depends: config
    command: echo "${CONFIG.db.host}-${CONFIG.tags[1]}-${CONFIG.tags}-"'${CONFIG.db.user}'
    output: USED
  - name: fan
    run: region
    depends: config
    parallel: {items: [{region: eu}, {region: us}], maxConcurrent: 1}
    params: "REGION=${ITEM.region} HOST=${CONFIG.db.host}"
    output: FAN
  - name: one
    call: region
    params: REGION=one
    output: ONE
  - name: told
    depends: [fan, one]
    command: echo "${FAN.summary.total} ${FAN.outputs[1].WHERE} ${ONE.outputs.WHERE} ${ONE.WHERE}"
    output: TOLD
---
name: region
params: "REGION=x HOST=nowhere"
steps:
  - command: echo "$REGION@$HOST"
    output: WHERE
"""


def test_a_path_goes_into_what_a_step_has_written(shared: Flows) -> None:
    shared.forget()
    document = shared.rest(shared.start(shared.write(TEXT, "older")))
    assert document["status"] == "succeeded", document
    outputs = document["outputs"]
    assert isinstance(outputs, dict)
    assert outputs["USED"] == 'h-b-["a","b"]-it is $(id) and "mine"'
    assert outputs["TOLD"] == "2 us@h one@nowhere one@nowhere"


@pytest.mark.parametrize(
    ("written", "told"),
    [("no json", "`output: SAID` is no JSON"), (json.dumps({"b": 1}), "there is no 'a'")],
)
def test_a_path_to_nothing_fails_its_step_with_the_reason(shared: Flows, written: str, told: str) -> None:
    shared.forget()
    said = f"  - id: say\n    run: |\n      echo '{written}'\n    output: SAID\n"
    text = f"type: chain\nsteps:\n{said}  - run: echo ${{SAID.a}}\n"
    document = shared.rest(shared.start(shared.write(text, "nothing")))
    assert document["status"] == "failed"
    assert told in str(document["error"])


@pytest.mark.parametrize(
    ("use", "told"),
    [
        ("${RESULT.a}", "which is not before this one; add it to `depends`"),
        ("${RESULTS.a}", "there is no 'RESULTS'; did you mean 'RESULT'"),
    ],
)
def test_a_path_that_can_go_nowhere_is_refused(use: str, told: str) -> None:
    with pytest.raises(FlowRefused, match=told):
        read(f"steps:\n  - id: first\n    run: echo 1\n    output: RESULT\n  - run: echo {use}\n", "f.yaml")


def test_text_that_names_no_output_stays_text() -> None:
    found = read("steps:\n  - run: |\n      cat <<'EOF'\n      ${user.name}\n      EOF\n", "f.yaml")
    assert "${user.name}" in repr(found)


def test_a_command_that_is_the_name_of_a_flow_is_noted() -> None:
    [note] = read("steps:\n  - run: region\n---\nname: region\nsteps:\n  - run: x\n", "f.yaml").notes
    assert (note.line, note.path) == (2, "steps[0].run")
    assert "`call: region` runs the flow" in note.what


@pytest.mark.parametrize(
    ("where", "path"),
    [
        (
            "preconditions:\n  - {condition: '`date +%u`', expected: 're:[1-7]'}\nsteps:\n  - run: x\n",
            "preconditions[0]",
        ),
        (
            "steps:\n  - run: x\n    preconditions:\n      - {condition: $(date +%u), expected: '7'}\n",
            "steps[0].preconditions[0]",
        ),
        (
            "steps:\n  - run: x\n    repeat_policy: {repeat: while, condition: '`cat state`', expected: busy}\n",
            "steps[0].repeat_policy.condition",
        ),
    ],
)
def test_a_command_in_a_text_that_is_compared_is_refused(where: str, path: str) -> None:
    """It was compared as it stands, so its steps were skipped each night, and the run had succeeded."""
    with pytest.raises(FlowRefused) as refused:
        read(where, "f.yaml")
    [problem] = refused.value.problems
    assert problem.path == path
    assert "let a step before write the value" in problem.what


def test_a_command_in_a_param_is_noted_and_a_handler_of_cancel_is_that_of_abort() -> None:
    text = "params:\n  - DAY: '`date +%F`'\nhandlerOn:\n  cancel:\n    command: echo c\nsteps:\n  - run: x\n"
    found = read(text, "f.yaml")
    [note] = found.notes
    assert "DAY is a text, in which no command is run" in note.what
    assert list(found.flows[0].handlers) == ["abort"]


def test_a_schedule_that_would_end_a_run_is_refused_with_a_way_out() -> None:
    with pytest.raises(
        FlowRefused, match="'stop' is not known here: a schedule cannot stop a run: give the flow a `timeout_sec`"
    ):
        read("schedule:\n  start: ['0 8 * * *']\n  stop: ['0 10 * * *']\nsteps:\n  - run: x\n", "f.yaml")
