"""The tools that look: the dashboard's readers, in Celery's words, cut to size, with secrets hidden."""

from __future__ import annotations

import pytest

from liteq.testing import drain, start_worker

from .conftest import MODES, Failed


@pytest.mark.parametrize("mode", MODES)
def test_one_task_tells_its_state_result_and_why(agent, app, mode):
    sent = app.tasks["shop.add"].delay(1)
    mine = agent(mode=mode)
    waits = mine.call("task", id=sent.id)
    assert (waits["state"], waits["result"], waits["why"]["reason"]) == ("PENDING", None, "no_worker")
    drain(app)
    done = mine.call("task", id=sent.id, parts=["kin"])
    assert (done["id"], done["task"], done["queue"]) == (sent.id, "shop.add", "celery")
    assert (done["state"], done["result"], done["error"], done["why"]["reason"]) == ("SUCCESS", 3, None, "done")
    assert ("kin" in done, "kin" in waits) == (True, False)


def test_a_task_that_a_worker_has_is_started_whether_or_not_it_tracks_that(agent, app, tmp_path, eventually):
    @app.task(name="shop.hold")
    def hold() -> None:
        (tmp_path / "began").touch()
        while not (tmp_path / "go").exists():
            __import__("time").sleep(0.01)

    sent = hold.delay()
    mine = agent()
    with start_worker(app, pool="threads"):
        eventually((tmp_path / "began").exists)
        assert mine.call("task", id=sent.id)["state"] == "STARTED"
        assert mine.call("wait", id=sent.id, timeout_s=0)["state"] == "STARTED"
        (tmp_path / "go").touch()
        assert mine.call("wait", id=sent.id, timeout_s=50)["state"] == "SUCCESS"


def test_a_wait_ends_with_the_state_so_far_and_with_a_notice_each_second(agent, app):
    sent = app.tasks["shop.add"].delay(1)
    mine = agent()
    told = []

    async def progress(at, total, message):
        told.append((total, message))

    async def ask():
        return await mine.client.call_tool("wait", {"id": sent.id, "timeout_s": 1.5}, progress_callback=progress)

    found = mine.do(ask).structured_content
    assert (found["state"], found["ended"]) == ("PENDING", False)
    assert found["waited_s"] >= 1.5
    assert set(told) == {(1.5, "PENDING")}
    with pytest.raises(Failed, match=r"^timeout_s: 51 is greater than the maximum of 50$"):
        mine.call("wait", id=sent.id, timeout_s=51)
    with pytest.raises(Failed, match="there is no task or run 'x'"):
        mine.call("wait", id="x")


def test_a_run_tells_what_it_waits_for_and_its_approvals(agent, app):
    run = app.tasks["shop.refund"].start(7, 12.5)
    drain(app)
    mine = agent()
    found = mine.call("workflow", id=run.id)
    assert (found["id"], found["name"], found["status"]) == (run.id, "shop.refund", "waiting")
    assert "refund?" in found["waiting_for"][0]
    (approval,) = found["approvals"]
    assert (approval["title"], approval["details"]) == ("refund?", {"order": 7, "amount": 12.5})
    assert (approval["since"] > 0, approval["due"]) == (True, None)
    assert [one["kind"] for one in found["steps"]] == ["approval"]
    assert [one["id"] for one in mine.call("workflow", q="status:waiting")["items"]] == [run.id]
    assert [one["id"] for one in mine.call("workflow", q="shop.pick")["items"]] == []
    assert [one["id"] for one in mine.call("workflow")["items"]] == [run.id]
    (sought,), (newest,) = (mine.call("workflow", **how)["items"] for how in ({"q": "shop.refund"}, {}))
    assert (sought["created"], sought["created_iso"]) == (newest["created"], newest["created_iso"])
    first = app.tasks["shop.refund"].start(8, 1.0)
    newest = mine.call("workflow", limit=1)
    assert [one["id"] for one in newest["items"]] == [first.id]
    assert [one["id"] for one in mine.call("workflow", limit=1, after=newest["next"])["items"]] == [run.id]
    with pytest.raises(Failed, match="there is no workflow 'x'"):
        mine.call("workflow", id="x")


