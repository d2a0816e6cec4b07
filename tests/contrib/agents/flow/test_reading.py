"""The words of a flow's file, in each of the forms that it may have."""

from __future__ import annotations

from itertools import pairwise

import pytest

from liteq_flow import FlowRefused, UnknownReference, read
from liteq_flow.crontab import schedule_of
from liteq_flow.model import Action, Captured, ContinueOn, Event, Foreach, Nothing, Ours, Parallel, Repeat, Retry, Run
from liteq_flow.reader.params import checked, from_json, from_text
from liteq_flow.reader.yaml_places import documents
from liteq_flow.schemas.forms import fill
from liteq_flow.values import Scope, decode, resolve, select


def flow(text):
    return read(text, "nightly.yaml").flow


def step(text, **more):
    """The only step of a flow, of whose words `text` are the lines."""
    lines = "\n".join(f"    {line}" for line in text.strip().splitlines())
    return flow(f"{more.get('before', '')}\nsteps:\n  - id: a\n{lines}\n").steps[0]


def wrong(text):
    with pytest.raises(FlowRefused) as refused:
        read(text, "f.yaml")
    return [problem.what for problem in refused.value.problems]


# -- YAML --------------------------------------------------------------------------------------------------------------


def test_values_are_those_of_yaml_1_2():
    [root] = documents("[yes, on, 010, 0x1f, 0o17, 1:30, 2026-11-29, true, ~, '', 1e3, .5]", "f")
    assert root.plain == ["yes", "on", 10, 31, 15, "1:30", "2026-11-29", True, None, "", 1000.0, 0.5]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: &a [*a]", "an alias that stands in what it names"),
        ("a: &a [x, x]\n" + "".join(f"{n}: &{n} [*{p}, *{p}]\n" for p, n in pairwise("abcdefghijklmnopqrst")),
         "stands for more than 100,000 values"),
        ("a: !!python/object/apply:os.system [touch pwned]", "the tag"),
        ("a: .inf", "no number that JSON has"),
        ("a: " + "9" * 5000, "the number is too long"),
        ("? [a]\n: b", "a key is a word"),
        ("[" * 5000, "nested too deeply"),
        ("a: 1\n---\n---\n", "a document without a flow"),
        ("# nothing\n", "there is no flow"),
        ("x" * 1_100_000, "a flow has up to 1,048,576"),
    ],
    ids=lambda value: value[:20],
)  # fmt: skip
def test_a_file_that_is_no_flow_is_refused(text, what):
    assert what in wrong(text)[0]


def test_anchors_and_merges_are_read():
    found = flow("steps:\n  - &one {id: a, run: x, env: &e {A: 1}}\n  - {<<: *one, id: b, env: {<<: *e, B: 2}}\n")
    assert [(one.id, one.do, dict(one.env)) for one in found.steps] == [
        ("a", Run(("x",), script=False, shell=None), {"A": "1"}),
        ("b", Run(("x",), script=False, shell=None), {"A": "1", "B": "2"}),
    ]


# -- steps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "do"),
    [
        ("run: echo hi", Run(("echo hi",), script=False, shell=None)),
        ("run: |\n  a\n  b", Run(("a\nb\n",), script=True, shell=None)),
        ("run: [a, false, 7]", Run(("a", "false", "7"), script=False, shell=None)),
        ("run: x\nwith: {shell: bash -e, shell_args: [-u]}", Run(("x",), script=False, shell=("bash", "-e", "-u"))),
        ("run: x\nshell: zsh", Run(("x",), script=False, shell=("zsh",))),
        ("command: x", Run(("x",), script=False, shell=None)),
        ("command: python3\nscript: |\n  x\n  y", Run(("x\ny\n",), script=True, shell=("python3",))),
        ("action: file.read\nwith: {path: x}", Action("file.read", {"path": "x"})),
        ("call: child\nparams: {k: v}", Action("dag.run", {"dag": "child", "params": {"k": "v"}})),
        ("task: shop.charge\nwith: {order: 7}", Ours("task", "shop.charge", {"order": 7})),
        ("workflow: shop.ship", Ours("workflow", "shop.ship", {})),
        ("agent: shop:agent\nwith: {prompt: hi}", Ours("agent", "shop:agent", {"prompt": "hi"})),
        ("event: paid", Event("paid")),
        ("action: noop", Nothing()),
        ("output: {k: 1}", Nothing()),
    ],
)
def test_a_step_does_one_thing(text, do):
    assert step(text).do == do


