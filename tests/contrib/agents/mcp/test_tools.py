"""The list of tools: what each viewer knows of, valid schemas, small enough to be read by a model."""

from __future__ import annotations

from datetime import date

import pytest
from jsonschema import Draft202012Validator
from mcp.shared.exceptions import MCPError

from liteq.testing import drain

from .conftest import MODES, Failed

LOOKING = {"overview", "search", "task", "failures", "workflow", "queues", "schedules", "usage", "doctor", "wait"}
ACTING = {"send_task", "start_workflow", "act_on_task", "bulk", "act_on_run", "act_on_schedule", "act_on_queue"}


@pytest.mark.parametrize("mode", MODES)
def test_a_reader_has_the_ten_tools_that_look(agent, mode):
    assert agent(mode=mode).tools().keys() == LOOKING


@pytest.mark.parametrize("mode", MODES)
def test_an_admin_has_all_of_them_in_less_than_24_kb(agent, mode):
    tools = agent("admin", mode=mode).tools()
    assert tools.keys() == LOOKING | ACTING
    assert sum(len(one.model_dump_json(by_alias=True, exclude_none=True)) for one in tools.values()) < 24_000


def test_every_tool_has_a_description_valid_schemas_and_says_what_it_does(agent):
    for tool in agent("admin", tasks=["shop.*"]).tools().values():
        assert tool.description
        for schema in (tool.input_schema, tool.output_schema):
            Draft202012Validator.check_schema(schema)
            assert schema["type"] == "object"
        assert tool.annotations.read_only_hint is (tool.name in LOOKING)


@pytest.mark.parametrize(
    ("rights", "tools"),
    [
        (["view", "retry"], {"act_on_task", "bulk", "act_on_run"}),
        (["view", "pause"], {"act_on_queue"}),
        (["view", "schedules"], {"act_on_schedule"}),
        (["view", "approve"], {"act_on_run"}),
        (["view", "send"], {"send_task"}),
        (["view", "workflows"], {"start_workflow", "bulk", "act_on_run"}),
        (["view", "limits", "workers", "export"], set()),
    ],
)
def test_a_tool_without_its_right_is_not_listed_and_not_known(agent, rights, tools):
    mine = agent(rights)
    assert mine.tools().keys() - LOOKING == tools
    for name in ACTING - tools:
        with pytest.raises(MCPError, match=f"^Unknown tool: {name}$"):
            mine.call(name)


def test_an_action_without_its_right_is_not_one_of_the_tool(agent, app):
    sent = app.tasks["shop.add"].delay(1)
    mine = agent(["view", "retry"])
    assert mine.tools()["act_on_task"].input_schema["properties"]["action"]["enum"] == [
        "retry", "requeue", "move", "run_at"
    ]  # fmt: skip
    with pytest.raises(Failed, match=r"^action: it is one of retry, requeue, move, run_at, not 'delete'"):
        mine.call("act_on_task", id=sent.id, action="delete")


def test_a_task_of_the_servers_choice_has_a_tool_without_the_right_to_send(agent, app):
    mine = agent(["view"], tasks=["shop.add"])
    tool = mine.tools()["run_add"]
    assert "Add two numbers." in tool.description
    assert tool.input_schema["properties"] == {"x": {"type": "integer"}, "y": {"type": "integer", "default": 2}}
    assert tool.input_schema["required"] == ["x"]
    sent = mine.call("run_add", x=1)
    assert app.storage.reader.find(sent["id"]).task == "shop.add"
    assert "send_task" not in mine.tools()


@pytest.mark.parametrize(
    ("name", "given", "got"),
    [
        ("run_rest", {"a": 1, "rest": ["2026-11-30", "2026-12-01"]}, (1, date(2026, 11, 30), date(2026, 12, 1), 3)),
        ("run_rest", {"a": 1, "k": 4}, (1, 4)),
        ("run_rest", {"rest": ["2026-11-30"]}, (0, date(2026, 11, 30), 3)),
        ("run_places", {"b": 7}, (1, 7, 3)),
        ("run_places", {"a": 7, "c": 8}, (7, 2, 8)),
        ("run_places", {}, (1, 2, 3)),
    ],
)
def test_arguments_come_to_their_parameters(agent, app, name, given, got):
    found = []

    @app.task(name="shop.rest")
    def rest(a: int = 0, *rest: date, k: int = 3) -> None:
        found.append((a, *rest, k))

    @app.task(name="shop.places")
    def places(a: int = 1, b: int = 2, /, c: int = 3) -> None:
        found.append((a, b, c))

    agent(tasks=["shop.rest", "shop.places"]).call(name, **given)
    drain(app)
    assert found == [got]


def test_two_tasks_of_one_last_name_bear_their_whole_names(agent, app):
    @app.task(name="stock.add")
    def add(n: int) -> int:
        return n

    names = agent(tasks=["shop.add", "stock.*", "shop.mail"]).tools().keys() - LOOKING
    assert names == {"run_shop_add", "run_stock_add", "run_mail"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, r"^id: it is required$"),
        ({"id": 7}, r"^id: 7 is not of type 'string'$"),
        ({"id": "x", "part": []}, r"^part: there is no such argument; did you mean 'parts'\?$"),
        ({"id": "x", "parts": ["kind"]}, r"^parts\.0: it is one of why, attempts, kin"),
        ({"id": "not-there"}, r"^there is no task 'not-there'$"),
    ],
)
def test_what_is_refused_names_the_field(agent, arguments, error):
    with pytest.raises(Failed, match=error):
        agent().call("task", **arguments)


def test_a_glob_that_fits_no_task_is_refused_at_the_start(agent):
    from liteq.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured, match=r"no task of the app fits 'shop\.ad'; did you mean 'shop\.add'\?"):
        agent(tasks=["shop.ad"])
    with pytest.raises(ImproperlyConfigured, match=r"no person is asked before 'delet'; did you mean 'delete'\?"):
        agent(yes=["delet"])
