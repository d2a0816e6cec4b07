"""Commands of flows: values that stay text, secrets that are nowhere, output that is too long, queues of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from liteq.serialization import decode

from .running import Flows, statuses

pytestmark = pytest.mark.timeout(240)  # processes that are started, and killed, on a loaded machine

NASTY = "$(touch pwned) `touch pwned` \"; touch pwned; ' && touch pwned\nsecond line $HOME ${env.HOME}"


def test_a_param_stays_text_wherever_it_stands(shared: Flows):
    document = shared.run(
        """
        params: {given: ""}
        steps:
          - {id: bare, run: "printf '%s' ${params.given}", output: BARE}
          - {id: double, run: 'printf "%s" "${params.given}"', output: DOUBLE}
          - id: single
            run: |
              printf '%s' '${params.given}'
            output: SINGLE
          - id: lines
            run: |
              cat <<END
              ${params.given}
              END
            output: LINES
          - {id: own, run: 'printf "%s" "$given"', output: OWN}
          - {id: of_env, env: [{COPY: "${params.given}"}], run: 'printf "%s" "$COPY"', output: COPIED}
          - {id: file, action: file.write, with: {path: given.txt, content: "${params.given}"}}
        """,
        "nasty", given=NASTY,
    )  # fmt: skip
    folder = shared.folder / "nasty"
    assert set(document["outputs"].values()) == {NASTY}
    assert (folder / "given.txt").read_text() == NASTY
    assert not (folder / "pwned").exists()


def test_a_secret_is_in_the_command_and_nowhere_in_the_file(flows: Flows, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OF_THE_WORKER", "s3cr3t-value")
    (flows.folder / "key").write_text("k3y-value\n")
    flows.worker()
    document = flows.run(f"""
        secrets:
          - {{name: TOKEN, provider: env, key: OF_THE_WORKER}}
          - {{name: KEY, provider: file, key: {flows.folder}/key}}
        steps:
          - id: use
            run: |
              echo "$TOKEN and $KEY"
              echo "$TOKEN" >&2
              printf '%s' "$TOKEN$KEY" | wc -c
            output: SAID
          - {{id: write, action: file.write, with: {{path: "of-${{env.TOKEN}}.txt", content: x}}}}
          - {{id: path, depends: write, run: "basename ${{write.path}}; test ${{write.bytes}} = 1", output: FILE}}
        """)
    assert document["outputs"]["SAID"].split("\n") == ["******* and *******", "21"]
    assert document["outputs"]["FILE"] == "of-*******.txt"
    assert (flows.folder / "flow" / "of-s3cr3t-value.txt").read_text() == "x"
    flows.stop()
    flows.app.close()
    files = [one for one in flows.folder.glob("queue.db*") if one.is_file()]
    assert not [one for one in files for secret in (b"s3cr3t-value", b"k3y-value") if secret in one.read_bytes()]


def test_a_secret_is_hidden_in_the_error_of_any_library(shared: Flows, tmp_path: Path):
    """The library of http quotes an address that it refuses: a space in it, and the key beside that."""
    (tmp_path / "key").write_text("k3y-of-the-address")
    document = shared.run(
        f"""
        secrets: [{{name: KEY, provider: file, key: {tmp_path / "key"}}}]
        steps:
          - id: ask
            action: http.request
            with: {{method: GET, url: "http://127.0.0.1:9/?q=a b&key=${{env.KEY}}"}}
        """,
        "address",
    )
    assert "URL can't contain control characters. '/?q=a b&key=*******'" in document["error"]
    assert "k3y-of-the-address" not in str(document) + shared.app.Run(document["id"]).info().error


def test_a_secret_that_is_not_there_fails_its_step_by_name(shared: Flows):
    document = shared.run(
        """
        secrets: [{name: TOKEN, provider: env, key: NOT_SET_ANYWHERE}]
        steps: [{id: use, run: echo "$TOKEN"}]
        """,
        "unset",
    )
    assert "env:NOT_SET_ANYWHERE" in document["steps"][0]["error"]


def test_long_output_is_an_artifact_in_the_file(shared: Flows):
    document = shared.run("steps: [{id: big, run: \"head -c 1500000 /dev/zero | tr '\\\\0' x\", output: BIG}]", "big")
    artifact = json.loads(document["outputs"]["BIG"])["artifact"]
    chunks, _ = shared.app.storage.streams.chunks(artifact["id"], artifact["stream"], after=0, limit=1_000)
    assert "".join(decode(one.data) for one in chunks) == "x" * artifact["bytes"] == "x" * 1_500_000


def test_what_a_step_says_is_the_log_of_its_message(shared: Flows):
    document = shared.run('steps: [{id: talk, run: "echo hello; echo trouble >&2; exit 3"}]', "talk")
    assert document["steps"][0]["exit_code"] == 3
    (step,) = [one for one in shared.app.Run(document["id"]).steps() if one.key == "talk"]
    assert step.child_id is not None
    chunks, _ = shared.app.storage.streams.chunks(step.child_id, "liteq.log", after=0, limit=100)
    lines = [decode(one.data) for one in chunks]
    assert {(one["logger"], one["message"]) for one in lines} >= {("stdout", "hello"), ("stderr", "trouble")}


def test_a_worker_without_commands_takes_none(flows: Flows):
    plain = flows.worker_without_commands()
    run_id = flows.start(flows.write("steps: [{id: one, run: echo hello, output: SAID}]"))
    flows.until(lambda: flows.waits_in("celery#commands"), flows.said)
    assert statuses(flows.report(run_id)) == {"one": "waiting"}

    flows.worker()
    assert flows.rest(run_id)["outputs"] == {"SAID": "hello"}
    assert plain.poll() is None


def test_a_script_has_its_own_interpreter(shared: Flows):
    document = shared.run(
        """
        steps:
          - id: script
            run: |
              #!/usr/bin/env python3
              import os
              print("python", os.environ["DAG_RUN_STEP_NAME"])
            output: SAID
          - {id: list, run: [echo one, echo two], output: LIST}
          - {id: stops, run: [echo one, "false", echo two]}
          - {id: program, action: exec, with: {command: echo, args: ["$(not run)"]}, output: PROGRAM}
        """,
        "script",
    )
    assert document["outputs"] == {"SAID": "python script", "LIST": "one\ntwo", "PROGRAM": "$(not run)"}
    assert statuses(document)["stops"] == "failed"


def test_flows_remember_from_run_to_run(shared: Flows):
    text = """
        steps:
          - {id: before, action: state.get, with: {key: cursor, default: 0}, output: BEFORE}
          - {id: set, depends: before, action: state.set, with: {key: cursor, value: {at: 7}}}
          - {id: again, depends: set, action: state.diff, with: {key: cursor, value: {at: 7}}}
          - {id: twice, depends: set, action: state.set, with: {key: cursor, value: 1, create_only: true}}
        """
    first, second = shared.run(text, "memory"), shared.run(text, "memory")
    assert (first["outputs"]["BEFORE"], json.loads(second["outputs"]["BEFORE"])) == ("0", {"at": 7})
    assert statuses(second) == {"before": "succeeded", "set": "succeeded", "again": "succeeded", "twice": "failed"}


def test_files_beside_a_flow_are_its_sub_flows(shared: Flows):
    folder = shared.folder / "beside"
    folder.mkdir()
    (folder / "child.yaml").write_text(
        "params: {n: 1}\nsteps: [{id: work, run: 'echo $(( ${params.n} + 1 ))', output: N}]"
    )
    document = shared.run(
        "steps: [{id: call, action: dag.run, with: {dag: child, params: {n: 41}}, output: GOT}]", "beside"
    )
    assert json.loads(document["outputs"]["GOT"]) == {"N": "42"}
    assert statuses(document) == {"call": "succeeded", "call/work": "succeeded"}


def test_the_folder_of_artifacts_is_beside_the_file(shared: Flows):
    document = shared.run("steps: [{id: keep, run: 'echo kept > ${context.paths.artifacts_dir}/kept.txt'}]", "keep")
    (kept,) = Path(f"{shared.folder}/queue.db-flows").glob(f"{document['id']}/artifacts/kept.txt")
    assert kept.read_text() == "kept\n"


def test_a_flow_waits_for_its_earlier_runs(shared: Flows):
    file = shared.write(
        """
        max_active_runs: 1
        steps: [{id: go, event: go}, {id: after, depends: go, run: echo done, output: SAID}]
        """,
        "alone",
    )
    first, second = shared.start(file), shared.start(file)
    assert [one["step"] for one in shared.rest(first)["waiting"]] == ["go"]
    assert shared.report(second)["waiting"] == []

    shared.app.Run(first).send("go")
    assert shared.rest(first)["outputs"] == {"SAID": "done"}
    assert [one["step"] for one in shared.rest(second)["waiting"]] == ["go"]


def test_steps_are_tasks_of_an_app(flows: Flows):
    (flows.folder / "shop.py").write_text(
        "import time\nfrom liteq import LiteQ\nfrom liteq.workflow import ctx\napp = LiteQ('shop')\n"
        "@app.task(name='add')\ndef add(a, b): return {'sum': a + b}\n"
        "@app.task(name='slow')\ndef slow(): time.sleep(600)\n"
        "@app.workflow(name='double')\ndef double(n): return n * 2\n"
        "async def think(prompt): return prompt.upper()\n"
    )
    flows.worker("-A", "shop", folder=flows.folder)
    document = flows.run("""
        steps:
          - {id: add, task: add, with: {a: 2, b: 3}}
          - {id: double, depends: add, workflow: double, with: {n: "${steps.add.outputs.sum}"}, output: N}
          - {id: think, agent: "shop:think", with: {prompt: "of ${steps.add.outputs.sum}"}, depends: add, output: SAID}
          - {id: slow, task: slow, timeout: 1s, priority: 3, continue_on: failed}
        """)
    assert document["outputs"] == {"N": "10", "SAID": "OF 5"}
    errors = {one["id"]: one.get("error", "") for one in document["steps"]}
    assert "TimeLimitExceeded" in errors["slow"], errors


def test_each_item_of_parallel_gives_what_its_command_wrote(shared: Flows):
    document = shared.run(
        """
        params: {names: '["x", "y z"]'}
        steps:
          - {id: each, parallel: "${params.names}", run: 'echo "<${ITEM}>"', output: SAID}
          - {id: second, depends: each, run: 'echo "${each.outputs.outputs[1].SAID}"', output: SECOND}
        """,
        "items",
    )
    assert json.loads(document["outputs"]["SAID"])["outputs"] == [{"SAID": "<x>"}, {"SAID": "<y z>"}]
    assert document["outputs"]["SECOND"] == "<y z>"


def test_the_whole_ends_no_earlier_than_its_parts(shared: Flows):
    document = shared.run(
        """
        steps:
          - {id: each, foreach: {items: [a], steps: [{id: one, run: echo}]}}
          - {id: call, action: dag.run, with: {dag: inner}}
        ---
        name: inner
        steps: [{id: deep, run: echo}]
        """,
        "ends",
    )
    finished = {one["id"]: one["finished"] for one in document["steps"]}
    assert finished["each"] >= finished["each[0]/one"]
    assert finished["call"] >= finished["call/deep"]


def test_a_run_knows_of_itself_what_its_commands_do(shared: Flows):
    document = shared.run(
        """
        env: {LOG: "$DAG_RUN_ID.log"}
        steps:
          - {id: one, run: echo one, preconditions: [{condition: "$DAG_NAME", expected: itself}], output: ONE}
          - {id: told, run: 'echo "$LOG $DAG_RUN_STEP_NAME $DAG_RUN_STATUS"', output: SAID}
          - {id: kept, action: outputs.write, with: {values: {log: "$LOG", step: "${DAG_RUN_STEP_NAME}"}}}
        """,
        "itself",
    )
    log = f"{document['id']}.log"
    assert document["outputs"] == {"ONE": "one", "SAID": f"{log} told running", "log": log, "step": "kept"}


def test_the_jobs_of_a_run_are_asked_for_as_ever(shared: Flows):
    """One that began under an older liteq is stuck where they bear another variable while it runs."""
    document = shared.run("steps: [{id: one, run: echo one}]", "ever")
    job = next(one.child_id for one in shared.app.Run(document["id"]).steps() if one.kind == "spawn")
    args, _ = decode(shared.app.storage.reader.find(job).payload)
    assert [name for name, _ in args[0]["context"]] == [
        "DAG_NAME", "DAG_RUN_ID", "LITEQ_RUN_ID", "LITEQ_FLOW", "DAG_PARAMS_JSON", "DAG_RUN_STEP_NAME", "LITEQ_STEP",
    ]  # fmt: skip


def test_a_value_stays_one_among_the_params_of_a_called_flow(shared: Flows):
    """Whichever form they have: words, a list, JSON. A blank in it began another word, a quote ended the text."""
    document = shared.run(
        """
        params: {who: "ann 'and mode=loud", json: 'ann", "mode": "loud', number: 7}
        steps:
          - {id: a, action: dag.run, with: {dag: kid, params: "who=${params.who} mode=calm"}, output: A}
          - {id: b, action: dag.run, with: {dag: kid, params: [{mode: calm}, "who=${params.who}"]}, output: B}
          - {id: c, action: dag.run, with: {dag: kid, params: '{"who": "${params.json}", "mode": "calm"}'}, output: C}
          - {id: d, action: dag.run, with: {dag: kid, params: '{"who":"a=b","mode":${params.number}}'}, output: D}
        ---
        name: kid
        params: [{name: who, type: string}, {name: mode, default: none}]
        steps: [{run: 'echo "$who, $mode"', output: SAID}]
        """,
        "words",
    )
    said = {name: json.loads(one)["SAID"] for name, one in document["outputs"].items()}
    assert said == {
        "A": "ann 'and mode=loud, calm", "B": "ann 'and mode=loud, calm", "C": 'ann", "mode": "loud, calm',
        "D": "a=b, 7",
    }, document  # fmt: skip


def test_the_signs_of_a_template_in_a_value_read_no_variable_of_the_worker(shared: Flows):
    """They stand for `${env.NAME}` on the way to a job: a param could ask for a secret so."""
    document = shared.run(
        """
        params: {given: ""}
        steps: [{id: bare, run: "printf '%s' ${params.given}", output: BARE}]
        """,
        "marks", given="\ue001HOME\ue002",
    )  # fmt: skip
    assert document["outputs"]["BARE"] == "\ufffdHOME\ufffd"


@pytest.mark.parametrize("step", ['run: "echo $((N + 1))"', 'env: [{M: "$n"}], run: "echo $((M + 1))"'])
def test_a_variable_of_env_that_a_shell_computes_with_is_a_number(shared: Flows, step: str):
    text = """
        params: {n: 1}
        env: {N: "${params.n}", FIXED: "0x2a"}
        steps:
          - {id: work, shell: bash, %s, output: SUM}
          - {id: fixed, depends: work, run: "echo $((FIXED))", output: FIXED_SUM}
    """
    document = shared.run(text % step, "computed", n=41)
    assert document["outputs"] == {"SUM": "42", "FIXED_SUM": "42"}
    assert shared.run(text % step, "computed", n="x[$(touch pwned)]")["status"] == "failed"
    assert not (shared.folder / "computed" / "pwned").exists()


def test_a_value_that_is_too_long_for_a_variable_fails_the_step(shared: Flows):
    document = shared.run(
        """
        params: {given: ""}
        steps: [{id: bare, run: "printf '%s' ${params.given}"}]
        """,
        "long", given="x" * 125_000,
    )  # fmt: skip
    assert document["status"] == "failed"
    assert "write it into a file" in json.dumps(document)
