"""Acts of an operator by the pages and by the API: who may, what is asked, what is done once."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.beat import BeatLazyFunc
from liteq.clock import FakeClock
from liteq.message import DeadLetter, WorkerIdentity, new_id
from liteq.monitor import operations
from liteq.serialization import decode, encode_error
from liteq.states import State

ERROR = encode_error(ValueError("declined"))
GIVEN = {"move": {"queue": "mail"}, "run-at": {"at": "2030-01-01"}, "rewind": {"step": "1"}}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", clock=FakeClock(), set_as_current=False)

    @app.task(name="pay", sensitive=["card"])
    def pay(amount: int, card: str = "") -> int:
        return amount

    app.storage.migrate()
    yield app
    app.close()


def send(app: LiteQ, *args: Any, queue: str = "celery") -> str:
    return app.send_task("pay", args or (1,), queue=queue).id


def dead(app: LiteQ, *args: Any, queue: str = "celery") -> str:
    id_ = send(app, *args, queue=queue)
    fail(app, queue)
    return id_


def fail(app: LiteQ, queue: str = "celery") -> None:
    number = app.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    while leases := app.storage.claim([queue], worker=number, limit=1_000, visibility_s=60):
        app.storage.settle([(lease, DeadLetter(ERROR)) for lease in leases])


def state(app: LiteQ, id_: str) -> State | None:
    record = app.storage.reader.find(id_)
    return None if record is None else record.state


def fields(page: Any) -> dict[str, str]:
    """The fields of the form on a page that asks."""
    assert page.status == 200, page.text
    form = re.search(r'<main.*?(<form method="post".*?</form>)', page.text, re.DOTALL)[1]
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        found[name[1]] = html.unescape(value[1]) if value else ""
    for name, text in re.findall(r'<textarea name="(\w+)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        found[name] = html.unescape(text)
    return found


# -- one task ----------------------------------------------------------------------------------------------------------


def test_a_dead_letter_is_requeued_by_a_form_that_acts_once(app: LiteQ, client: Callable[..., Any]) -> None:
    id_, ann = dead(app), client(app)
    form = fields(ann.get(f"tasks/{id_}/requeue"))
    done = ann.post(f"tasks/{id_}/requeue", {**form, "reason": "they paid"})
    assert (done.status, done.headers["location"]) == (303, f"/ops/tasks/{id_}")
    assert f"act requeue {id_}" in done.message
    fail(app)
    again = ann.post(f"tasks/{id_}/requeue", form)
    assert "Nothing was done" in again.message
    assert state(app, id_) is State.DEAD
    (noted,) = app.storage.audit.page()
    assert (noted.actor, noted.action, noted.reason, noted.source) == ("ann", "requeue", "they paid", "page")


def test_what_its_state_forbids_is_answered_with_409(app: LiteQ, client: Callable[..., Any]) -> None:
    answer = client(app).post(f"tasks/{send(app)}/requeue")
    assert answer.status == 409
    assert "pending" in answer.json["detail"]
    assert client(app).post("tasks/gone/requeue").status == 404


def test_a_task_is_moved_and_gets_another_time(app: LiteQ, client: Callable[..., Any]) -> None:
    id_, ann = send(app), client(app)
    form = fields(ann.get(f"tasks/{id_}/move"))
    assert (form["queue"], form["priority"]) == ("celery", "0")
    ann.post(f"tasks/{id_}/move", form | {"queue": "mail", "priority": "9"})
    record = app.storage.reader.find(id_)
    assert (record.queue, record.priority) == ("mail", 9)
    form = fields(ann.get(f"tasks/{id_}/run-at"))
    ann.post(f"tasks/{id_}/run-at", form | {"at": "2030-01-01T00:00"})
    assert state(app, id_) is State.SCHEDULED
    assert ann.post(f"tasks/{id_}/run-at", {"at": "soon"}).status == 400


def test_edit_and_send_makes_a_new_task_once(app: LiteQ, client: Callable[..., Any]) -> None:
    id_, ann = dead(app, 1, "4111-1111"), client(app)
    form = fields(ann.get(f"tasks/{id_}/resend"))
    assert "4111-1111" not in str(form)
    form["args"] = form["args"].replace("1", "129")
    first = ann.post(f"tasks/{id_}/resend", form)
    assert ann.post(f"tasks/{id_}/resend", form).headers["location"] == first.headers["location"]
    new = app.storage.reader.find(form["nonce"])
    assert decode(new.payload) == [[129, "4111-1111"], {}]
    assert (new.parent_id, state(app, id_)) == (id_, State.DEAD)
    assert sum(count.n for count in app.storage.reader.counts()) == 2
    assert ann.post(f"tasks/{id_}/resend", {**form, "args": "[1"}).status == 400


def test_arguments_are_not_in_the_form_of_those_who_may_not_see_them(app: LiteQ, client: Callable[..., Any]) -> None:
    from liteq_dashboard import Viewer

    bob = client(app, viewer=Viewer("bob", ["view", "retry"]))
    page = bob.get(f"tasks/{dead(app, 77_123_456_789)}/resend")
    assert "77123456789" not in page.text
    assert "args" not in fields(page)


@pytest.mark.parametrize("viewer", ["viewer", "support"])
def test_acts_need_their_rights(app: LiteQ, client: Callable[..., Any], viewer: str) -> None:
    from liteq_dashboard.pages import actions, api_acts, operations

    id_ = dead(app)
    bob = client(app, viewer)
    for route in (*actions.ROUTES, *api_acts.ROUTES, *operations.ROUTES):
        if route.method != "POST" or (viewer == "support" and route.right in {"retry", "view"}):
            continue
        path = route.path.replace("{id}", id_).replace("{name}", "celery")
        assert bob.post(path, {}, json={}).status == 403, path
    assert state(app, id_) is State.DEAD
    assert app.storage.audit.page() == []


def test_a_viewer_of_some_queues_acts_on_no_other_by_any_route(app: LiteQ, client: Callable[..., Any]) -> None:
    from liteq_dashboard.pages import actions, api_acts

    secret, mine = dead(app, queue="secret"), dead(app, queue="mail")
    ann = client(app, "admin", queues=["mail*"])
    for route in (*actions.ROUTES, *api_acts.ROUTES):
        if "{" in route.path and "schedules" not in route.path:
            path = route.path.replace("{id}", secret).replace("{name}", "secret")
            given = GIVEN.get(path.rpartition("/")[2], {})
            assert ann.ask(route.method, path, {}, given, given).status == 404, path
    assert ann.post("api/v1/tasks/" + mine + "/requeue", json={}).status == 200
    waits = send(app, queue="mail")
    assert ann.post(f"api/v1/tasks/{waits}/move", json={"queue": "secret"}).status == 409
    body = {"action": "requeue", "ids": [secret], "reason": "x"}
    assert ann.post("api/v1/operations/preview", json=body).json["found"]["n"] == 0
    started = ann.post("api/v1/operations/start", json=body | {"ids": [], "q": "state:dead"})
    assert ended(app, started.json["id"])["done"] == 0
    assert state(app, secret) is State.DEAD


# -- many --------------------------------------------------------------------------------------------------------------


def ended(app: LiteQ, id_: str) -> dict[str, Any]:
    """An operation once its thread has ended."""
    import threading

    for thread in threading.enumerate():
        if id_ in thread.name:
            thread.join(timeout=60)
    found = operations.operation(app, id_)
    assert found is not None
    return found


def test_what_is_found_is_previewed_and_then_done_once(app: LiteQ, client: Callable[..., Any]) -> None:
    ids, ann = [dead(app) for _ in range(3)], client(app)
    page = ann.get("operations/preview?action=requeue&q=task:pay&scope=all")
    assert "3 would be changed" in page.words()
    form = fields(page)
    started = ann.post("operations/start", {**form, "reason": "they paid"})
    assert started.status == 303
    id_ = started.headers["location"].rpartition("/")[2]
    assert ended(app, id_)["done"] == 3
    fail(app)
    assert ann.post("operations/start", form).headers["location"] == started.headers["location"]
    assert {state(app, one) for one in ids} == {State.DEAD}
    page = ann.get(f"operations/{id_}").words()
    assert "3 were done." in page
    assert "they paid" in page
    assert id_ in ann.get("operations").text
    assert "they paid" in ann.get("activity?action=requeue").text
    assert "they paid" not in ann.get("activity?action=delete").text


def test_ticked_tasks_are_acted_upon_alone(app: LiteQ, client: Callable[..., Any]) -> None:
    first, second = dead(app), dead(app)
    ann = client(app)
    form = fields(ann.get(f"operations/preview?action=requeue&q=state:dead&scope=ids&id={first}"))
    ended(app, ann.post("operations/start", form).headers["location"].rpartition("/")[2])
    assert (state(app, first), state(app, second)) == (State.PENDING, State.DEAD)
    assert ann.get("operations/preview?action=requeue&q=state:dead&scope=ids").status == 400


def test_a_deletion_of_many_asks_for_their_number(app: LiteQ, client: Callable[..., Any]) -> None:
    ids, ann = [dead(app) for _ in range(3)], client(app)
    form = fields(ann.get("operations/preview?action=delete&q=state:dead"))
    assert ann.post("operations/start", {**form, "number": "2"}).status == 409
    assert {state(app, one) for one in ids} == {State.DEAD}
    started = ann.post("operations/start", {**form, "number": "3"})
    ended(app, started.headers["location"].rpartition("/")[2])
    assert {state(app, one) for one in ids} == {None}


def test_a_move_of_many_asks_where_to(app: LiteQ, client: Callable[..., Any]) -> None:
    id_, ann = send(app), client(app)
    assert 'name="queue"' in ann.get("operations/preview?action=move&q=queue:celery").text
    page = ann.get("operations/preview?action=move&q=queue:celery&queue=mail")
    started = ann.post("operations/start", re_posted(page))
    assert ended(app, started.headers["location"].rpartition("/")[2])["done"] == 1
    assert app.storage.reader.find(id_).queue == "mail"


def re_posted(page: Any) -> dict[str, str]:
    """The fields of the form that starts, where the page has one that asks before it."""
    form = re.search(r'<form method="post" action="[^"]*start".*?</form>', page.text, re.DOTALL)[0]
    pairs = re.findall(r'<input[^>]*name="([^"]*)"(?:[^>]*value="([^"]*)")?', form)
    return {name: html.unescape(value) for name, value in pairs}


def test_a_wrong_search_says_what_is_right(app: LiteQ, client: Callable[..., Any]) -> None:
    answer = client(app).get("operations/preview?action=requeue&q=stat:dead")
    assert answer.status == 400
    assert "state" in answer.json["detail"]


def test_an_operation_is_stopped_and_continued(
    app: LiteQ, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from liteq.operating import bulk

    dead(app)
    ann = client(app)
    with monkeypatch.context() as patched:  # as if its process had died before its first chunk
        patched.setattr(bulk, "run", lambda *_args: None)
        started = ann.post("api/v1/operations/start", json={"action": "requeue", "q": "state:dead", "reason": "x"})
    id_ = started.json["id"]
    assert started.status == 202
    assert ann.post(f"operations/{id_}/stop").status == 303
    assert "asked to stop" in ann.get(f"operations/{id_}").words()
    app.clock.advance(seconds=60)
    assert "Interrupted at 0" in ann.get(f"operations/{id_}").words()
    assert client(app, "viewer").post(f"operations/{id_}/continue").status == 403
    assert ann.post(f"operations/{id_}/continue").status == 303
    assert ended(app, id_)["done"] == 1
    assert ann.post(f"api/v1/operations/{id_}/continue").status == 409
    assert ann.post("api/v1/operations/gone/stop").status == 404


# -- queues ------------------------------------------------------------------------------------------------------------


def test_a_queue_is_paused_resumed_and_purged(app: LiteQ, client: Callable[..., Any]) -> None:
    ids, ann = [send(app, queue="mail") for _ in range(3)], client(app)
    ann.post("queues/mail/pause", {**fields(ann.get("queues/mail/pause")), "reason": "deploy"})
    assert [(one.queue, one.actor, one.reason) for one in paused(app)] == [("mail", "ann", "deploy")]
    ann.post("queues/mail/resume", fields(ann.get("queues/mail/resume")))
    assert paused(app) == []
    form = fields(ann.get("queues/mail/purge"))
    assert ann.post("queues/mail/purge", {**form, "number": "4"}).status == 409
    assert ann.post("queues/mail/purge", {**form, "number": "3"}).status == 303
    assert {state(app, one) for one in ids} == {None}
    acts = [(one.action, one.actor, one.source) for one in app.storage.audit.page()]
    assert acts == [("purge", "ann", "page"), ("resume", "ann", "page"), ("pause", "ann", "page")]


def test_a_queue_at_work_is_purged_by_the_number_that_the_page_told(
    app: LiteQ, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, ann = [send(app, queue="mail") for _ in range(3)], client(app)
    form = {**fields(ann.get("queues/mail/purge")), "number": "3"}
    ids.append(send(app, queue="mail"))
    assert ann.post("queues/mail/purge", {**form, "number": "4"}).status == 409, "the page told another"
    with monkeypatch.context() as patched:
        patched.setattr("liteq_dashboard.acts.acting.MORE", 0)
        assert ann.post("queues/mail/purge", form).status == 409, "far more than that"
    assert ann.post("queues/mail/purge", form).status == 303
    assert {state(app, one) for one in ids} == {None}


def test_what_json_has_no_form_for_is_sent_again_as_it_was(app: LiteQ, client: Callable[..., Any]) -> None:
    value = {"at": datetime(2030, 1, 2, tzinfo=UTC), "price": Decimal("1.50"), "raw": b"\xff", "long": 1 << 70, "n": 1}
    for old, new in (("", ""), ('"n": 1', '"n": true')):
        page = f"tasks/{send(app, value)}/resend"
        form = fields(client(app).get(page))
        assert client(app).post(page, {**form, "args": form["args"].replace(old, new)}).status == 303
    sent = [decode(one.payload)[0] for one in app.storage.reader.messages("pending", limit=9) if one.parent_id]
    assert sorted(sent, key=repr) == sorted([[value], [{**value, "n": True}]], key=repr)


def test_a_schedule_of_what_json_has_no_form_for_is_edited(app: LiteQ, client: Callable[..., Any]) -> None:
    app.schedules.add("raw", 60, "pay", [b"\xff"], {"card": "4111"})
    page = client(app).get("schedules/raw/edit")
    client(app).post("schedules/raw/edit", {**fields(page), "times": "90"})
    found = app.storage.schedules.find("raw")
    assert (b"90" in found.schedule, decode(found.signature)["args"]) == (True, [b"\xff"])


def test_arguments_that_are_too_large_are_not_told_as_a_file_that_cannot_be_read(
    app: LiteQ, client: Callable[..., Any]
) -> None:
    id_ = dead(app)
    app.conf.max_payload_bytes = 1_024
    found = client(app).post(f"api/v1/tasks/{id_}/resend", json={"args": ["x" * 2_000]})
    assert (found.status, "max_payload_bytes" in found.json["detail"]) == (413, True)


def test_a_pause_that_is_over_is_refused_and_ends_none(app: LiteQ, client: Callable[..., Any]) -> None:
    app.storage.queues.pause("mail")
    in_seconds = app.clock.now_ms() // 1000 + 3600
    found = client(app).post("api/v1/queues/mail/pause", json={"until": in_seconds})
    assert (found.status, "ms since the epoch" in found.json["detail"]) == (400, True)
    assert [one.until_ms for one in paused(app)] == [None]


def test_a_viewer_of_some_queues_pauses_and_resumes_no_others(app: LiteQ, client: Callable[..., Any]) -> None:
    app.storage.queues.pause("mail*", actor="root")
    bob, all_mail = client(app, queues=["mail-?"]), client(app, queues=["mail*"])
    for path in ("queues/mail-1/resume", "api/v1/queues/mail-1/resume"):
        assert bob.post(path).status == 409, "the others go on by it too"
        assert [one.queue for one in paused(app)] == ["mail*"]
    for path in ("queues/mail-*/pause", "api/v1/queues/mail-*/pause"):
        assert bob.post(path).status == 404, "`mail-?` fits it, and it fits more"
    assert [one.queue for one in paused(app)] == ["mail*"]
    assert all_mail.post("queues/mail-1/resume").status == 303
    assert bob.post("queues/mail-%3F/pause").status == 303
    assert [one.queue for one in paused(app)] == ["mail-?"]


def paused(app: LiteQ) -> list[Any]:
    found = app.storage.queues.paused()
    return list(found.values()) if isinstance(found, dict) else list(found)


# -- the API -----------------------------------------------------------------------------------------------------------


def test_a_program_acts_with_json(app: LiteQ, client: Callable[..., Any]) -> None:
    id_, api = dead(app), client(app)
    assert api.post(f"api/v1/tasks/{id_}/resend", json={"new_id": "x" * 256}).status == 400
    done = api.post(f"api/v1/tasks/{id_}/resend", json={"args": [2], "reason": "fixed"})
    assert done.status == 200
    assert decode(app.storage.reader.find(done.json["id"]).payload) == [[2], {}]
    refused = api.post(f"api/v1/tasks/{id_}/revoke", json={})
    assert (refused.status, refused.headers["content-type"]) == (409, "application/problem+json")
    assert api.post(f"api/v1/tasks/{id_}/requeue", json={"resaon": "x"}).status == 400
    assert api.post(f"api/v1/tasks/{id_}/requeue", json=[]).status == 400
    seen = api.post("api/v1/operations/preview", json={"action": "requeue", "q": "state:dead"}).json
    assert seen.keys() == {"found", "eligible", "ineligible", "follows", "sample", "command"}
    assert [one["id"] for one in seen["sample"]] == [id_]
    assert api.post("api/v1/queues/celery/purge", json={"reason": "x"}).json == {"queue": "celery", "purged": 1}
    assert {one.source for one in app.storage.audit.page()} == {"api"}


def test_a_program_pauses_and_runs_a_schedule(app: LiteQ, client: Callable[..., Any]) -> None:
    app.schedules.add("nightly", 60, "pay", args=(1,))
    api = client(app)
    assert api.post("api/v1/schedules/nightly/pause", json={"reason": "x"}).status == 200
    assert not app.storage.schedules.find("nightly").enabled
    ran = api.post("api/v1/schedules/nightly/run", json={})
    assert state(app, ran.json["id"]) is State.PENDING
    assert api.post("api/v1/schedules/gone/run", json={}).status == 404
    assert client(app, "viewer").post("api/v1/schedules/nightly/run", json={}).status == 403


def test_a_schedule_that_only_its_own_program_can_send_is_refused(app: LiteQ, client: Callable[..., Any]) -> None:
    config = {"task": "pay", "schedule": 60, "args": (BeatLazyFunc(int),)}
    app.storage.schedules.put([app.schedules.entry("nightly", config)[0]])
    said = client(app).post("api/v1/schedules/nightly/run", json={})
    assert said.status == 400
    assert "only that one can send it" in said.json["detail"]
