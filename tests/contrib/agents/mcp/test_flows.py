"""Flows are started by the names of their files, in the folders that the app names; no agent sends their text."""

from __future__ import annotations

import pytest

from .conftest import Failed

pytest.importorskip("yaml", reason="flows are YAML: needs the extra `flow`")

FLOW = """\
params:
  - name: month
    type: integer
    minimum: 1
    maximum: 12
steps:
  - id: report
    run: echo ${params.month}
"""


@pytest.fixture
def folder(app, tmp_path):
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "monthly.yaml").write_text(FLOW)
    (folder / "broken.yml").write_text("steps: []\n")
    (folder / "notes.txt").write_text("steps: []\n")
    app.conf.flow_folders = [str(folder)]
    return folder


def test_a_flow_is_started_by_the_name_of_its_file(agent, app, folder, acts):
    mine = agent(["view", "workflows"])
    names = mine.tools()["start_workflow"].input_schema["properties"]["name"]["enum"]
    assert {"monthly", "broken", "shop.pick"} <= set(names)
    assert "notes" not in names
    started = mine.call("start_workflow", name="monthly", input={"month": 7}, id="july")
    again = mine.call("start_workflow", name="monthly", input={"month": 7}, id="july")
    assert started["id"] == again["id"] == "july"
    assert mine.call("workflow", id="july")["name"] == "liteq.flow"
    assert acts() == [("ann", "mcp", "start", "july")]


@pytest.mark.parametrize(
    ("name", "given", "error"),
    [
        ("monthly", {"month": 13}, "month"),
        ("monthly", {"mont": 1}, "there is no param 'mont'; did you mean 'month'"),
        ("broken", {}, "steps"),
        ("notes", {}, "^name: "),
        ("../flows/monthly", {}, "^name: "),
    ],
)
def test_what_is_wrong_starts_nothing(agent, app, folder, name, given, error):
    with pytest.raises(Failed, match=error):
        agent(["view", "workflows"]).call("start_workflow", name=name, input=given)
    assert agent().call("workflow")["items"] == []


def test_a_flow_goes_to_its_own_queue_alone_where_that_is_seen(agent, app, folder):
    (folder / "monthly.yaml").write_text(f"queue: reports\n{FLOW}")
    with pytest.raises(Failed, match="goes to a queue that you do not see"):
        agent(["view", "workflows"], queues=["celery"]).call("start_workflow", name="monthly", input={"month": 7})
    started = agent(["view", "workflows"], queues=["rep*"]).call("start_workflow", name="monthly", input={"month": 7})
    assert started["queue"] == "reports"


def test_a_flow_that_is_away_takes_no_other_tool_with_it(agent, app, folder):
    mine = agent(["view"], workflows=("month*",))
    (folder / "monthly.yaml").unlink()
    assert "states" in mine.call("overview")
    with pytest.raises(Failed, match="there is no workflow 'monthly'"):
        mine.call("start_workflow", name="monthly", input={"month": 7})


def test_a_glob_of_workflows_chooses_among_flows_too(agent, folder):
    tools = agent(["view"], workflows=("month*",)).tools()
    assert tools["start_workflow"].input_schema["properties"]["name"] == {"enum": ["monthly"]}
