"""`liteq flow validate`, `graph`, `schema`, `import` and `schedule`, as they are called."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from liteq import LiteQ
from liteq.beat import Beat
from liteq.cli import main
from liteq.serialization import decode
from liteq.testing import FakeClock, drain
from liteq_flow import read
from liteq_flow.reader import words
from liteq_flow.scheduling import add
from liteq_flow.snapshot import take

NIGHTLY = """# what runs at night
schedule: CRON_TZ=Asia/Tokyo 0 9 * * *
tags: [nightly]
steps:
  - id: "load"   # first
    command: echo "${params.day}"
  - id: each
    depends_on: load
    foreach:
      items: [a, b]
      steps:
        - script: echo
  - id: route
    action: router.route
    with: {value: x, routes: {"re:x|\\"y\\"": [done]}}
  - id: done
    continueOn: {failure: true}
    run: |
      # command: stays
      echo command
params: {day: today}
handler_on: {exit: {run: echo}}
"""


@pytest.fixture
def flow(tmp_path, monkeypatch):
    """`liteq -b sqlite:///q.db flow ...` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*words, code=0):
        done = CliRunner().invoke(main, ["-b", "sqlite:///q.db", "flow", *map(str, words)])
        assert done.exit_code == code, done.output
        return done

    (tmp_path / "nightly.yaml").write_text(NIGHTLY)
    return call


def test_validate_tells_of_each_file(flow, tmp_path):
    (tmp_path / "bad.yaml").write_text("steps:\n  - rnu: x\n")
    done = flow("validate", "nightly.yaml", "bad.yaml", code=65)
    assert done.stdout.splitlines() == [
        "nightly.yaml: nightly, 4 steps",
        "bad.yaml:2: steps[0].rnu: unknown word 'rnu'; did you mean 'run'?",
    ]
    [problem] = json.loads(flow("validate", "bad.yaml", "--json", code=65).stdout)
    assert problem["file"] == "bad.yaml"
    assert (problem["line"], problem["path"]) == (2, "steps[0].rnu")
    assert json.loads(flow("validate", "nightly.yaml", "--json").stdout) == []


def test_validate_looks_at_the_files_that_a_flow_runs(flow, tmp_path):
    (tmp_path / "main.yaml").write_text("steps:\n  - {action: dag.run, with: {dag: child}}\n")
    assert "nor child.yaml or child.yml beside it" in flow("validate", "main.yaml", code=65).stdout
    (tmp_path / "child.yaml").write_text("steps:\n  - {run: x, timeout: soon}\n")
    assert "child.yaml:2: steps[0].timeout: 'soon' is no time" in flow("validate", "main.yaml", code=65).stdout
    (tmp_path / "child.yaml").write_bytes(b"steps: [{run: \xff}]\n")
    assert "child.yaml: not UTF-8" in flow("validate", "main.yaml", code=65).stdout


def test_graph_has_the_steps_and_what_each_waits_for(flow):
    mermaid = flow("graph", "nightly.yaml").stdout
    assert mermaid.startswith("flowchart TD\n")
    for line in ('f0_0["load (run)"]', "f0_0 --> f0_1", 'f0_2 -->|"re:x|#quot;y#quot;"| f0_3', 'f0_h0["on exit (run)"]',
                 'subgraph g0_0 ["each: for each"]'):  # fmt: skip
        assert line in mermaid
    dot = flow("graph", "nightly.yaml", "--format", "dot").stdout
    assert 'f0_2 -> f0_3 [label="re:x|\\"y\\""];' in dot
    drawing = ET.fromstring(flow("graph", "nightly.yaml", "--format", "svg").stdout)
    assert [one.text for one in drawing.iter("{http://www.w3.org/2000/svg}text")][:3] == ["nightly", "load", "route"]


def test_graph_and_import_as_json(flow):
    found = json.loads(flow("graph", "nightly.yaml", "--format", "dot", "--json").stdout)
    whole = flow("graph", "nightly.yaml", "--format", "dot").stdout
    assert (found["file"].endswith("nightly.yaml"), found["format"], found["graph"]) == (True, "dot", whole)
    found = json.loads(flow("import", "nightly.yaml", "--json").stdout)
    assert (found["output"], found["by_hand"]) == (None, [])
    assert found["text"] == flow("import", "nightly.yaml").stdout
    found = json.loads(flow("import", "nightly.yaml", "-o", "new.yaml", "--json").stdout)
    assert (found["output"], found["text"]) == ("new.yaml", None)