def test_what_is_said_of_a_step():
    found = step(
        """
name: Charge the card
run: charge
env: [A: 007, "B=x=y", {C: true}]
timeout: 2h30m
retry_policy: {limit: 3, interval_sec: 5, backoff: true, max_interval_sec: 60, exit_code: [1, 75]}
repeat_policy: {repeat: until, condition: test -f done, interval_sec: 10, limit: 20}
continue_on: [failed, skipped]
preconditions: ["test -f x", {condition: $A, expected: "re:[0-9]+", negate: true}]
output: {id: {from: stdout, decode: json, select: ".items[0].id"}, fixed: {nested: [1]}}
outputs: [{name: tag}, {name: meta, type: json}]
stdout: out.txt
queue: slow
priority: 5
memo: 1h
limits: card
doubt: ask
compensate: shop.refund
"""
    )
    assert (found.id, found.name, found.line) == ("a", "Charge the card", 3)
    assert found.env == (("A", "007"), ("B", "x=y"), ("C", "true"))
    assert found.timeout_s == 9000
    assert found.retry == Retry(3, 5.0, 2.0, 60, (1, 75))
    assert found.repeat == Repeat("until", "test -f done", interval_s=10.0, limit=20)
    assert found.continue_on == ContinueOn(failed=True, skipped=True)
    assert [(one.condition, one.expected, one.negate) for one in found.preconditions] == [
        ("test -f x", None, False),
        ("$A", "re:[0-9]+", True),
    ]
    assert found.captured == (
        Captured("id", "stdout", decode="json", select=".items[0].id"),
        Captured("fixed", "value", {"nested": [1]}),
    )
    assert [(one.name, one.type) for one in found.declared] == [("tag", "string"), ("meta", "json")]
    assert (found.stdout.path, found.queue, found.priority, found.memo) == ("out.txt", "slow", 5, "1h")
    assert (found.limits, found.doubt) == (("card",), "ask")
    assert found.compensate is not None
    assert found.compensate.do == Ours("task", "shop.refund", {})


def test_the_short_forms():
    assert step("run: x\nretry: 3").retry == Retry(limit=3)
    assert step("run: x\ncontinue_on: failed").continue_on == ContinueOn(failed=True)
    assert step("run: x\ncontinueOn: {failure: true, exitCode: 3}").continue_on == ContinueOn(True, exit_codes=(3,))
    assert step("run: x\noutput: $VERSION").variable == "VERSION"
    assert step("run: x\nparallel: [a, {k: b}]").parallel == Parallel(["a", {"k": "b"}], 10)
    assert step("run: x\nrepeat_policy: {repeat: true, limit: 3}").repeat == Repeat("while", limit=3)
    assert step("run: x\ntimeout_sec: 0").timeout_s is None


def test_words_in_camel_case_and_other_words_are_the_same():
    found = flow(
        "maxActiveSteps: 3\ntags: [env=prod, nightly]\nhandlers: {failure: {command: x}}\n"
        "steps:\n  - {id: a, script: x}\n  - {id: b, run: y, needs: a, retryPolicy: {limit: 2, intervalSec: 3}}\n"
    )
    assert (found.max_active_steps, found.labels) == (3, ("env:prod", "nightly"))
    assert (found.steps[1].depends, found.steps[1].retry) == (("a",), Retry(2, 3.0))
    assert found.handlers["failure"].do == Run(("x",), script=False, shell=None)
    assert wrong("steps:\n  - {run: x, command: y}\n") == ["'command' and 'run' say the same; keep one"]


def test_defaults_are_those_of_steps_that_say_nothing():
    found = flow(
        "defaults: {retry_policy: {limit: 2}, continue_on: failed, env: {A: 1, B: 1}}\n"
        "steps:\n  - {id: a, run: x}\n  - {id: b, run: x, retry: 0, env: {B: 2}}\n"
    )
    a, b = found.steps
    assert (a.retry.limit, a.continue_on.failed, a.env) == (2, True, (("A", "1"), ("B", "1")))
    assert (b.retry.limit, b.env) == (0, (("A", "1"), ("B", "1"), ("B", "2")))


