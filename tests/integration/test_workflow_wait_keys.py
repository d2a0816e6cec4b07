"""Waits with a key: found by it in each replay, whatever the order and the scope of the calls."""

from __future__ import annotations

import asyncio

import pytest

from liteq.workflow import actx, ctx


def test_waits_with_keys_do_not_depend_on_their_order(app, worker):
    order = [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"], ["a", "c", "b"]]

    async def decided(name: str) -> str:
        if name == "c":
            return f"c {await actx.wait_event('go', key='event c')}"
        decision = await actx.approval(f"may {name}?", key=f"approval {name}")
        return f"{name} {decision.ok}"

    @app.workflow(name="asks")
    async def asks() -> list[str]:
        return sorted(await asyncio.gather(*(decided(name) for name in order.pop(0))))

    run = asks.start()
    worker.run()
    assert sorted(one.title for one in run.approvals()) == ["may a?", "may b?"]
    run.approve("may b?", ok=False)
    worker.run()
    run.send("go", 5)
    worker.run()
    run.approve("may a?")
    worker.run()
    assert run.result(0) == ["a True", "b False", "c 5"]
    assert order == []
    assert sorted(step.key for step in run.steps() if step.key) == ["approval a", "approval b", "event c"]


def test_a_key_is_used_once(app, worker):
    @app.workflow(name="twice")
    def twice() -> None:
        ctx.wait_event("go", key="k", timeout=1, default=None)
        ctx.approval("sure?", key="k")

    run = twice.start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    with pytest.raises(Exception, match="the key 'k' is used twice"):
        run.result(0)


def test_a_key_is_text(app, worker):
    @app.workflow(name="wrong")
    def wrong() -> None:
        ctx.wait_event("go", key="")

    run = wrong.start()
    worker.run()
    with pytest.raises(ValueError, match="the key of 'go' has 1 to 255"):
        run.result(0)
