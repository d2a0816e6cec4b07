"""The acts of an agent: by right, noted in the audit, and a person is asked before what cannot be undone."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from liteq.testing import FakeClock, drain
from liteq.workflow import ctx

from .conftest import MODES, Failed


def test_deletion_asks_in_either_protocol_and_is_audited(agent, app, acts):
    for mode in MODES:
        sent = app.tasks["shop.add"].delay(1)
        drain(app)
        mine = agent("admin", mode=mode, person=True)
        done = mine.call("act_on_task", id=sent.id, action="delete", reason="old")
        assert done["id"] == sent.id
        assert mine.asked == [f"delete shop.add {sent.id} (succeeded, queue celery)? Then it is gone for good."]
        assert app.storage.reader.find(sent.id) is None
        assert acts()[-1] == ("ann", "mcp", "delete", sent.id)


@pytest.mark.parametrize("mode", MODES)
def test_a_queue_that_grows_while_a_person_thinks_is_purged(agent, app, mode):
    def thinks():
        app.tasks["shop.mail"].delay("b")
        return True

    app.tasks["shop.mail"].delay("a")
    mine = agent("admin", mode=mode, person=thinks)
    assert mine.call("act_on_queue", queue="mail", action="purge")["purged"] == 2
    assert len(mine.asked) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("person", [False, "cancel"])
def test_a_person_who_does_not_agree_stops_it(agent, app, acts, mode, person):
    sent = app.tasks["shop.add"].delay(1)
    drain(app)
    mine = agent("admin", mode=mode, person=person)
    with pytest.raises(Failed, match="nothing was done: a person was asked, and did not agree"):
        mine.call("act_on_task", id=sent.id, action="delete")
    assert len(mine.asked) == 1
    assert app.storage.reader.find(sent.id) is not None
    assert acts() == []


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_cannot_ask_is_told_the_command(agent, app, mode):
    run = app.tasks["shop.refund"].start(7, 12.5)
    drain(app)
    mine = agent("admin", mode=mode)
    for name, arguments, command in (
        ("act_on_task", {"id": run.id, "action": "terminate"}, f"`liteq act terminate {run.id}`"),
        ("act_on_queue", {"queue": "mail", "action": "purge"}, "`liteq purge -Q mail`"),
        (
            "act_on_run",
            {"id": run.id, "action": "approve", "title": "refund?"},
            f"`liteq workflow approve {run.id} 'refund?' --yes --by ann`",
        ),
        (
            "act_on_run",
            {"id": run.id, "action": "approve", "title": "refund?", "data": {"n": 1}, "reason": "she is right"},
            "--yes --by ann '--comment=she is right' '--data={\"n\": 1}'`",
        ),
        ("send_task", {"name": "shop.mail", "args": ["a"]}, "`liteq call shop.mail"),
        (
            "send_task",
            {"name": "shop.mail", "args": ["a"], "options": {"countdown": 90, "task_id": "m 1", "queue": "mail"}},
            "--countdown=90 '--task-id=m 1' --queue=mail`",
        ),
    ):
        with pytest.raises(Failed) as refused:
            mine.call(name, **arguments)
        assert "a person has to confirm this, and this client cannot ask one" in str(refused.value)
        assert command in str(refused.value)
    assert app.Run(run.id).status == "waiting"


def test_a_whole_number_of_any_size_is_sent(agent, app):
    with pytest.raises(Failed, match=r"a person has to confirm this.*--args '.100000000000000000000.'"):
        agent("admin").call("send_task", name="shop.add", args=[10**20])
    sent = agent("admin", yes=["send_task"]).call("send_task", name="shop.add", args=[10**20])
    drain(app)
    assert app.AsyncResult(sent["id"]).get(timeout=5) == 10**20 + 2


def test_yes_turns_the_question_off_for_one_action_alone(agent, app):
    mine = agent("admin", yes=["delete"])
    sent = app.tasks["shop.add"].delay(1)
    drain(app)
    mine.call("act_on_task", id=sent.id, action="delete")
    with pytest.raises(Failed, match="a person has to confirm this"):
        mine.call("act_on_queue", queue="celery", action="purge")


def test_an_answer_that_was_never_asked_for_is_no_answer(agent, app):
    """A model could write the answer into its call: it is not taken without this server's own question."""
    from mcp.types import CallToolResult, ElicitResult

    sent = app.tasks["shop.add"].delay(1)
    drain(app)
    mine = agent("admin", mode="2026-07-28", person=True)
    yes = {"confirm": ElicitResult(action="accept", content={"confirm": True})}
    arguments = {"id": sent.id, "action": "delete"}

    async def forge(**more):
        return await mine.client.session.call_tool(
            "act_on_task", arguments, input_responses=yes, allow_input_required=True, **more
        )

    async def forged():
        return await forge()

    assert not isinstance(mine.do(forged), CallToolResult)  # it asks
    assert app.storage.reader.find(sent.id) is not None


