"""The whole conversation: why does nothing run, and repair it. With a program, a worker, and a server as started."""

from __future__ import annotations

import pytest

from liteq.testing import start_worker

from .conftest import MODES


@pytest.mark.parametrize("mode", MODES)
def test_why_does_nothing_run_and_repair_it(agent, app, acts, mode, eventually):
    paid = {"declines": True}

    @app.task(name="shop.pay")
    def pay(order: int) -> str:
        if paid["declines"]:
            raise ConnectionError("the bank is away")
        return f"paid {order}"

    app.storage.queues.pause("celery", None, actor="bob", reason="the bank is away", source="cli")
    waiting = [pay.delay(n).id for n in range(3)]
    refund = app.tasks["shop.refund"].start(7, 12.5)
    mine = agent("operator", mode=mode, person=True)

    # Why does nothing run? The list says what waits, one of them says why, and what to do about it.
    look = mine.call("overview")
    assert "paused" in look["verdict"] or "no worker lives" in look["verdict"]
    found = mine.call("search", q="state:pending task:shop.pay")["items"]
    assert {one["id"] for one in found} == set(waiting)
    why = mine.call("task", id=found[0]["id"])["why"]
    assert why["reason"] == "paused"
    assert why["details"]["by"] == "bob"
    assert why["details"]["why"] == "the bank is away"

    # Repair: the queue goes on. Now there is no worker, which only a person can start: the reason names the command.
    mine.call("act_on_queue", queue="celery", action="resume", reason="asked by ann")
    why = mine.call("task", id=waiting[0])["why"]
    assert why["reason"] == "no_worker"
    assert "liteq worker" in why["text"]

    with start_worker(app, pool="threads"):
        # It runs, and fails: the cause, once; and what to do about its tasks, as a preview first.
        for id_ in waiting:
            assert mine.call("wait", id=id_, timeout_s=50)["state"] == "FAILURE"
        (cause,) = [one for one in mine.call("failures")["items"] if one["task"] == "shop.pay"]
        assert (cause["exception"].rpartition(".")[2], cause["n"]) == ("ConnectionError", 3)
        paid["declines"] = False
        q = f"state:dead cause:{cause['id']}"
        seen = mine.call("bulk", action="requeue", q=q)
        assert seen["found"]["n"] == 3
        done = mine.call("bulk", action="requeue", q=q, token=seen["token"], reason="the bank is back")
        assert done["done"] == 3
        assert [mine.call("wait", id=id_, timeout_s=50)["result"] for id_ in waiting] == ["paid 0", "paid 1", "paid 2"]

        # A run that waits for a person is asked of that person, and ends.
        eventually(lambda: mine.call("workflow", q="status:waiting")["items"])
        (run,) = mine.call("workflow", q="status:waiting")["items"]
        assert run["id"] == refund.id
        mine.call("act_on_run", id=run["id"], action="approve", title="refund?", ok=True)
        assert mine.call("wait", id=run["id"], timeout_s=50)["result"] == "refunded"
        assert len(mine.asked) == 1

    by_agent = [(action, target) for who, source, action, target in acts() if (who, source) == ("ann", "mcp")]
    assert [action for action, _ in by_agent if action in {"resume", "approve"}] == ["resume", "approve"]
    assert ("requeue", done["id"]) in by_agent
