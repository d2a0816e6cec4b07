"""Mistakes in a flow are told with its line, its path and the nearest word, before anything runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from liteq_flow import FlowRefused, read

# Each: the file, the line of what is wrong, its path, and a part of what is said.
BROKEN = {
    "a key twice": (
        "steps:\n  - run: a\n    env: {A: 1}\n    run: b\n", 4, "steps[0].run", "stands twice; the first is in line 2",
    ),
    "an id twice": (
        "steps:\n  - {id: a, run: x}\n  - id: b\n    run: x\n  - id: a\n    run: y\n",
        5, "steps[2].id", "'a' stands twice",
    ),
    "a reserved id": ("steps:\n  - run: x\n    id: params\n", 3, "steps[0].id", "a meaning of its own"),
    "a cycle": (
        "steps:\n  - {id: a, run: x, depends: c}\n  - {id: b, run: x, depends: a}\n  - {id: c, run: x, depends: b}\n",
        2, "steps[0].depends", "a after c after b after a",
    ),
    "no steps": ("description: nothing\nsteps: []\n", 2, "steps", "the list is empty"),
    "steps by their names": (
        "steps:\n  build: {run: x}\n  test: {run: y, depends: build}\n", 1, "steps", "write `- id: NAME`",
    ),
    "a list among the steps": (
        "steps:\n  - run: x\n  - - run: y\n    - run: z\n", 3, "steps[1]", "stand in the list as others",
    ),
    "a question without an id": (
        "steps:\n  - name: ask\n    action: human.task\n    with: {prompt: 'Go on?'}\n", 2, "steps[0]", "needs an `id`",
    ),
    "an unknown word": (
        "steps:\n  - id: a\n    run: x\n    dependz: [b]\n", 4, "steps[0].dependz", "did you mean 'depends'?",
    ),
    "an unknown step": (
        "steps:\n  - {id: build, run: x}\n  - id: deploy\n    run: y\n    depends: [biuld]\n",
        5, "steps[1].depends", "no step 'biuld'; did you mean 'build'?",
    ),
    "an unknown action": (
        "steps:\n  - action: http.reqest\n    with: {method: GET, url: http://x}\n",
        2, "steps[0].action", "did you mean 'http.request'?",
    ),
    "a queue that is no name": (
        "params: {q: mail}\nsteps:\n  - run: x\n    queue: ${params.q}\n", 4, "steps[0].queue", "written out",
    ),
    "two things in one step": ("steps:\n  - run: x\n    action: noop\n", 2, "steps[0]", "one thing: `run` or `action`"),
    "a container": (
        "container: {image: alpine}\nsteps:\n  - run: x\n", 1, "container", "use `task:`",
    ),
    "a wrong kind": ("steps:\n  - run: x\n    timeout_sec: [5]\n", 3, "steps[0].timeout_sec", "not a list"),
    "an unknown param": (
        "params:\n  region: eu\nsteps:\n  - run: |\n      echo hi\n      echo ${params.regoin}\n",
        4, "steps[0].run", "no param 'regoin'; did you mean 'region'?",
    ),
    "an output of a step that is not before it": (
        "steps:\n  - id: a\n    run: echo 1\n    output: {n: {from: stdout}}\n  - run: echo ${a.output.n}\n",
        5, "steps[1].run", "not before this one; add it to `depends`",
    ),
    "an unknown output": (
        "type: chain\nsteps:\n  - id: a\n    output: {total: 1}\n  - run: echo ${steps.a.outputs.totl}\n",
        5, "steps[1].run", "no output 'totl'; did you mean 'total'?",
    ),
    "a default that does not fit": (
        "params:\n  - name: n\n    type: integer\n    default: many\nsteps:\n  - run: x\n",
        2, "params[0]", "whole number",
    ),
    "a line of crontab": ("schedule: '0 25 * * *'\nsteps:\n  - run: x\n", 1, "schedule", "25 is not in 0-23"),
    "what would be code": (
        "params: {name: x}\nsteps:\n  - run: bash -c 'echo ${params.name}'\n", 3, "steps[0].run", "code of `bash -c`",
    ),
    "no YAML": ("steps:\n  - run: [x\n  - id: b\n", 3, "", "not YAML"),
    "a type of another program": ("type: agent\nsteps:\n  - run: x\n", 1, "type", "use `agent:` steps"),
    "a secret's value": ("secrets:\n  TOKEN: hunter2\nsteps:\n  - run: x\n", 2, "secrets.TOKEN", "env:NAME or file:"),
    "a second document without a name": (
        "steps:\n  - run: x\n---\nsteps:\n  - run: y\n", 4, "document 2", "needs a `name`",
    ),
    "a route to nowhere": (
        "steps:\n  - id: a\n    action: router.route\n    with:\n      value: x\n      routes:\n        y: [b]\n",
        7, "steps[0].with.routes.y", "no step 'b'",
    ),
    "an argument of an action": (
        "steps:\n  - action: http.request\n    with:\n      metod: GET\n      method: GET\n      url: http://x\n",
        4, "steps[0].with.metod", "did you mean 'method'?",
    ),
    "an item without a list": ("steps:\n  - run: echo ${ITEM.k}\n    parallel: [a]\n  - run: echo ${ITEM.k}\n", 4,
                               "steps[1].run", "there is no item here"),
    "a part of a const": (
        "consts: {host: x}\nsteps:\n  - run: echo ${consts.host.name}\n", 3, "steps[0].run", "'host' is one value",
    ),
    "an item before there is one": (
        "steps:\n  - run: echo ${ITEM}\n    parallel: [a]\n    preconditions: test ${ITEM} = a\n",
        4, "steps[0].preconditions[0]", "there is no item here",
    ),
    "an item after all of them": (
        "steps:\n  - run: echo ${ITEM}\n    parallel: [a]\n    output: {last: '${ITEM}'}\n",
        4, "steps[0].output.last", "there is no item here",
    ),
    "a param that the loader obeys": ("params: {LD_PRELOAD: x}\nsteps:\n  - run: x\n", 1, "params.LD_PRELOAD", "obey"),
    "an eval": (
        "params:\n  - name: day\n    eval: $(date)\nsteps:\n  - run: x\n", 3, "params[0].eval", "nothing is evaluated",
    ),
    "a flow that is nowhere": (
        "steps:\n  - action: dag.run\n    with: {dag: chidl}\n---\nname: child\nsteps:\n  - run: x\n",
        3, "steps[0].with.dag", "nor chidl.yaml or chidl.yml beside it; did you mean 'child'?",
    ),
    "an action without its arguments": ("steps:\n  - action: file.read\n", 2, "steps[0]", "'with' is missing"),
    "a database": ("steps:\n  - action: mysql.query\n", 2, "steps[0].action", "use `task:`"),
    "a duration": (
        "steps:\n  - action: wait.duration\n    with:\n      duration: soon\n",
        4, "steps[0].with.duration", "'soon' is no time",
    ),
    "a moment": ("steps:\n  - action: wait.until\n    with: {until: noon}\n", 3, "steps[0].with.until", "no moment"),
    "looks without a pause": (
        "steps:\n  - action: wait.file\n    with: {path: x, poll_interval: 0}\n",
        3, "steps[0].with.poll_interval", "longer than 0",
    ),
    "an address of a file": (
        "steps:\n  - action: http.request\n    with: {method: GET, url: 'file:///etc/passwd'}\n",
        3, "steps[0].with.url", "http:// or https://",
    ),
    "a template that computes": (
        "steps:\n  - action: template.render\n    with: {template: '{{ range .x }}'}\n",
        3, "steps[0].with.template", "nothing else",
    ),
    "a field that a template does not have": (
        "steps:\n  - action: template.render\n    with: {template: 'Hi {{ .nmae }}', data: {name: x}}\n",
        3, "steps[0].with.template", "did you mean 'name'?",
    ),
    "a priority": ("steps:\n  - run: x\n    priority: 1000\n", 3, "steps[0].priority", "from -100 to 255"),
    "a memo": ("steps:\n  - run: x\n    memo: soon\n", 3, "steps[0].memo", "a number with a unit"),
    "a doubt about a task": ("steps:\n  - task: pay\n    doubt: ask\n", 3, "steps[0].doubt", "a task, a workflow"),
    "a limit of a sub-flow": (
        "steps:\n  - {action: dag.run, with: {dag: x}, limits: [api]}\n---\nname: x\nsteps: [{run: y}]\n",
        2, "steps[0].limits", "belongs to a command",
    ),
    "a memo of a wait": (
        "steps:\n  - {action: wait.file, with: {path: x}, memo: 1h}\n", 2, "steps[0].memo", "a wait has no memo",
    ),
    "the time of an agent": (
        "steps:\n  - {agent: app:bot, timeout: 5m}\n", 2, "steps[0].timeout", "runs in the flow itself",
    ),
    "a queue of jobs": ("queue: mail#commands\nsteps:\n  - run: x\n", 1, "queue", "leave '#commands' out"),
    "a long name": (f"name: {'n' * 5000}\nsteps:\n  - run: x\n", 1, "name", "1 to"),
    "too many labels": (f"labels: {[f'l{n}' for n in range(60)]}\nsteps:\n  - run: x\n", 1, "labels", "not 60"),
    "no item": ("steps:\n  - run: x\n    parallel: []\n", 3, "steps[0].parallel", "there is no item"),
    "an expression": (
        "params: {n: 1}\nsteps:\n  - action: log.write\n    with: {message: 'so ${params.n + 1}'}\n",
        4, "steps[0].with.message", "no expression is evaluated",
    ),
    "a misspelt step in a reference": (
        "type: chain\nsteps:\n  - {id: build, run: x, output: {tag: {from: stdout}}}\n  - run: echo ${biuld.tag}\n",
        4, "steps[1].run", "did you mean 'build'?",
    ),
    "a secret as a reference": (
        "secrets: {TOKEN: 'env:T'}\nsteps:\n  - run: echo ${secrets.TOKEN}\n", 3, "steps[0].run", "as $TOKEN",
    ),
    "a secret that would be an output": (
        "secrets: {TOKEN: 'env:T'}\nsteps:\n  - action: outputs.write\n    with: {values: {a: '${env.T}'}}\n",
        4, "steps[0].with", "let a command use $TOKEN",
    ),
    "a secret in a question": (
        "secrets: {TOKEN: 'env:T'}\nsteps:\n  - id: ask\n    action: human.task\n    with: {prompt: 'Is it $TOKEN?'}\n",
        5, "steps[0].with", "recorded nowhere",
    ),
    "a secret that is compared": (
        "secrets: {TOKEN: 'env:T'}\nsteps:\n  - run: x\n    preconditions: [{condition: $TOKEN, expected: x}]\n",
        4, "steps[0].preconditions[0]", "recorded nowhere",
    ),
    "a secret for a task": (
        "secrets: {TOKEN: 'env:T'}\nsteps:\n  - {task: shop.pay, with: {key: $TOKEN}}\n",
        3, "steps[0].with", "recorded nowhere",
    ),
    "a bomb": (
        "steps:\n  - run: x\n    env:\n      A: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"      {b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcde", "bcdef", strict=True)),
        4, "", "more than 100,000 values",
    ),
    "a tag of Python": (
        "steps:\n  - run: !!python/object/apply:os.system ['touch ran']\n", 2, "steps[0].run", "is not known here",
    ),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
def test_a_broken_flow_is_refused_with_its_line(broken):
    text, line, path, what = broken
    with pytest.raises(FlowRefused) as refused:
        read(text, "f.yaml", has=lambda name: False)
    [problem] = refused.value.problems
    assert (problem.line, problem.path.removesuffix(": ") if path else "") == (line, path)
    assert what in problem.what
    assert str(problem).startswith(f"f.yaml:{line}: ")


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_lines():
    with pytest.raises(FlowRefused) as refused:
        read("steps:\n  - run: x\n    tmeout: 5\n  - id: 1b\n    run: y\nparms: {}\n", "f.yaml")
    assert [problem.line for problem in refused.value.problems] == [3, 6]
    assert [problem.path for problem in refused.value.problems] == ["steps[0].tmeout", "parms"]


@pytest.mark.parametrize("verb", ["run", "validate", "schedule", "graph"])
def test_no_command_writes_anything_for_a_broken_flow(verb, tmp_path):
    (tmp_path / "f.yaml").write_text("schedule: 0 5 * * *\nsteps:\n  - run: touch ran\n    depends: [nobody]\n")
    done = subprocess.run(
        [sys.executable, "-m", "liteq", "-b", "sqlite:///q.db", "flow", verb, "f.yaml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 65
    assert "f.yaml:4: steps[0].depends: there is no step 'nobody'" in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["f.yaml"]


def test_params_are_refused_before_anything_is_written(tmp_path):
    (tmp_path / "f.yaml").write_text(
        "params:\n  - {name: n, type: integer, maximum: 9}\n  - {name: day, required: true}\n"
        "steps:\n  - run: touch ran\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "liteq", "-b", "sqlite:///q.db", "flow", "run", "f.yaml", "-p", "n=10", "-p", "dya=1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    for part in ("n: at most 9, not 10", "day: it is required", "no param 'dya'; did you mean 'day'?"):
        assert part in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["f.yaml"]