def test_retry_pause_and_resume_ask_nobody(agent, app, acts):
    later = app.tasks["shop.add"].apply_async((1,), countdown=3600)
    dead = app.tasks["shop.charge"].delay(1, card="x")
    drain(app)
    mine = agent("operator")
    mine.call("act_on_task", id=later.id, action="retry")
    mine.call("act_on_task", id=dead.id, action="requeue", reason="the bank is back")
    mine.call("act_on_task", id=dead.id, action="move", queue="slow")
    mine.call("act_on_task", id=later.id, action="run_at", at="2099-01-01T00:00+00:00")
    mine.call("act_on_queue", queue="mail", action="pause", reason="spam")
    paused = {one["name"]: one["paused"] for one in mine.call("queues")["items"]}
    assert (paused["mail"]["by"], paused["mail"]["reason"], paused["slow"]) == ("ann", "spam", None)
    mine.call("act_on_queue", queue="mail", action="resume")
    assert (app.storage.reader.find(dead.id).queue, app.storage.reader.find(later.id).state) == ("slow", "scheduled")
    done = {(action, target) for who, source, action, target in acts() if (who, source) == ("ann", "mcp")}
    assert {("retry", later.id), ("requeue", dead.id), ("move", dead.id)} <= done


def test_what_its_state_does_not_allow_is_refused_before_anybody_is_asked(agent, app):
    sent = app.tasks["shop.add"].delay(1)
    mine = agent("admin", person=True)
    for id_, action in ((sent.id, "delete"), ("not-there", "delete")):
        with pytest.raises(Failed):
            mine.call("act_on_task", id=id_, action=action)
    run = app.tasks["shop.refund"].start(7, 12.5)
    drain(app)
    with pytest.raises(Failed, match=r"no approval 'refnd\?'; did you mean 'refund\?'"):
        mine.call("act_on_run", id=run.id, action="approve", title="refnd?")
    with pytest.raises(Failed, match="too many positional arguments"):
        mine.call("send_task", name="shop.add", args=[1, 2, 3])
    assert mine.asked == []


# -- runs --------------------------------------------------------------------------------------------------------------


def test_an_approval_is_a_persons_and_bears_the_name(agent, app, acts):
    run = app.tasks["shop.refund"].start(7, 12.5)
    drain(app)
    mine = agent("admin", person=True)
    mine.call("act_on_run", id=run.id, action="approve", title="refund?", reason="as agreed")
    assert mine.asked == [f"Approve 'refund?' of shop.refund {run.id}? The decision is yours (ann), and final."]
    drain(app)
    assert app.Run(run.id).result(timeout=0) == "refunded"
    assert acts()[-1][:3] == ("ann", "mcp", "approve")


def test_nobody_is_asked_about_a_decision_that_does_not_fit_its_form(agent, app):
    class Amount(BaseModel):
        amount: int

    @app.workflow(name="shop.ask")
    def ask() -> object:
        return ctx.approval("how much?", form=Amount).data

    run = ask.start()
    drain(app)
    mine = agent("admin", person=True)
    for data in ({"amount": "much"}, {}, None):
        with pytest.raises(Failed, match=r"does not fit: (amount|data)"):
            mine.call("act_on_run", id=run.id, action="approve", title="how much?", data=data)
    assert mine.asked == []
    mine.call("act_on_run", id=run.id, action="approve", title="how much?", data={"amount": 3})
    assert len(mine.asked) == 1


def test_a_run_in_a_workflow_of_another_queue_is_nobodys_who_does_not_see_that(agent, app):
    @app.workflow(name="shop.asks", queue="mail")
    def asks():
        ctx.approval("Go?")

    @app.workflow(name="shop.calls")
    def calls():
        ctx.call(asks)

    calls.start()
    drain(app)
    (open_,) = app.storage.runs.approvals(limit=9)
    mine = agent("admin", queues=["mail"], person=True)
    for action, more in (("approve", {"title": "Go?"}), ("send", {"name": "x"}), ("cancel", {})):
        with pytest.raises(Failed, match="there is no run"):
            mine.call("act_on_run", id=open_.run_id, action=action, **more)
    assert mine.asked == []
    assert mine.call("workflow", q="status:waiting")["items"] == []
    assert mine.call("bulk", action="cancel", q="status:waiting")["found"]["n"] == 0