def test_schema_is_json(flow):
    schema = json.loads(flow("schema").stdout)
    assert schema["properties"]["steps"]["items"] == {"$ref": "#/$defs/step"}
    assert schema["$defs"]["step"]["properties"]["command"]["deprecated"] is True


def test_import_replaces_synonyms_and_nothing_else(flow, tmp_path):
    flow("import", "nightly.yaml", "-o", "new.yaml")
    text = (tmp_path / "new.yaml").read_text()
    expected = NIGHTLY
    for said, word in (("tags:", "labels:"), ("    command: echo \"", "    run: echo \""), ("depends_on", "depends"),
                       ("- script:", "- run:"), ("continueOn: {failure:", "continue_on: {failed:")):  # fmt: skip
        assert said in expected
        expected = expected.replace(said, word)
    assert text == expected
    assert flow("import", "new.yaml").stdout == text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("maxActiveSteps: 3\nsteps: [{run: x}]\n", "max_active_steps: 3\nsteps: [{run: x}]\n"),  # in the first line
        ("steps: [{command: python3, script: x}]\n", "steps: [{shell: python3, run: x}]\n"),
        ("steps: [&a {id: a, command: x}, {<<: *a, id: b}]\n", "steps: [&a {id: a, run: x}, {<<: *a, id: b}]\n"),
    ],
)
def test_import_writes_a_file_that_says_the_same(old, new, flow, tmp_path):
    (tmp_path / "old.yaml").write_text(old)
    assert flow("import", "old.yaml").stdout == new
    assert read(new).flows == read(old).flows


def test_import_tells_of_files_that_it_cannot_read_or_write_in_a_line(flow, tmp_path):
    (tmp_path / "old.yaml").write_bytes(b"steps:\n  - run: \xff\n")
    assert "old.yaml: not UTF-8" in flow("import", "old.yaml", code=65).stderr
    done = flow("import", "nightly.yaml", "-o", "none/new.yaml", code=73)
    assert done.stderr == "liteq: error: none/new.yaml cannot be written: No such file or directory\n"
    (tmp_path / "old.yaml").write_text("steps:\n  build: {command: x}\n")
    assert "write `- id: NAME`" in flow("import", "old.yaml", code=65).stderr


def test_import_tells_what_has_another_shape(flow, tmp_path):
    (tmp_path / "old.yaml").write_text("steps:\n  - name: a\n    call: child\n    params: {k: v}\n  - 'command': x\n")
    done = flow("import", "old.yaml", code=65)
    assert "old.yaml:3: write 'action' for 'call'" in done.stderr
    assert "old.yaml:5: write 'run' for 'command'" in done.stderr
    found = json.loads(flow("import", "old.yaml", "--json", code=65).stdout)
    assert [(one["line"], one["what"]) for one in found["by_hand"]] == [
        (3, "write 'action' for 'call'"), (5, "write 'run' for 'command'"),
    ]  # fmt: skip


def test_a_flow_is_scheduled_once_and_in_its_zone(flow, tmp_path):
    flow("schedule", "nightly.yaml")
    [one] = json.loads(flow("schedule", "nightly.yaml", "--json").stdout)
    assert {**one, "next": None} == {
        "name": "nightly", "schedule": "0 9 * * *", "next": None, "file": str(tmp_path / "nightly.yaml"),
    }  # fmt: skip
    due = datetime.fromisoformat(one["next"])
    assert (due.hour, due.minute, due.utcoffset()) == (9, 0, timedelta(hours=9))
    assert json.loads(flow("schedule", "--list", "--json").stdout) == [one]