def test_dependencies_are_ids():
    chain = flow("type: chain\nsteps:\n  - {id: a, run: x}\n  - {name: Second, run: x}\n  - {run: x}\n")
    assert [(one.id, one.depends) for one in chain.steps] == [("a", ()), ("Second", ("a",)), ("step_3", ("Second",))]
    names = flow("steps:\n  - {id: a, name: Build it, run: x}\n  - {id: b, run: x, depends: [Build it]}\n")
    assert names.steps[1].depends == ("a",)
    routed = flow(
        "steps:\n  - id: r\n    action: router.route\n    with: {value: x, routes: {x: [a], 're:.*': b}}\n"
        "  - {id: a, run: x}\n  - {id: b, run: x}\n"
    )
    assert [one.depends for one in routed.steps] == [(), ("r",), ("r",)]


def test_a_foreach_has_steps_of_its_own():
    found = step(
        "foreach:\n  items: [1, 2]\n  as: n\n  key: k-${foreach.n}\n  max_concurrent: 2\n"
        "  steps:\n    - {id: x, run: 'echo ${foreach.n}', output: X}\n"
        "    - {id: y, run: 'echo ${x.output}', depends: x}\n"
        "  collect: {n: '${x.output}'}\noutput: ALL"
    )
    assert isinstance(found.do, Foreach)
    assert (found.do.items, found.do.as_name, found.do.key, found.do.max_concurrent) == (
        [1, 2],
        "n",
        "k-${foreach.n}",
        2,
    )
    assert [one.id for one in found.do.steps] == ["x", "y"]
    assert found.variable == "ALL"


def test_what_has_no_effect_is_accepted_and_told():
    text = "hist_retention_days: 7\ngroup: nightly\nsteps:\n  - {run: x, log_output: merged}\n"
    assert [(note.line, note.path) for note in read(text, "f.yaml").notes] == [
        (1, "hist_retention_days"),
        (2, "group"),
        (4, "steps[0].log_output"),
    ]


def test_a_command_in_a_variable_is_told_to_be_text():
    [note] = read("env:\n  - DAY: $(date)\n  - COST: $5\nsteps:\n  - run: x\n", "f.yaml").notes
    assert str(note).startswith("f.yaml:1: env: DAY is a text, in which no command is run")


def test_later_documents_are_flows_by_their_names():
    found = read("steps: [{action: dag.run, with: {dag: c}}]\n---\nname: c\nsteps: [{run: x}]\n", "f.yaml")
    assert [one.name for one in found.flows] == ["f", "c"]
    assert found.sub("c") is found.flows[1]
    assert found.sub("f") is None
    assert wrong("steps: [{run: x}]\n---\nname: c\nsteps: [{run: x}]\n---\nname: c\nsteps: [{run: x}]\n")


def test_consts_are_found_while_the_file_is_read():
    assert flow("consts:\n  - host: x\n  - url: http://${consts.host}/v1\n  - n: 2\nsteps: [{run: a}]\n").consts == {
        "host": "x",
        "url": "http://x/v1",
        "n": 2,
    }


def test_secrets_are_named_and_not_written():
    found = flow(
        "secrets:\n  - {name: A, provider: env, key: TOKEN}\n  - {name: B, provider: file, key: /run/b}\n"
        "steps: [{run: a}]"
    )
    assert [(one.name, one.source) for one in found.secrets] == [("A", "env:TOKEN"), ("B", "file:/run/b")]


def test_an_approval_asks_for_texts_or_by_a_form():
    found = step("run: x\napproval: {prompt: 'Ship it?', input: [ticket, note], required: [ticket]}").approval
    assert found is not None
    assert (found.prompt, found.form["required"], list(found.form["properties"])) == (
        "Ship it?",
        ["ticket"],
        ["ticket", "note"],
    )


@pytest.mark.parametrize(
    ("line", "zone", "days"),
    [
        ("0 9 * * MON-FRI", None, {1, 2, 3, 4, 5}),
        ("0 9 * * 1-7", None, {0, 1, 2, 3, 4, 5, 6}),
        ("0 9 * * 7", None, {0}),
        ("0 9 * * 0-7", None, {0, 1, 2, 3, 4, 5, 6}),
        ("CRON_TZ=Europe/Paris 0 9 * * *", "Europe/Paris", {0, 1, 2, 3, 4, 5, 6}),
        ("@weekly", None, {0}),
    ],
)
def test_lines_of_crontab_are_those_of_cron(line, zone, days):
    made, found = schedule_of(line)
    assert (found, made.day_of_week) == (zone, days)


@pytest.mark.parametrize("line", ["* * * *", "CRON_TZ=Mars/Base * * * * *", "0 0 1 * 1", "@reboot", "61 * * * *", ""])
def test_lines_that_cron_would_read_otherwise_are_refused(line):
    with pytest.raises(ValueError):
        schedule_of(line)


