"""Limits, progress and streams on the pages and in the API: what is shown to whom, and what acts leave behind."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from liteq import LiteQ
from liteq.clock import FakeClock
from liteq.message import WorkerIdentity, new_id
from liteq.serialization import encode

KEY = "user:ann@example.org"
PAGE = "limits/user%3Aann%40example.org"


class Place:
    """An app with limits: two tasks of one user, one of which runs; one of another user in another queue."""

    def __init__(self, app: LiteQ) -> None:
        self.app = app

        @app.task(name="pay")
        def pay(user: str) -> None: ...

        app.limits.set("user:*", concurrent=1)
        self.ids = [
            app.tasks["pay"].apply_async(("ann@example.org",), queue=queue, limits=["user:{user}"]).id
            for queue in ("mail", "mail", "web")
        ]
        self.worker = app.storage.register_worker(WorkerIdentity(new_id(), "w1", "host", "boot", 1, "1"))
        self.leases = app.storage.claim(["mail", "web"], worker=self.worker, limit=9, visibility_s=60)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", clock=FakeClock(), set_as_current=False)
    app.storage.migrate()
    yield Place(app)
    app.close()


def fields(page: Any) -> dict[str, str]:
    """The fields of the form on a page that asks."""
    assert page.status == 200, page.text
    form = re.search(r'<main.*?(<form method="post".*?</form>)', page.text, re.DOTALL)[1]
    tags = re.findall(r"<input[^>]*>", form)
    pairs = [(re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)) for tag in tags]
    return {name[1]: html.unescape(value[1]) if value else "" for name, value in pairs}


# -- seen --------------------------------------------------------------------------------------------------------------


def test_a_limit_tells_which_tasks_have_its_places_and_what_waits(place: Place, client: Callable[..., Any]) -> None:
    assert [one.id for one in place.leases] == place.ids[:1]
    listed = client(place.app).get("limits").words()
    assert KEY in listed
    assert "by user:*" in listed
    page = client(place.app).get(PAGE)
    assert place.ids[0] in page.text
    assert [place.ids[n] in page.text for n in (1, 2)] == [True, True]  # the first of each queue
    found = client(place.app).get(f"api/v1/{PAGE}").json
    assert (found["running"]["n"], found["held"]["n"], found["queues"]) == (1, 2, ["mail", "web"])
    assert [one["id"] for one in found["holders"]] == place.ids[:1]


def test_a_limit_of_tokens_tells_what_the_code_says_of_it(place: Place, client: Callable[..., Any]) -> None:
    place.app.storage.limits.declare({"model": ("5/m", 2, "200k/m")})
    ann = client(place.app)
    assert ann.get("api/v1/limits/model").json["declared"] == {"rate": "5/m", "concurrent": 2, "tokens": "200k/m"}
    assert "5/m · 2 at once · 200k/m tokens" in ann.get("limits/model").words()


def test_a_task_tells_which_limit_holds_it(place: Place, client: Callable[..., Any]) -> None:
    ann = client(place.app)
    words = ann.get(f"tasks/{place.ids[1]}").words()
    assert f"The limit '{KEY}' has held it back" in words
    assert "no place is free" in words
    (row,) = ann.get("api/v1/tasks?q=limit:user:ann@example.org queue:mail").json["items"]
    assert (row["id"], row["waits_for"]) == (place.ids[1], KEY)
    assert KEY in ann.get("tasks?q=state:held").words()


@pytest.mark.parametrize("path", ["limits", "tasks?q=state:held", "overview", "activity"])
def test_keys_are_cut_for_those_who_see_no_payloads(place: Place, client: Callable[..., Any], path: str) -> None:
    client(place.app).post(f"{PAGE}/pause", {"seconds": "60"})
    eve = client(place.app, "viewer")
    assert "example.org" not in eve.get("" if path == "overview" else path).text
    assert "user:***" in eve.get("limits").words()
    assert eve.get(PAGE).status == eve.get(f"api/v1/{PAGE}").status == 404
    assert eve.get("limits/user%3A*").status == 200
    assert eve.get("api/v1/tasks?q=limit:user:ann@example.org").status == 400


def test_a_viewer_of_one_queue_sees_what_waits_there(place: Place, client: Callable[..., Any]) -> None:
    web = client(place.app, queues=["web"])
    found = web.get(f"api/v1/{PAGE}").json
    assert (found["running"]["n"], found["held"]["n"], found["holders"]) == (0, 1, [])
    assert client(place.app, queues=["celery"]).get(PAGE).status == 404


# -- done --------------------------------------------------------------------------------------------------------------


def test_a_limit_is_set_paused_resumed_and_deleted_with_an_audit(place: Place, client: Callable[..., Any]) -> None:
    ann, limits = client(place.app), place.app.storage.limits
    form = fields(ann.get(f"{PAGE}/set"))
    assert (form["rate"], form["concurrent"]) == ("", "1")
    done = ann.post(f"{PAGE}/set", {**form, "rate": "6/m", "concurrent": "3", "reason": "a big one"})
    assert done.status == 303
    assert "liteq limits set user:ann@example.org --rate 6/m --concurrent 3" in done.message
    assert limits.get(KEY)[:3] == (KEY, "6/m", 3)
    ann.post(f"{PAGE}/pause", {**fields(ann.get(f"{PAGE}/pause")), "seconds": "10m", "reason": "they asked"})
    assert limits.get(KEY).reason == "they asked"
    assert "they asked" in ann.get(PAGE).words()
    ann.post(f"{PAGE}/resume", fields(ann.get(f"{PAGE}/resume")))
    assert limits.get(KEY).paused_until is None
    ann.post(f"{PAGE}/delete", fields(ann.get(f"{PAGE}/delete")))
    assert limits.get(KEY)[1:3] == (None, 1)  # what the pattern says
    acts = [(one.action, one.target, one.reason) for one in place.app.storage.audit.page()]
    assert acts[::-1] == [
        ("limit set", KEY, "a big one"), ("limit pause", KEY, "they asked"), ("limit resume", KEY, ""),
        ("limit delete", KEY, ""),
    ]  # fmt: skip


def test_the_api_acts_alike(place: Place, client: Callable[..., Any]) -> None:
    ann = client(place.app)
    said = ann.post("api/v1/limits/api/set", json={"rate": "100/m", "reason": "their rule"})
    assert (said.status, said.json["command"]) == (200, "liteq limits set api --rate 100/m")
    assert ann.post("api/v1/limits/api/pause", json={"seconds": 30}).status == 200
    assert place.app.storage.limits.get("api").rate == "100/m"
    assert ann.get("api/v1/limits/api").json["paused"]["until"] == place.app.clock.now_ms() + 30_000


def test_a_form_keeps_the_tokens_that_it_does_not_change(place: Place, client: Callable[..., Any]) -> None:
    ann, limits = client(place.app), place.app.storage.limits
    done = ann.post("api/v1/limits/model/set", json={"tokens": "200k/m"})
    assert done.json["command"] == "liteq limits set model --tokens 200k/m"
    assert ann.get("api/v1/limits/model").json["tokens"] == "200k/m"
    assert "200k/m Tokens" in ann.get("limits/model").words()
    ann.post("limits/model/set", {**fields(ann.get("limits/model/set")), "rate": "6/m"})
    found = limits.get("model")
    assert (found.rate, found.tokens) == ("6/m", "200k/m")


@pytest.mark.parametrize(
    ("action", "given"),
    [
        ("set", {"tokens": "many"}),
        ("set", {"rate": "fast"}), ("set", {"concurrent": "0"}), ("set", {"concurrent": "many"}), ("pause", {}),
        ("pause", {"seconds": "-1"}), ("pause", {"seconds": "9999d"}), ("set", {"rates": "1/s"}),
    ],
)  # fmt: skip
def test_a_wrong_value_changes_nothing(place: Place, client: Callable[..., Any], action: str, given: Any) -> None:
    before = place.app.storage.limits.list()
    assert client(place.app).post(f"api/v1/limits/api/{action}", json=given).status == 400
    assert place.app.storage.limits.list() == before
    assert place.app.storage.audit.page() == []


def test_limits_are_changed_by_those_who_may(place: Place, client: Callable[..., Any]) -> None:
    assert client(place.app, "support").post(f"{PAGE}/set", {"concurrent": "9"}).status == 403
    mail = client(place.app, queues=["mail"])
    assert mail.post(f"{PAGE}/set", {"concurrent": "9"}).status == 403
    assert mail.post("limits/queue%3Aweb/set", {"concurrent": "9"}).status == 404
    assert mail.post("limits/queue%3Amail/set", {"concurrent": "9"}).status == 303
    assert place.app.storage.limits.get("queue:mail").concurrent == 9


# -- what runs ---------------------------------------------------------------------------------------------------------


def test_the_page_of_a_task_shows_its_progress_and_its_streams(place: Place, client: Callable[..., Any]) -> None:
    lease, now_ms = place.leases[0], place.app.clock.now_ms()
    meta = {"current": 61, "total": 100, "note": "page 61"}
    document = {"state": "PROGRESS", "meta": meta, "at": now_ms, "first": (0, now_ms - 61_000)}
    place.app.storage.progress(lease.id, encode(document, what="it"), lease=(lease.seq, lease.token))
    place.app.storage.streams.emit((lease.seq, lease.token), "words", [orjson.dumps(one) for one in ("one", "two")])
    ann = client(place.app)
    words = ann.get(f"tasks/{lease.id}").words()
    assert "61 % 61 of 100 39 s left page 61" in words
    assert "1 one 2 two" in words
    assert "61 %" in ann.get("tasks?q=state:leased").words()
    assert "61 %" in ann.get("?part=running").words()
    found = ann.get(f"api/v1/tasks/{lease.id}/streams/words?after=1").json
    assert [one["data"] for one in found["items"]] == ["two"]
    eve = client(place.app, "viewer").get(f"tasks/{lease.id}").words()
    assert "61 %" in eve
    assert "page 61" not in eve
    assert "1 one" not in eve