def test_several_lines_are_one_flow_and_one_less_is_gone(flow, tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text("schedule: ['0 5 * * *', '@hourly']\nsteps: [{run: x}]\n")
    [one] = json.loads(flow("schedule", file, "--json").stdout)
    assert one["schedule"] == "0 5 * * *, 0 * * * *"
    file.write_text("schedule: '0 5 * * *'\nsteps: [{run: x}]\n")
    [one] = json.loads(flow("schedule", file, "--json").stdout)
    assert one["schedule"] == "0 5 * * *"
    assert flow("schedule", "--remove", "tow", code=2).stderr.count("'two'") == 1
    assert json.loads(flow("schedule", "--remove", "two", "--json").stdout) == []


def test_what_cannot_run_by_itself_is_not_scheduled(flow, tmp_path):
    (tmp_path / "never.yaml").write_text("steps: [{run: x}]\n")
    assert "never.yaml:1: schedule: the flow has no" in flow("schedule", "nightly.yaml", "never.yaml", code=65).stderr
    (tmp_path / "asks.yaml").write_text(
        "schedule: '@daily'\nparams: [{name: day, required: true}]\nsteps: [{run: x}]\n"
    )
    assert "a schedule gives none: day: it is required" in flow("schedule", "asks.yaml", code=65).stderr
    assert not (tmp_path / "q.db").exists()
    flow("schedule", code=2)
    flow("schedule", "nightly.yaml", "--list", code=2)


def test_an_entry_of_another_kind_is_not_replaced_by_a_flow(flow, tmp_path):
    with closing(LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db")) as app:
        app.schedules.add("nightly", 60, "shop.clean")
        told = flow("schedule", "nightly.yaml", code=2).stderr
        assert "'nightly' is an entry of beat that is no flow" in told
        assert [decode(one.signature)["task"] for one in app.schedules.all()] == ["shop.clean"]


def test_two_files_of_one_name_are_not_scheduled_together(flow, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "nightly.yaml").write_text(NIGHTLY)
    assert (
        "2 of the files are the flow 'nightly'" in flow("schedule", "nightly.yaml", "other/nightly.yaml", code=2).stderr
    )
    assert "scheduled: nightly;" in flow("schedule", "nightly.yaml", tmp_path / "nightly.yaml").stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-c", "4"], "-c goes with --here"),
        (["--id", ""], "the id of the run: a task_id has 1 to"),
        (["--params-json", '{"day": "\\ud800"}'], "the params of nightly"),
    ],
)
def test_options_that_are_none_are_refused(flow, options, told):
    assert told in flow("run", "nightly.yaml", *options, code=2).stderr


def test_beat_starts_a_scheduled_flow_as_a_run(flow, tmp_path):
    flow("schedule", "nightly.yaml")
    base = ["-b", "sqlite:///q.db"]
    id_ = CliRunner().invoke(main, [*base, "schedules", "run", "nightly"]).stdout.strip()
    [run] = json.loads(CliRunner().invoke(main, [*base, "workflow", "list", "--json"]).stdout)
    assert (run["id"], run["name"]) == (id_, "liteq.flow")
    assert set(run["tags"]) == {"flow:nightly", "nightly"}


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        ("", 0),
        ("catchup_window: 140m", 1),  # the others come while it is unfinished
        ("catchup_window: 140m\noverlap_policy: all", 2),
        ("catchup_window: 3d\noverlap_policy: all", 5),
        ("catchup_window: 3d\noverlap_policy: latest", 1),
    ],
)
def test_missed_times_are_made_up_within_the_window(words, runs, tmp_path):
    file = tmp_path / "hourly.yaml"
    file.write_text(f'schedule: "@hourly"\n{words}\nsteps: [{{output: {{done: true}}}}]\n')
    with closing(LiteQ("flows", broker=f"sqlite:///{tmp_path}/q.db", clock=FakeClock(), set_as_current=False)) as app:
        app.storage.migrate()
        add(app, take(file))
        app.clock.advance(5 * 3600 + 1800)
        beat, done = Beat(app), 0
        while beat.tick() is not None and drain(app):
            done += 1
    assert done == runs


def test_the_flows_of_the_how_to_are_flows(flow, tmp_path):
    page = (Path(__file__).parents[4] / "docs" / "howto" / "flows.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    for number, text in enumerate(examples):
        (tmp_path / f"{number}.yaml").write_text(text)
        flow("validate", f"{number}.yaml")


def test_the_how_to_names_each_word_of_dagu_that_is_refused_or_has_no_effect():
    page = (Path(__file__).parents[4] / "docs" / "howto" / "flows.md").read_text()
    page = page[page.index("## From Dagu") :]
    known = [*words.REFUSED, *words.REFUSED_IN_STEP, *words.NO_EFFECT, *words.NO_EFFECT_IN_STEP]
    actions = [f"{name}.*" for name in words.ACTIONS_REFUSED if name != "file"]
    assert [one for one in [*known, *actions, "file.copy"] if f"`{one}`" not in page] == []
