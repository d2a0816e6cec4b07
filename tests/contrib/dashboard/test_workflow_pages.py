"""Pages of workflows and approvals: canvases and coded runs, made by real sends and executed here."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, Field

from liteq import LiteQ, chain, chord, group
from liteq.clock import FakeClock
from liteq.message import WorkerIdentity, new_id
from liteq.workflow import ctx
from liteq.workflow.client.drain import outcome_of
from liteq_dashboard import Viewer

HOSTILE = "</svg><script>alert(1)</script>\"'&"


class Payment(BaseModel):
    amount: int = Field(ge=1, le=500, description="In cents")
    urgent: bool = False


def work(app: LiteQ, most: int = 1_000, *, ends: bool = True) -> None:
    """Execute what is due, one after another; `most` of it."""
    number = app.storage.register_worker(WorkerIdentity(new_id(), "w1", "host", "", os.getpid(), ""))
    flows = {name: task.run_spec for name, task in app.tasks.items() if hasattr(task, "run_spec")}
    for _ in range(most):
        turn = app.storage.turn(
            (), ["celery", "mail"], worker=number, limit=1, visibility_s=60, expectant=True, flows=flows
        )
        if not turn.leases:
            return
        lease, began = turn.leases[0], app.clock.now_ms()
        outcome = outcome_of(app, lease)
        app.storage.settle([(lease, outcome)], ran={lease.token: (began, (app.clock.now_ms() - began) / 1000)})
    assert not ends, "there is no end to it"


@pytest.fixture
def app(tmp_path):
    with LiteQ("shop", broker=f"sqlite:///{tmp_path / 'q.db'}", clock=FakeClock(), set_as_current=False) as made:
        made.storage.migrate()

        @made.task(name="add")
        def add(*numbers: Any) -> int:
            return 1

        @made.task(name="refuse")
        def refuse(*args: Any) -> None:
            raise ValueError("declined")

        @made.task(name="send_mail", queue="mail")
        def send_mail(*args: Any) -> None: ...

        @made.step(name="charge")
        def charge(n: int) -> int:
            return n

        @made.workflow(name="order")
        def order(n: int = 1) -> int:
            charge(n)
            ctx.gather([ctx.spawn(add, 1), ctx.spawn(add, 2)])
            found = ctx.approval("Pay it?", details={"total": 1200}, form=Payment, timeout="2d")
            charge(found.data["amount"] if isinstance(found.data, dict) else 0)
            ctx.sleep("1d")
            return n

        yield made


def of(app: LiteQ, name: str) -> Any:
    return app.tasks[name]


def waiting_run(app: LiteQ, id_: str = "order-7") -> str:
    of(app, "order").options(id=id_).start(7)
    work(app)
    return id_


# -- the list ----------------------------------------------------------------------------------------------------------


def test_canvases_and_runs_stand_together_the_newest_first(app, client):
    add = of(app, "add")
    chord([add.s(1), add.s(2)], add.s()).apply_async()
    app.clock.advance(seconds=1)
    of(app, "order").options(id="zz-first").start()
    app.clock.advance(seconds=1)
    group(add.s(1), add.s(2)).apply_async()
    add.delay(3)  # a plain task is no workflow
    items = client(app).get("api/v1/workflows").json["items"]
    assert [(one["kind"], one["name"]) for one in items] == [("canvas", "add"), ("run", "order"), ("canvas", "add")]
    assert [one["progress"]["total"]["n"] for one in items if one["progress"]] == [2, 3]
    page = client(app).get("workflows")
    assert page.status == 200
    assert page.words().count("canvas") >= 2


def test_pages_of_the_list_lead_to_each_workflow_once(app, client):
    add = of(app, "add")
    wanted = set()
    for n in range(60):
        app.clock.advance(seconds=1)
        if n % 3:
            wanted.add(chain(add.s(1), add.s(2)).apply_async().parent.id)
        else:
            wanted.add(of(app, "order").options(id=f"run-{n}").start().id)
    found, after = [], ""
    while after is not None:
        page = client(app).get(f"api/v1/workflows?after={after.replace(' ', '+')}").json
        found += [one["id"] for one in page["items"]]
        after = page["next"]
    assert len(found) == len(set(found))
    assert set(found) == wanted


def test_a_viewer_of_one_queue_sees_the_workflows_that_begin_there(app, client):
    add, mail = of(app, "add"), of(app, "send_mail")
    seen = chain(mail.s(), add.s()).apply_async()
    hidden = chain(add.s(), mail.si()).apply_async()
    ann = client(app, "admin", queues=["mail"])
    assert [one["id"] for one in ann.get("api/v1/workflows").json["items"]] == [seen.parent.id]
    assert ann.get(f"workflows/{hidden.id}").status == 404
    assert ann.get(f"api/v1/workflows/{hidden.parent.id}").status == 404
    found = ann.get(f"api/v1/workflows/{seen.id}").json
    assert (found["elsewhere"], [one["task"] for one in found["rows"]["items"]]) == (1, ["send_mail"])
    # As a word of its own: an id may hold these three letters.
    words = [viewer.get(f"workflows/{seen.id}?view=table").words().split() for viewer in (client(app), ann)]
    assert [["add" in found, "send_mail" in found] for found in words] == [[True, True], [False, True]]


def test_the_list_tells_of_a_large_canvas_by_its_counter(app, client):
    add = of(app, "add")
    chain(add.s(0), group(add.s(n) for n in range(500)), add.s()).apply_async()
    work(app, 450, ends=False)
    one = client(app).get("api/v1/workflows").json["items"][0]
    assert (one["status"], one["progress"]["total"]) == ("waiting", {"n": 500, "exact": False})
    assert (one["progress"]["done"], one["progress"]["waiting"]) == (449, 51)


# -- one ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["graph", "gantt", "table"])
def test_a_canvas_is_found_by_any_id_of_it(app, client, view):
    add = of(app, "add")
    sent = chain(add.s(1), group(add.s(2), of(app, "refuse").s()), add.s()).apply_async()
    work(app)
    members = [sent.id, sent.parent.id, sent.parent.parent.id, sent.parent.results[0].id]
    pages = [client(app).get(f"workflows/{id_}?view={view}") for id_ in members]
    assert {page.status for page in pages} == {200}
    first = client(app).get(f"api/v1/workflows/{sent.id}").json
    assert first["id"] == first["root"] == sent.parent.parent.id
    assert (first["status"], first["progress"]["done"], first["progress"]["failed"]) == ("failed", 2, 2)
    assert "declined" in pages[0].text or view != "table"


def test_what_failed_is_requeued_through_the_preview(app, client):
    sent = group(of(app, "refuse").s(), of(app, "add").s()).apply_async()
    work(app)
    page = client(app).get(f"workflows/{sent.id}").text
    assert "operations/preview?action=requeue" in page
    assert "operations/preview" not in client(app, "viewer").get(f"workflows/{sent.id}").text


def test_a_strip_leads_to_its_members(app, client):
    add = of(app, "add")
    sent = group(add.s(n) for n in range(300)).apply_async()
    page = client(app).get(f"workflows/{sent.id}").text
    assert f"view=table&amp;group={sent.id}" in page
    table = client(app).get(f"workflows/{sent.id}?view=table&group={sent.id}")
    assert table.text.count("data-row=") == 100
    following = client(app).get(f"api/v1/workflows/{sent.id}").json["rows"]["next"]
    assert client(app).get(f"workflows/{sent.id}?view=table&after={following}").text.count("data-row=") == 100


def test_the_gantt_says_where_the_failure_began(app, client):
    sent = chain(of(app, "add").s(), of(app, "refuse").s(), of(app, "add").s()).apply_async()
    work(app)
    page = client(app).get(f"workflows/{sent.id}?view=gantt").text
    assert page.count("cause</") == 2, "in the drawing, and in the list"


@pytest.mark.parametrize(("form", "begins"), [("svg", "<svg"), ("mermaid", "flowchart"), ("dot", "digraph")])
def test_drawings_are_downloads(app, client, form, begins):
    sent = chain(of(app, "add").s(), of(app, "add").s()).apply_async()
    for path in (f"workflows/{sent.id}/file?format={form}", f"api/v1/workflows/{sent.id}?format={form}"):
        found = client(app).get(path)
        assert found.text.startswith(begins)
        assert found.headers["content-disposition"].startswith("attachment")
    assert client(app).get(f"workflows/{sent.id}/file?format=exe").status == 400


def test_names_of_others_are_text_everywhere(app, client):
    @app.task(name=HOSTILE)
    def hostile(*args: Any) -> None:
        raise ValueError(HOSTILE)

    sent = chain(hostile.s(), hostile.s()).apply_async()
    work(app)
    for view in ("graph", "gantt", "table"):
        assert "<script>alert" not in client(app).get(f"workflows/{sent.id}?view={view}").text
    assert "<script>alert" not in client(app).get("workflows").text


# -- a run -------------------------------------------------------------------------------------------------------------


def test_a_run_shows_its_steps_its_children_and_what_it_waits_for(app, client):
    id_ = waiting_run(app)
    page = client(app).get(f"workflows/{id_}").words()
    assert "approval Pay it?" in page
    assert "charge" in page
    assert "spawn add" in page
    found = client(app).get(f"api/v1/workflows/{id_}").json
    assert (found["kind"], found["status"], found["run"]["version"]) == ("run", "waiting", "1")
    for one in (found["run"], *found["run"]["steps"], *found["run"]["approvals"]):
        for name in one.keys() & {"created", "started", "finished", "due", "deadline", "since"}:
            assert (type(one[name]), type(one[f"{name}_iso"])) in {(int, str), (type(None), type(None))}, name
    assert found["run"]["created"] == found["run"]["created_ms"] > 0
    assert [one["kind"] for one in found["run"]["steps"]] == ["step", "spawn", "spawn", "approval"]


def test_outputs_are_for_viewers_with_payloads(app, client):
    id_ = waiting_run(app)
    found = client(app, "viewer").get(f"api/v1/workflows/{id_}").json
    assert "args" not in found["run"]
    assert {one["output"] for one in found["run"]["steps"]} == {None, "(hidden: it needs the right `payloads`)"}
    assert client(app, "viewer").get(f"workflows/{id_}").status == 200


def test_a_run_is_paused_resumed_and_cancelled_with_a_note_who_did(app, client):
    id_ = waiting_run(app)
    ann = client(app)
    assert ann.get(f"workflows/{id_}/act/pause").status == 200
    answer = ann.post(f"workflows/{id_}/pause", {"reason": "lunch"})
    assert (answer.status, app.Run(id_).status) == (303, "paused")
    assert answer.headers["location"] == f"/ops/workflows/{id_}"
    ann.post(f"workflows/{id_}/resume")
    work(app)
    assert app.Run(id_).status == "waiting"
    ann.post(f"workflows/{id_}/cancel", {"reason": "no stock"})
    work(app)
    assert app.Run(id_).status == "cancelled"
    done = [(one.actor, one.action, one.reason, one.source) for one in app.storage.audit.of_target(id_)]
    assert done[::-1] == [
        ("ann", "pause", "lunch", "page"), ("ann", "resume", "", "page"), ("ann", "cancel", "no stock", "page"),
    ]  # fmt: skip
    assert ann.post(f"workflows/{id_}/pause").status == 409


def test_a_run_is_forked_and_rewound_and_sent_an_event(app, client):
    id_ = waiting_run(app)
    ann = client(app)
    forked = ann.post(f"workflows/{id_}/fork", {"step": 2, "new_id": "order-8"})
    assert forked.headers["location"] == "/ops/workflows/order-8"
    assert app.storage.runs.find("order-8").forked_from == id_
    assert ann.post(f"workflows/{id_}/rewind", {"step": 1}).status == 303
    assert ann.post(f"workflows/{id_}/rewind", {"step": "one"}).status == 422
    assert ann.post(f"workflows/{id_}/send", {"event": "paid", "payload": '{"n": 1}', "nonce": "once"}).status == 303
    ann.post(f"workflows/{id_}/send", {"event": "paid", "payload": '{"n": 1}', "nonce": "once"})
    assert [name for name, _ in app.storage.runs.inbox(id_)] == ["paid"]
    assert ann.post(f"workflows/{id_}/send", {"event": "paid", "payload": "{"}).status == 422


@pytest.mark.parametrize("act", ["cancel", "terminate", "pause", "resume", "retry", "fork", "rewind", "send"])
def test_acts_need_their_rights(app, client, act):
    id_ = waiting_run(app)
    assert client(app, "viewer").post(f"workflows/{id_}/{act}", {"step": 1, "event": "x"}).status == 403
    assert client(app, queues=["mail"]).post(f"workflows/{id_}/{act}", {"step": 1, "event": "x"}).status == 404
    assert app.Run(id_).status == "waiting"


# -- approvals ---------------------------------------------------------------------------------------------------------


def test_an_approval_has_a_form_and_is_answered_once(app, client):
    id_ = waiting_run(app)
    ann = client(app, "approver")
    assert "Pay it?" in ann.get("approvals").words()
    page = ann.get(f"approvals/{id_}/Pay%20it%3F")
    assert 'type="number"' in page.text
    assert 'type="checkbox"' in page.text
    assert "1200" in page.text, "a person who decides sees the details"
    assert f"liteq workflow approve {id_} 'Pay it?' --yes --by ann" in html.unescape(page.text)
    wrong = ann.post(f"approvals/{id_}/Pay it%3F", {"ok": "yes", "f.amount": "900"})
    assert (wrong.status, "500" in wrong.words()) == (422, True)
    assert ann.post(f"approvals/{id_}/Pay it%3F", {"ok": "yes", "f.amount": "many"}).status == 422
    done = ann.post(
        f"approvals/{id_}/Pay it%3F", {"ok": "yes", "f.amount": "300", "f.urgent": "true", "comment": "fine"}
    )
    assert done.status == 303
    bob = client(app, viewer=Viewer("bob", "approver"))
    late = bob.post(f"approvals/{id_}/Pay it%3F", {"ok": "no"})
    assert (late.status, "approved by ann" in late.words()) == (409, True)
    assert bob.get(f"approvals/{id_}/Pay it%3F").status == 200
    step = next(one for one in app.Run(id_).steps() if one.kind == "approval")
    assert (step.output["by"], step.output["data"]) == ("ann", {"amount": 300, "urgent": True})


def test_approvals_are_seen_by_the_queue_of_their_run_and_decided_by_approvers(app, client):
    id_ = waiting_run(app)
    assert client(app, "approver", queues=["mail"]).get("api/v1/approvals").json["items"] == []
    assert client(app, "approver", queues=["mail"]).post(f"approvals/{id_}/Pay it%3F", {"ok": "yes"}).status == 404
    assert client(app, "viewer").post(f"approvals/{id_}/Pay it%3F", {"ok": "yes"}).status == 403
    assert "needs the right" in client(app, "viewer").get(f"approvals/{id_}/Pay it%3F").words()
    assert client(app, "viewer").get("api/v1/approvals").json["items"][0]["details"].startswith("(hidden")
    assert client(app).get(f"approvals/{id_}/Nothing").status == 404


def test_a_run_in_a_workflow_that_is_not_seen_is_not_seen_either(app, client):
    @app.workflow(name="asks", queue="mail")
    def asks() -> None:
        ctx.approval("Go?")

    @app.workflow(name="calls")
    def calls() -> None:
        ctx.call(asks)

    calls.options(id="outer").start()
    work(app)
    run_id = client(app).get("api/v1/approvals").json["items"][0]["run_id"]
    ann = client(app, queues=["mail"])
    assert ann.get("api/v1/approvals").json["items"] == []
    assert ann.get("api/v1/workflows").json["items"] == []
    for path in (f"workflows/{run_id}", f"approvals/{run_id}/Go%3F"):
        assert ann.get(path).status == 404
        assert client(app).get(path).status == 200
    assert ann.post(f"approvals/{run_id}/Go%3F", {"ok": "yes"}).status == 404


# -- compared ----------------------------------------------------------------------------------------------------------


def test_a_failed_task_is_compared_with_the_last_good_run_and_what_is_sensitive_stays_hidden(app, client):
    @app.task(name="pay", sensitive=("card",))
    def pay(amount: float, card: str) -> float:
        return amount + 1

    pay.delay(129.0, card="4111-1111")
    work(app)
    failed = pay.delay("129.00", card="4222-2222").id
    work(app)
    page = client(app).get(f"tasks/{failed}")
    assert "Compared with the last good run" in page.words()
    assert "argument 0 &#34;129.00&#34; 129.0".replace("&#34;", '"') in page.words()
    assert "4222-2222" not in page.text
    assert "4111-1111" not in page.text


# -- size --------------------------------------------------------------------------------------------------------------


def test_a_page_grows_no_faster_than_its_members(app, client, cpu_time: Callable[[], float]):
    """Ten times as many members take no more than about ten times as long, and not a hundred times as their square."""
    add = of(app, "add")
    few, many = (chord([add.s(n) for n in range(size)], add.s()).apply_async().id for size in (1_000, 10_000))
    for view in ("graph", "gantt", "table"):
        took: dict[str, list[float]] = {few: [], many: []}
        for _ in range(5):
            for id_, times in took.items():
                begun = cpu_time()
                page = client(app).get(f"workflows/{id_}?view={view}")
                times.append(cpu_time() - begun)
                assert page.status == 200
        assert min(took[many]) < 35 * min(took[few]), f"{view}: {took} s"
        assert len(page.body) < 150_000


@pytest.fixture
def cpu_time() -> Callable[[], float]:
    import time

    return time.process_time