# -- params and forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    ["A=1 B=x", "[A=1, B=x]", "{A: 1, B: x}", "[{A: 1}, {B: x}]", "[{name: A, default: 1}, {name: B, default: x}]"],
)
def test_params_have_several_forms(params):
    assert {key: str(value) for key, value in checked(flow(f"params: {params}\nsteps: [{{run: x}}]"), {}).items()} == {
        "A": "1",
        "B": "x",
    }


def test_a_value_of_a_param_may_have_spaces_between_quotes():
    found = flow("params: A=1 B=\"x 'y\" C='a \"b' D=C:\\d E=\nsteps: [{run: x}]")
    assert checked(found, {}) == {"A": "1", "B": "x 'y", "C": 'a "b', "D": "C:\\d", "E": ""}
    assert checked(flow("params: A=it's B=2\nsteps: [{run: x}]"), {}) == {"A": "it's", "B": "2"}


def test_a_reference_in_a_default_is_told_to_be_text():
    [note] = read("params: {a: x, b: '${params.a}'}\nsteps: [{run: x}]", "f.yaml").notes
    assert str(note) == "f.yaml:1: params: the default of b is plain text: ${params.a} in it is not filled in"


TYPED = flow(
    """
params:
  - {name: n, type: integer, minimum: 1, maximum: 9, default: 3}
  - {name: ratio, type: number, minimum: 0, maximum: 1}
  - {name: dry, type: boolean, default: false}
  - {name: env, type: string, enum: [dev, prod], required: true}
  - {name: ticket, type: string, pattern: '^CHG-[0-9]+$'}
  - {name: free}
steps: [{run: x}]
"""
)


def test_params_have_the_types_that_the_flow_says():
    given = {"n": "7", "ratio": "0.5", "dry": "yes", "env": "dev", "ticket": "CHG-1", "free": "007"}
    assert checked(TYPED, given) == {"n": 7, "ratio": 0.5, "dry": True, "env": "dev", "ticket": "CHG-1", "free": "007"}
    assert checked(TYPED, {"env": "prod", "free": [1]}) == {"n": 3, "dry": False, "env": "prod", "free": [1]}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "env: it is required"),
        ({"env": "prd"}, "did you mean 'prod'?"),
        ({"env": "dev", "n": "ten"}, "n: a whole number is meant here"),
        ({"env": "dev", "n": 0}, "n: at least 1, not 0"),
        ({"env": "dev", "n": True}, "n: a whole number is meant here, not true"),
        ({"env": "dev", "ratio": "x"}, "ratio: a number is meant here"),
        ({"env": "dev", "ratio": "nan"}, "ratio: at least 0, not nan"),
        ({"env": "dev", "ratio": "inf"}, "ratio: at most 1, not inf"),
        ({"env": "dev", "dry": "perhaps"}, "dry: true or false is meant here"),
        ({"env": "dev", "ticket": "1"}, "ticket: \"1\" does not fit the pattern"),
        ({"env": "dev", "tikcet": "1"}, "there is no param 'tikcet'; did you mean 'ticket'?"),
    ],
)  # fmt: skip
def test_params_that_do_not_fit_are_refused(given, what):
    with pytest.raises(FlowRefused) as refused:
        checked(TYPED, given)
    assert what in str(refused.value)


def test_params_of_a_command_line():
    assert from_text("a=b=c") == ("a", "b=c")
    assert from_json('{"n": 1}') == {"n": 1}
    for bad in (lambda: from_text("a"), lambda: from_json("[1]"), lambda: from_json("{")):
        with pytest.raises(FlowRefused):
            bad()


def test_a_form_fills_in_its_defaults_and_refuses_unknown_fields():
    form = {
        "type": "object",
        "properties": {"target": {"enum": ["staging", "live"]}, "n": {"type": "integer", "default": 2}},
        "required": ["target"],
    }
    assert fill(form, {"target": "live"}) == {"target": "live", "n": 2}
    for data in ({}, {"target": "moon"}, {"target": "live", "n": "2"}, {"target": "live", "more": 1}):
        with pytest.raises(FlowRefused):
            fill(form, data)


# -- values ------------------------------------------------------------------------------------------------------------