def test_details_are_hidden_from_a_viewer_without_payloads_who_does_not_decide(agent, app):
    run = app.tasks["shop.refund"].start(7, 12.5)
    drain(app)
    hidden = "(hidden: it needs the right `payloads` or `approve`)"
    assert agent(["view"]).call("workflow", id=run.id)["approvals"][0]["details"] == hidden
    assert agent(["view", "approve"]).call("workflow", id=run.id)["approvals"][0]["details"]["order"] == 7


def test_pages_of_a_search_follow_each_other_to_the_end(agent, app):
    sent = [app.tasks["shop.add"].delay(n).id for n in range(25)]
    mine = agent()
    found, after = [], None
    while True:
        page = mine.call("search", q="task:shop.add", limit=10, **({"after": after} if after else {}))
        found += [one["id"] for one in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert sorted(found) == sorted(sent)
    with pytest.raises(Failed, match="unknown"):
        mine.call("search", q="stat:dead")


def test_secrets_pass_nowhere_and_cannot_be_searched_for(agent, app):
    sent = app.tasks["shop.charge"].delay(7, card="4111-1111")
    app.tasks["shop.add"].delay(1)
    drain(app)
    mine = agent("admin", tasks=["shop.*"])
    whole = [
        mine.result("overview"), mine.result("search"), mine.result("failures"), mine.result("workflow", id=sent.id),
        mine.result("task", id=sent.id, parts=["traceback", "kin", "limits"]), mine.result("wait", id=sent.id),
        mine.result("bulk", action="requeue", q="state:dead"),
    ]  # fmt: skip
    texts = [one.content[0].text for one in whole]
    texts += [mine.read(f"liteq://tasks/{sent.id}"), mine.read(f"liteq://tasks/{sent.id}/traceback")]
    texts += [mine.read("liteq://types/shop.charge"), mine.read("liteq://overview")]
    assert [text for text in texts if "4111-1111" in text] == []
    assert "declined: ***" in texts[4]
    for q in ("4111-1111", "kwargs.card:4111-1111", "error:*4111*"):
        assert mine.call("search", q=q)["items"] == []


def test_queues_of_others_are_not_there(agent, app):
    mine_, others = app.tasks["shop.mail"].delay("a").id, app.tasks["shop.add"].delay(1).id
    mine = agent("admin", queues=["mail*"], person=True)
    assert [one["name"] for one in mine.call("queues")["items"]] == ["mail"]
    assert [one["id"] for one in mine.call("search", q="state:pending")["items"]] == [mine_]
    for name, arguments in (
        ("task", {"id": others}),
        ("wait", {"id": others}),
        ("workflow", {"id": others}),
        ("act_on_task", {"id": others, "action": "delete"}),
        ("act_on_queue", {"queue": "celery", "action": "purge"}),
    ):
        with pytest.raises(Failed, match="there is no"):
            mine.call(name, **arguments)
    with pytest.raises(Failed, match="goes to a queue that you do not see"):
        mine.call("send_task", name="shop.add", args=[1])
    assert mine.asked == []
    assert mine.call("doctor")["file"] == {}


def test_what_is_large_is_cut_and_said_to_be(agent, app):
    @app.task(name="shop.big")
    def big(text: str) -> list[str]:
        return [text] * 40

    sent = big.delay("x" * 20_000)
    drain(app)
    mine = agent()
    found = mine.result("task", id=sent.id)
    assert len(found.content[0].text) < 50_000
    document = found.structured_content
    assert document["args"][0].endswith("… (12,000 characters more)")
    assert document["left_out"]["result"] == 40 - len(document["result"])


def ids_of_all_pages(mine, tool, key="id", **asked):
    """The ids, or names, of a list, page after page; each page is whole."""
    found, after = [], None
    for _ in range(100):
        page = mine.call(tool, **asked, **({} if after is None else {"after": after}))
        assert "left_out" not in page
        found += [one[key] for one in page["items"]]
        after = page["next"]
        if after is None:
            return found
    raise AssertionError("the list does not end")


def test_a_page_that_is_too_large_is_a_smaller_page(agent, app):
    @app.task(name="shop.fail")
    def fail(text: str) -> None:
        raise ValueError(text)

    sent = [fail.delay("x" * 3_000).id for _ in range(60)]
    drain(app)
    mine = agent()
    assert sorted(ids_of_all_pages(mine, "search", q="state:dead", limit=60)) == sorted(sent)
    assert len(mine.call("search", q="state:dead", limit=60)["items"]) < 60


def test_a_list_that_is_too_large_goes_on_behind_its_last_item(agent, app):
    for n in range(150):
        app.send_task("shop.add", (n,), queue=f"queue-{n:03d}")
    mine = agent()
    assert ids_of_all_pages(mine, "queues", key="name") == [f"queue-{n:03d}" for n in range(150)]
    assert len(mine.call("queues", limit=7)["items"]) == 7
    with pytest.raises(Failed, match=r"^after: there is no 'gone' in the list now"):
        mine.call("queues", after="gone")


def test_more_queues_than_are_looked_at_are_said_to_be_there(agent, app):
    for n in range(201):
        app.send_task("shop.add", (n,), queue=f"queue-{n:03d}")
    assert agent().call("queues", limit=1)["note"] == "the first 200 with messages"


def test_the_steps_of_a_long_run_are_read_a_page_at_a_time(agent, app):
    """More than the dashboard's page of a run shows; and the last one is the one at which it failed."""

    @app.step
    def step(n: int) -> str:
        if n == 599:
            raise ValueError("no")
        return "x" * 100

    @app.workflow(name="shop.long")
    def long() -> None:
        for n in range(600):
            step(n)

    run = long.start()
    drain(app)
    mine, found, after = agent(), [], "0"
    while after is not None:
        page = mine.call("workflow", id=run.id, after=after)
        assert "left_out" not in page
        assert page["progress"]["total"]["n"] == 600
        found += page["steps"]
        after = page["next"]
    assert [one["n"] for one in found] == list(range(1, 601))
    assert found[-1]["status"] == "failed"
    with pytest.raises(Failed, match=r"^after: with an id, give `next`"):
        mine.call("workflow", id=run.id, after="x")


@pytest.mark.parametrize("q", [None, "workflow:shop.pick"])
def test_no_run_is_lost_between_two_pages_of_runs(agent, app, q):
    """A list that was cut to what an agent is given went on behind those that were left out."""
    flow = app.tasks["shop.pick"]
    tags = [f"{n}:{'t' * 80}" for n in range(6)]
    sent = [flow.options(id=f"run-{n}", tags=tags).start(n).id for n in range(100)]
    found = ids_of_all_pages(agent(), "workflow", limit=100, **({} if q is None else {"q": q}))
    assert sorted(found) == sorted(sent)


def test_the_file_and_its_work_are_checked(agent, app):
    app.tasks["shop.add"].delay(1)
    found = agent().call("doctor")
    assert found["ok"] is True
    assert {"no worker", "library"} <= {one["name"] for one in found["checks"]}


def test_a_cause_is_listed_and_shown_with_its_tasks(agent, app):
    sent = app.tasks["shop.charge"].delay(7, card="4111-1111")
    drain(app)
    mine = agent()
    (cause,) = mine.call("failures")["items"]
    assert (cause["task"], cause["n"], cause["sample"]) == ("shop.charge", 1, sent.id)
    (one,) = mine.call("failures", cause=cause["id"])["items"]
    assert [task["id"] for task in one["tasks"]] == [sent.id]
    assert "ValueError" in one["traceback"]
    with pytest.raises(Failed, match="there is no cause 'x'"):
        mine.call("failures", cause="x")


def test_the_spending_of_runs_is_listed_the_dearest_first(agent, app):
    from liteq.workflow import ctx

    @app.step(name="shop.ask")
    def ask(model: str, cost: str) -> None:
        ctx.spend(model=model, input_tokens=10, output_tokens=2, cost=cost)

    @app.workflow(name="shop.think")
    def think() -> None:
        ask("small", "0.01")
        ask("large", "0.50")

    think.start()
    drain(app)
    mine = agent()
    found = mine.call("usage")
    assert [(one["model"], one["requests"], one["cost"]) for one in found["items"]] == [
        ("large", 1, "0.5"), ("small", 1, "0.01")
    ]  # fmt: skip
    (by_workflow,) = mine.call("usage", by="workflow", since="1d")["items"]
    assert (by_workflow["workflow"], by_workflow["input_tokens"], by_workflow["cost"]) == ("shop.think", 20, "0.51")
    assert agent(queues=["mail"]).call("usage")["items"] == []
    with pytest.raises(Failed, match=r"^since: "):
        mine.call("usage", since="soon")
