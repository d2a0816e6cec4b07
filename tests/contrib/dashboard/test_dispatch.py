"""The rules that every host has in common: who may do what, from where, how often; and the headers of every answer."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

import pytest

from liteq import LiteQ
from liteq.exceptions import StorageBusy
from liteq.monitor.documents import Ends
from liteq_dashboard import RIGHTS, ROLES, Viewer
from liteq_dashboard.dispatch import Asked, Dashboard, local_viewer
from liteq_dashboard.http import Response, Route
from liteq_dashboard.render import html, json_answer, problem, redirect
from liteq_dashboard.routes import Table
from tests.followers import copy_to

HERE = Ends("127.0.0.1:8000", "127.0.0.1", "127.0.0.1")
OWN = {"sec-fetch-site": "same-origin"}
ADMIN = Viewer("ann", "admin")


@pytest.fixture
def app(tmp_path):
    with LiteQ("dispatch", broker=f"sqlite:///{tmp_path / 'q.db'}") as made:
        made.storage.migrate()
        yield made


class Board:
    """A dashboard of three pages, and what was done on it."""

    def __init__(self, app, **options):
        self.done = []
        table = Table(
            [
                Route(
                    "GET",
                    "things",
                    "view",
                    lambda request, reader: html(request, "problem.html", title="T", detail="d"),
                ),
                Route("POST", "things/{name}", "retry", self.act),
                Route("GET", "api/v1/things", "view", lambda request, reader: json_answer({"items": []})),
                Route("GET", "broken", "view", self.break_),
                Route("GET", "open", "", lambda request, reader: Response(body=b"open")),
                Route("GET", "gone", "view", lambda request, reader: problem(404, "<i>no such thing</i>")),
            ]
        )
        self.dashboard = Dashboard(app, table=table, **options)

    def act(self, request, reader):
        self.done.append((request.viewer.name, request.path_args["name"], request.posted("n")))
        return redirect(request, "things", "done")

    def break_(self, request, reader):
        raise StorageBusy(1.0)

    def ask(self, method, path, viewer=ADMIN, **more):
        path, _, query = path.partition("?")
        headers = {"host": HERE.host, **more.pop("headers", {})}
        asked = Asked(method, path, "/ops", query, headers, more.pop("ends", HERE), **more)
        return self.dashboard.respond(asked, viewer)

    def post(self, headers, viewer=ADMIN, **more):
        return self.ask("POST", "things/a~2Fb", viewer, headers=headers, form={"n": ["1"]}, **more).status


@pytest.fixture
def board(app):
    return Board(app)


# -- who ---------------------------------------------------------------------------------------------------------------


def test_a_request_of_nobody_known_is_401_whatever_it_asks_for(board):
    found = board.ask("GET", "things", None)
    assert (found.status, found.headers["www-authenticate"]) == (401, "Bearer")
    assert board.ask("GET", "nothing", None).status == 401
    assert board.ask("GET", "open", None).body == b"open"


def test_a_browser_that_nobody_knows_is_led_to_the_login_where_there_is_one_and_a_program_is_not(app):
    board = Board(app, login="login")
    away = board.ask("GET", "things", None)
    assert (away.status, away.headers["location"]) == (303, "/ops/login")
    assert board.ask("GET", "api/v1/things", None).status == 401
    assert board.ask("POST", "things/a", None, headers=OWN).status == 401


@pytest.mark.parametrize("right", RIGHTS)
def test_an_act_needs_its_right(board, right):
    assert board.post(OWN, Viewer("ann", [right])) == (303 if right == "retry" else 403)
    assert len(board.done) == (right == "retry")


@pytest.mark.parametrize("query", ["q=" + "x" * 8_192, "&".join(["q=x"] * 101)])
def test_a_query_that_is_too_long_is_told(board, query):
    found = board.ask("GET", f"api/v1/things?{query}")
    assert (found.status, b"100 parameters and 8,192 characters" in found.body) == (414, True)


def test_names_in_a_path_come_whole(board):
    board.post(OWN)
    assert board.done == [("ann", "a/b", "1")]


@pytest.fixture
def looking(app):
    """The same queue, under a URL that opens it to be looked at alone."""
    with LiteQ("dispatch", broker=f"{app.broker_url}?mode=ro") as made:
        yield made


@pytest.mark.parametrize("by", ["the dashboard's own option", "the broker URL"])
def test_read_only_takes_the_rights_away_that_change_something(app, looking, by):
    board = Board(looking) if by == "the broker URL" else Board(app, read_only=True)
    assert board.post(OWN, Viewer("ann", ROLES["admin"])) == 403
    page = board.ask("GET", "things")
    assert (page.status, b"Read only: nobody may act here." in page.body) == (200, True)
    assert board.done == []


def test_a_page_of_a_copy_says_how_old_it_is(app, tmp_path):
    path = tmp_path / "copy.db"
    app.storage.backup(path)
    then = time.time() - 12
    os.utime(path, (then, then))
    with LiteQ("dispatch", broker=f"sqlite:///{path}?mode=ro") as copy:
        page = Board(copy).ask("GET", "things")
    assert b"what is shown is 1" in page.body
    assert b" s old." in page.body
    assert b" old." not in Board(app, read_only=True).ask("GET", "things").body


def test_a_replica_that_is_behind_what_was_sent_says_so(app, tmp_path, monkeypatch):
    monkeypatch.setattr("liteq_dashboard.freshness.behind.WAIT_S", 0.05)
    (tmp_path / "copy").mkdir()
    path = tmp_path / "copy" / "q.db"
    app.storage.migrate()
    copy_to(path, app)
    position = app.send_task("one").position
    by_header, by_cookie = {"liteq-position": position}, {"cookie": f"liteq_position={position}; a=b"}
    with LiteQ("dispatch", broker=f"sqlite:///{path}?mode=ro") as copy:
        board = Board(copy)
        assert board.ask("GET", "things", headers=by_header).status == 503
        page = board.ask("GET", "things", headers=by_cookie)
        assert (page.status, b"does not show yet what you have sent" in page.body) == (200, True)
        copy_to(path, app)
        for headers in (by_header, by_cookie):
            page = board.ask("GET", "things", headers=headers)
            assert (page.status, b"does not show yet" in page.body) == (200, False)


@pytest.mark.parametrize(
    ("ends", "headers", "looks"),
    [
        (HERE, {}, True),
        (Ends("[::1]:8000", "::1", "::1"), {}, True),
        (Ends("evil.example", "127.0.0.1", "127.0.0.1"), {}, False),
        (Ends("127.0.0.1", "10.0.0.9", "127.0.0.1"), {}, False),
        (Ends("127.0.0.1", None, None), {}, False),
        (HERE, {"x-forwarded-for": "1.2.3.4"}, False),
    ],
)
def test_without_access_this_machine_alone_may_look(ends, headers, looks):
    asked = Asked("GET", "", "", "", {"host": ends.host, **headers}, ends)
    found = local_viewer(asked)
    assert (found is not None) == looks
    assert found is None or found.rights == {"view"}


# -- from where --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 303),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, 303),
        ({"origin": "http://127.0.0.1:8000"}, 303),
        ({"origin": "https://127.0.0.1:8000"}, 303),  # behind a proxy that ends TLS the scheme is not known
        ({"sec-fetch-site": "cross-site", "origin": "https://ops.example.org"}, 303),  # listed
        ({"authorization": "Bearer s3cret"}, 303),
        ({}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:8001"}, 403),
        ({"origin": "https://ops.example.org.evil.example"}, 403),
        ({"authorization": "Basic YTpi"}, 403),  # a browser sends it by itself
        ({"referer": "http://127.0.0.1:8000/ops/"}, 403),
    ],
)
def test_an_act_comes_from_the_dashboard_or_with_a_token(app, headers, status):
    board = Board(app, origins=["https://ops.example.org"])
    assert board.post(headers) == status
    assert len(board.done) == (status == 303)


def test_a_get_changes_nothing_and_no_method_is_another(board):
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"):
        found = board.ask(method, "things/a", headers=OWN)
        assert (found.status, found.headers["allow"]) == (405, "POST")
    assert board.done == []


def test_a_viewer_may_act_ten_times_a_second(board):
    assert [board.post(OWN) for _ in range(12)] == [303] * 10 + [429] * 2
    assert board.post(OWN, Viewer("bob", "admin")) == 303


# -- the answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["things", "gone", "nowhere", "api/v1/things", "broken", "open", "things?part=nothing"]
)
def test_every_answer_has_the_headers(board, path):
    headers = board.ask("GET", path).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] in {"no-store", "private, no-cache"}


def test_an_option_names_who_may_frame_it(app):
    found = Board(app, framed_by=["https://portal.example.org"]).ask("GET", "things")
    assert found.headers["content-security-policy"].endswith("frame-ancestors https://portal.example.org")


def test_a_problem_is_a_page_for_people_and_a_document_for_programs(board):
    page = board.ask("GET", "gone", headers={"accept": "text/html,*/*"})
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"&lt;i&gt;no such thing" in page.body
    told = board.ask("GET", "api/v1/nothing")
    assert (told.status, told.headers["content-type"]) == (404, "application/problem+json")
    assert b'"title":"Not Found"' in told.body


def test_a_file_that_cannot_be_read_is_503(board):
    assert board.ask("GET", "broken").status == 503


def test_what_a_browser_has_already_is_not_sent_again(board):
    first = board.ask("GET", "api/v1/things")
    again = board.ask("GET", "api/v1/things", headers={"if-none-match": first.headers["etag"]})
    assert (first.status, again.status, again.body) == (200, 304, b"")
    assert "etag" not in board.ask("GET", "things").headers


def test_refusals_are_logged_in_one_line(board, caplog):
    with caplog.at_level(logging.WARNING, "liteq.dashboard"):
        board.ask("POST", "things/a", Viewer("a\nnn", "viewer"), headers=OWN)
    (record,) = caplog.records
    assert "a\\nnn was refused POST things/a" in record.getMessage()
    assert "\n" not in record.getMessage()


# -- at once -----------------------------------------------------------------------------------------------------------


class Slow:
    """A page that waits until it is let go, and counts how often it was asked."""

    def __init__(self, app, path):
        self.asked, self.begun, self.go = 0, threading.Semaphore(0), threading.Event()
        self.dashboard = Dashboard(app, table=Table([Route("GET", path, "view", self.page)]))

    def page(self, request, reader):
        self.asked += 1
        self.begun.release()
        assert self.go.wait(60)
        return json_answer({"n": self.asked})

    def ask(self, path, query, n=1, viewer=ADMIN):
        answers = []
        asked = Asked("GET", path, "", query, {}, HERE)
        threads = [
            threading.Thread(target=lambda: answers.append(self.dashboard.respond(asked, viewer))) for _ in range(n)
        ]
        for thread in threads:
            thread.start()
        return threads, answers


def test_two_equal_reads_at_once_are_one(app, eventually):
    slow = Slow(app, "api/v1/tasks")
    threads, answers = slow.ask("api/v1/tasks", "after=1")
    assert slow.begun.acquire(timeout=60)
    more, others = slow.ask("api/v1/tasks", "after=1", n=3)
    eventually(lambda: all(waits_for_another(thread) for thread in more))
    slow.go.set()
    for thread in (*threads, *more):
        thread.join(60)
    assert [a.body for a in (*answers, *others)] == [b'{"n":1}'] * 4
    assert slow.asked == 1


def waits_for_another(thread):
    """Whether a thread is in `Future.result`, where it waits for the answer to an equal request."""
    frame = sys._current_frames().get(thread.ident)
    while frame is not None and frame.f_code.co_name != "result":
        frame = frame.f_back
    return frame is not None


def test_one_search_a_viewer_at_a_time_and_few_wait(app, eventually):
    slow = Slow(app, "tasks")
    threads, answers = slow.ask("tasks", "q=word", n=4)
    assert slow.begun.acquire(timeout=60)
    other, others = slow.ask("tasks", "q=word", viewer=Viewer("bob", "viewer"))
    assert slow.begun.acquire(timeout=60)  # bob does not wait for ann
    assert slow.asked == 2
    eventually(lambda: [a.status for a in answers] == [429])  # two wait, so the fourth is refused
    slow.go.set()
    for thread in (*threads, *other):
        thread.join(60)
    assert sorted(a.status for a in answers) == [200, 200, 200, 429]
    assert [a.status for a in others] == [200]


def test_a_form_that_is_sent_twice_acts_once(board):
    def post(nonce, viewer=ADMIN, n="1"):
        form = {"nonce": [nonce], "n": [n]}
        return board.ask("POST", "things/a", viewer, headers=OWN, form=form).headers.get("location")

    assert [post("x"), post("x")] == ["/ops/things"] * 2
    assert len(board.done) == 1
    for again in (post("y"), post("x", n="2"), post("x", Viewer("bob", "admin"))):
        assert again == "/ops/things"
    assert [(name, n) for name, _, n in board.done] == [("ann", "1"), ("ann", "1"), ("ann", "2"), ("bob", "1")]
    post("z", Viewer("cid", "viewer"))
    assert post("z", Viewer("cid", "admin")) == "/ops/things", "what was refused is no act"


def test_another_viewer_never_gets_an_answer_that_was_made_for_one(app):
    slow = Slow(app, "api/v1/x")
    slow.ask("api/v1/x", "")
    slow.ask("api/v1/x", "", viewer=Viewer("ann", "admin", ["mail"]))
    assert slow.begun.acquire(timeout=60)
    assert slow.begun.acquire(timeout=60)
    slow.go.set()
    assert slow.asked == 2


def test_refusals_of_known_viewers_are_in_the_audit_and_not_without_end(board, app):
    for _ in range(15):
        board.ask("POST", "things/a", Viewer("bob", "viewer"), headers=OWN)
    board.ask("POST", "things/a", None, headers=OWN)
    board.post({"origin": "https://evil.example"})
    noted = [(one.actor, one.action, one.target, one.source) for one in app.storage.audit.page()]
    assert noted[-1] == ("bob", "refused", "POST things/a", "page")
    assert noted[0] == ("ann", "refused", "POST things/a~2Fb", "page")
    assert {name for name, *_ in noted} == {"ann", "bob"}
    assert len(noted) == 11