SCOPE = Scope(
    params={"n": 3, "who": "ann"},
    env={"HOME": "/root"},
    consts={"host": "x"},
    outputs={"a": {"list": [1, {"k": None}], "text": "t"}, "b": "plain"},
    variables={"V": "v"},
    context={"run": {"id": "r1"}},
    foreach={"index": 0, "row": {"id": 9}},
    item={"k": "i"},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${params.n}", 3),
        ("n=${params.n}", "n=3"),
        ("${params}", {"n": 3, "who": "ann"}),
        ("${a.output.list}", [1, {"k": None}]),
        ("${steps.a.outputs.list[1].k}", None),
        ("[${a.outputs.list}]", '[[1,{"k":null}]]'),
        ("${b.output}", "plain"),
        ("${consts.host}/${env.HOME}/$V/${V}", "x//root/v/v"),
        ("${context.run.id} ${run.id}", "r1 r1"),
        ("${foreach.row.id}${foreach.index}", "90"),
        ("${ITEM.k}", "i"),
        ("\\${params.n} \\\\${params.n}", "${params.n} \\\\3"),
        ("$UNKNOWN ${UNKNOWN} ${x.y} $5 ${a-b}", "$UNKNOWN ${UNKNOWN} ${x.y} $5 ${a-b}"),
        ({"k": ["${params.n}", 1]}, {"k": [3, 1]}),
    ],
)
def test_references_are_found_and_keep_their_type_where_they_stand_alone(text, value):
    assert resolve(text, SCOPE) == value


@pytest.mark.parametrize(
    "text", ["${params.m}", "${a.output.none}", "${env.NONE}", "${steps.c.outputs.x}", "${a.output.list[7]}"]
)
def test_a_reference_to_nothing_is_an_error(text):
    with pytest.raises(UnknownReference, match=r"there is no"):
        resolve(f"x {text}", SCOPE)


def test_a_value_is_not_read_again():
    scope = Scope(params={"a": "${params.b}", "b": "secret"})
    assert resolve("${params.a} $(date) `date`", scope) == "${params.b} $(date) `date`"


def test_what_a_step_wrote_is_decoded_and_selected():
    document = decode('{"items": [{"a-b": 1}], "x y": 2}', "json")
    assert select(document, ".items[0].a-b") == 1
    assert select(document, '.["x y"]') == 2
    assert select(document, ".") == document
    assert decode("a: [yes, true]\n", "yaml") == {"a": ["yes", True]}
    assert decode("text\n", "text") == "text"
    for path in (".items[1]", ".nope", ".items.x"):
        with pytest.raises(ValueError, match="there is no"):
            select(document, path)


def test_the_outputs_of_a_step_are_named_with_steps_and_outputs_or_without():
    text = """
name: names
steps:
  - id: call
    run: cat answer.json
    output: {n: {from: stdout, decode: json, select: .n}}
  - id: use
    depends: [call]
    run: |-
      echo "${call.n} ${steps.call.n} ${call.output.n} ${steps.call.outputs.n} \\${call.n} ${other.n} ${run.id}"
"""
    (flow,) = read(text).flows
    said = "${call.outputs.n} ${steps.call.outputs.n} ${call.output.n} ${steps.call.outputs.n}"
    assert flow.steps[1].do.commands == (f'echo "{said} \\${{call.n}} ${{other.n}} ${{run.id}}"',)


@pytest.mark.parametrize("text", ["{prompt: Go on?}", "{prompt: 'Go on?'}"])
def test_a_question_mark_is_a_part_of_a_text(text):
    assert flow(f"steps: [{{id: a, action: human.task, with: {text}}}]").steps[0].do.arguments == {"prompt": "Go on?"}


def test_a_secret_may_stand_where_a_job_fills_it_in():
    found = flow(
        "secrets: {TOKEN: 'env:T'}\nenv: {HEAD: Bearer $TOKEN}\nsteps:\n"
        "  - action: http.request\n    with: {method: GET, url: 'http://x', headers: {auth: '${env.TOKEN}'}}\n"
        "  - {run: 'curl -H \"$TOKEN\" x', preconditions: 'test -n \"$TOKEN\"'}\n"
    )
    assert len(found.steps) == 2


def test_yaml_out_of_a_command_is_read_as_a_flow_is():
    assert decode("day: 2026-11-29\nyes: no", "yaml") == {"day": "2026-11-29", "yes": "no"}
    bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    bomb += "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcde", "bcdef", strict=True))
    with pytest.raises(ValueError, match="more than 100,000 values"):
        decode(bomb, "yaml")