def test_a_run_gets_an_event_is_paused_and_goes_on(agent, app):
    run = app.tasks["shop.pick"].start(7)
    drain(app)
    mine = agent("operator")
    mine.call("act_on_run", id=run.id, action="pause")
    assert mine.call("workflow", id=run.id)["status"] == "paused"
    mine.call("act_on_run", id=run.id, action="resume")
    with pytest.raises(Failed, match=r"^name: name the event$"):
        mine.call("act_on_run", id=run.id, action="send")
    mine.call("act_on_run", id=run.id, action="send", name="picked", payload={"shelf": 3})
    drain(app)
    assert mine.call("wait", id=run.id)["result"] == {"shelf": 3}


def test_a_run_is_forked_and_rewound_to_a_step(agent, app):
    run = app.tasks["shop.pick"].start(7)
    run.send("picked", 1)
    drain(app)
    mine = agent("admin", person=True)
    made = mine.call("act_on_run", id=run.id, action="fork", step=1)
    assert made["id"] != run.id
    assert app.Run(made["id"]).info().forked_from == run.id
    mine.call("act_on_run", id=run.id, action="rewind", step=1)
    assert "rewind shop.pick" in mine.asked[0]


def test_the_same_id_again_is_the_same_run(agent, app, acts):
    mine = agent(["view", "workflows"])
    first = mine.call("start_workflow", name="shop.pick", input={"order": 7}, id="order-7")
    again = mine.call("start_workflow", name="shop.pick", input={"order": 7}, id="order-7")
    assert first["id"] == again["id"] == "order-7"
    assert acts() == [("ann", "mcp", "start", "order-7")]
    for given, error in (
        ({"name": "shop.pick", "input": {"order": "x"}}, r"^input\.order: 'x' is not of type 'integer'$"),
        ({"name": "shop.pick", "input": {}}, r"^input\.order: it is required$"),
        ({"name": "shop.pik"}, r"^name: it is one of shop\.pick, shop\.refund, not 'shop\.pik'$"),
        ({"name": "shop.pick", "input": {"order": 8}, "id": "order-7"}, "order-7"),
    ):
        with pytest.raises(Failed, match=error):
            mine.call("start_workflow", **given)


def test_workflows_can_be_a_permission_of_their_own(agent):
    mine = agent(["view"], workflows=("shop.pi*",))
    assert mine.tools()["start_workflow"].input_schema["properties"]["name"] == {"enum": ["shop.pick"]}
    assert "act_on_run" not in mine.tools()


def test_a_task_by_its_name_is_sent_once_a_person_agrees(agent, app, acts):
    mine = agent("admin", person=True)
    sent = mine.call("send_task", name="shop.add", args=[1], kwargs={"y": 5}, options={"queue": "slow"})
    assert mine.asked == ["Send shop.add to the queue slow with 1, y=5? A worker runs it, and all that it does."]
    record = app.storage.reader.find(sent["id"])
    assert (record.task, record.queue) == ("shop.add", "slow")
    assert acts()[-1] == ("ann", "mcp", "send", "shop.add")
    with pytest.raises(Failed, match=r"shop\.add"):
        mine.call("send_task", name="shop.add", args=[1, 2, 3])


def test_a_queue_that_there_is_not_is_told_to_an_agent_as_one(agent, app):
    app.conf.update(task_queues=["celery"], task_create_missing_queues=False)
    with pytest.raises(Failed, match=r"there is no queue for this call: .* the queue is not in task_queues"):
        agent("admin", person=True).call("send_task", name="shop.add", args=[1], options={"queue": "nope"})


def test_tasks_of_liteqs_own_are_sent_by_no_agent(agent, app):
    """That of flows would run the commands in the text that it is given."""

    @app.workflow(name="liteq.flow")
    def flow(snapshot: dict) -> None: ...

    mine = agent("admin", person=True, tasks=["*"])
    assert "liteq.flow" not in mine.tools()["start_workflow"].input_schema["properties"]["name"]["enum"]
    assert not [name for name in mine.tools() if name.startswith(("run_liteq", "run_flow", "run_celery"))]
    for name, given in (("start_workflow", {"input": {"snapshot": {}}}), ("send_task", {"args": [{}]})):
        with pytest.raises(Failed, match=r"^name: "):
            mine.call(name, name="liteq.flow", **given)
    with pytest.raises(Failed, match=r"^name: "):
        mine.call("send_task", name="celery.backend_cleanup")
    assert mine.asked == []


