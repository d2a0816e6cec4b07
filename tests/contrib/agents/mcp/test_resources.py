"""Resources, prompts and completion: the same documents under addresses, and notices of their changes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from liteq.testing import drain

from .conftest import MODES


@pytest.mark.parametrize("mode", MODES)
def test_the_documents_of_the_tools_are_resources(agent, app, mode):
    sent = app.tasks["shop.charge"].delay(7, card="4111")
    run = app.tasks["shop.refund"].start(7, 12.5)
    drain(app)
    mine = agent(mode=mode)
    assert json.loads(mine.read("liteq://overview"))["verdict"]
    assert json.loads(mine.read(f"liteq://tasks/{sent.id}"))["state"] == "FAILURE"
    assert "ValueError: declined: ***" in mine.read(f"liteq://tasks/{sent.id}/traceback")
    assert json.loads(mine.read(f"liteq://runs/{run.id}"))["status"] == "waiting"
    assert json.loads(mine.read("liteq://types/shop.charge"))["signature"] == "(order: 'int', card: 'str') -> 'str'"
    assert mine.read("liteq://docs/find-out-why").startswith("# ")
    for uri in ("liteq://tasks/x", "liteq://runs/x", "liteq://docs/..%2f..%2fREADME", "liteq://else"):
        with pytest.raises(MCPError, match="Resource not found"):
            mine.read(uri)


def test_the_pages_that_agents_read_are_shipped():
    """A checkout has them where they are written; the wheel has those that pyproject.toml names."""
    from liteq_mcp.pages import HOWTOS

    root = Path(__file__).resolve().parents[4]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    howtos = {f"docs/howto/{name}.md": f"liteq_mcp/docs/{name}.md" for name in HOWTOS}
    assert shipped == {"docs/guide": "liteq_mcp/docs", **howtos}
    assert [path for path in shipped if not (root / path).exists()] == []


def test_chunks_of_a_stream_are_a_resource(agent, app):
    @app.task(name="shop.tell", bind=True)
    def tell(self) -> None:
        for n in range(3):
            self.emit("log", n)

    sent = tell.delay()
    drain(app)
    found = json.loads(agent().read(f"liteq://tasks/{sent.id}"))
    assert found["state"] == "SUCCESS"
    chunks = json.loads(agent().read(f"liteq://runs/{sent.id}/stream/log"))
    assert [one["data"] for one in chunks["items"]] == [0, 1, 2]


def test_a_listener_is_told_of_the_resource_that_changed_and_of_no_other(agent, app):
    import anyio

    one, other = app.tasks["shop.add"].delay(1), app.tasks["shop.mail"].apply_async(("a",), countdown=3600)
    mine = agent(mode="2026-07-28")
    uris = [f"liteq://tasks/{one.id}", f"liteq://tasks/{other.id}"]

    async def listen():
        async with mine.client.listen(resource_subscriptions=uris) as events:
            await anyio.to_thread.run_sync(lambda: app.revoke([other.id]))
            with anyio.fail_after(30):
                async for event in events:
                    return event

    assert mine.do(listen).uri == uris[1]


def test_a_listener_whose_place_is_taken_for_a_while_is_told_later(agent, app, monkeypatch):
    """It heard nothing any more, and was not told so."""
    import anyio

    from liteq_dashboard.freshness.live import Broadcaster

    taken, changes = [False, True, True], Broadcaster.changes
    monkeypatch.setattr(Broadcaster, "changes", lambda *a: None if taken and taken.pop(0) else changes(*a))
    monkeypatch.setattr("liteq_mcp.listening.AGAIN_S", 0.05)
    one = app.tasks["shop.mail"].apply_async(("a",), countdown=3600)
    mine = agent(mode="2026-07-28")

    async def listen():
        async with mine.client.listen(resource_subscriptions=[f"liteq://tasks/{one.id}"]) as events:
            await anyio.to_thread.run_sync(lambda: app.revoke([one.id]))
            with anyio.fail_after(10):
                async for event in events:
                    return event

    assert mine.do(listen).uri == f"liteq://tasks/{one.id}"


@pytest.mark.parametrize("mode", MODES)
def test_names_and_ids_complete(agent, app, mode):
    sent = app.tasks["shop.add"].delay(1)
    mine = agent(mode=mode)

    def values(ref, name, typed):
        return mine.do(mine.client.complete, ref, {"name": name, "value": typed}).completion.values

    types = ResourceTemplateReference(uri="liteq://types/{name}")
    assert values(types, "name", "shop.a") == ["shop.add"]
    assert values(ResourceTemplateReference(uri="liteq://tasks/{id}"), "id", sent.id[:8]) == [sent.id]
    assert "workflows" in values(ResourceTemplateReference(uri="liteq://docs/{page}"), "page", "work")
    assert "celery" in values(PromptReference(name="why_slow"), "of", "cel")


@pytest.mark.parametrize("mode", MODES)
def test_prompts_lead_through_the_tools(agent, mode):
    mine = agent(mode=mode)
    names = [one.name for one in mine.do(mine.client.list_prompts).prompts]
    assert names == ["post_mortem", "why_slow", "fix_stuck", "write_workflow", "write_flow"]
    found = mine.do(mine.client.get_prompt, "fix_stuck", {"of": "the queue mail"})
    assert "the queue mail" in found.messages[0].content.text
    goal = "first this; " * 100
    written = mine.do(mine.client.get_prompt, "write_workflow", {"goal": goal})
    assert f"does this: {goal.strip()}. Read" in written.messages[0].content.text
    with pytest.raises(MCPError, match="goal: it is required"):
        mine.do(mine.client.get_prompt, "write_flow", {"goal": " "})
    with pytest.raises(MCPError, match="Unknown prompt"):
        mine.do(mine.client.get_prompt, "x", {})