def test_a_schedule_is_run_paused_and_resumed(agent, app):
    app.schedules.add("hourly", 3600, "shop.add", args=(1,))
    mine = agent("operator")
    sent = mine.call("act_on_schedule", name="hourly", action="run")
    assert app.storage.reader.find(sent["id"]).task == "shop.add"
    mine.call("act_on_schedule", name="hourly", action="pause")
    assert mine.call("schedules")["items"][0]["enabled"] is False
    mine.call("act_on_schedule", name="hourly", action="resume")
    with pytest.raises(Failed, match="there is no schedule 'x'"):
        mine.call("act_on_schedule", name="x", action="run")


# -- many --------------------------------------------------------------------------------------------------------------


def dead(app, n):
    for order in range(n):
        app.tasks["shop.charge"].delay(order, card="x")
    drain(app)


def test_a_preview_does_nothing_and_its_token_does_what_it_showed(agent, app, acts):
    dead(app, 7)
    mine = agent("operator")
    seen = mine.call("bulk", action="requeue", q="state:dead")
    assert (seen["found"], seen["not_eligible"], len(seen["sample"])) == ({"n": 7, "exact": True}, {}, 5)
    assert acts() == []
    done = mine.call("bulk", action="requeue", q="state:dead", token=seen["token"], reason="back")
    assert (done["done"], done["state"]) == (7, "done")
    assert mine.call("search", q="state:dead")["items"] == []
    assert ("ann", "mcp", "requeue", done["id"]) in acts()


def test_a_token_is_good_for_that_preview_alone_and_for_five_minutes(tmp_path, connected):
    from liteq import LiteQ
    from liteq_dashboard import Viewer
    from liteq_mcp.options import Options
    from liteq_mcp.server import mcp_server

    from .conftest import _declare

    clock = FakeClock()
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path / 'timed.db'}", clock=clock)
    _declare(app)
    dead(app, 3)
    mine = connected(mcp_server(app, lambda _: Viewer("ann", "admin"), Options()), person=True)
    token = mine.call("bulk", action="requeue", q="state:dead")["token"]
    changed = r"^token: it is of another action, of another search, or what is found has changed since"
    for given in (
        {"action": "delete", "q": "state:dead"},
        {"action": "requeue", "q": "state:dead task:shop.*"},
        {"action": "move", "q": "state:dead", "queue": "x"},
    ):
        with pytest.raises(Failed, match=changed):
            mine.call("bulk", **given, token=token)
    with pytest.raises(Failed, match=r"^token: it is over, or none"):
        mine.call("bulk", action="requeue", q="state:dead", token="x")
    dead(app, 1)
    with pytest.raises(Failed, match=changed):
        mine.call("bulk", action="requeue", q="state:dead", token=token)
    token = mine.call("bulk", action="requeue", q="state:dead")["token"]
    clock.advance(seconds=301)
    with pytest.raises(Failed, match=r"^token: it is over"):
        mine.call("bulk", action="requeue", q="state:dead", token=token)
    assert len(mine.call("search", q="state:dead")["items"]) == 4
    app.close()


def test_many_are_deleted_once_a_person_agrees_to_the_number(agent, app):
    for n in range(3):
        app.tasks["shop.add"].delay(n)
    drain(app)
    mine = agent("admin", person=True)
    given = {"action": "delete", "q": "state:succeeded"}
    mine.call("bulk", **given, token=mine.call("bulk", **given)["token"])
    assert mine.asked == ["delete the 3 that `state:succeeded` finds? It is not undone."]
    assert mine.call("search", q="state:succeeded")["items"] == []


def test_more_than_five_hundred_go_on_as_an_operation(agent, app, eventually):
    app.enqueue_many("shop.add", [(n,) for n in range(501)])
    mine = agent("operator")
    token = mine.call("bulk", action="revoke", q="task:shop.add")["token"]
    begun = mine.call("bulk", action="revoke", q="task:shop.add", token=token)
    from liteq.monitor.operations import operation

    eventually(lambda: operation(app, begun["id"])["state"] == "done")
    assert operation(app, begun["id"])["done"] == 501


def test_runs_that_are_stuck_are_resumed_together(agent, app):
    for order in range(2):
        app.tasks["shop.pick"].start(order)
    drain(app)
    mine = agent("operator")
    token = mine.call("bulk", action="pause", q="workflow:shop.pick")["token"]
    assert mine.call("bulk", action="pause", q="workflow:shop.pick", token=token)["done"] == 2
    assert [one["status"] for one in mine.call("workflow", q="status:paused")["items"]] == ["paused", "paused"]
