"""A walk over the whole route table: with each role, with a viewer of one queue, and that no GET changes anything."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from liteq import LiteQ
from liteq import operating as hands
from liteq.message import WorkerIdentity, new_id
from liteq.monitor.documents import Ends
from liteq.monitor.tasks.failures import failures
from liteq.operating import Actor
from liteq.storage.driver import Promise
from liteq.storage.statistics.stats import Tally, add
from liteq.testing import drain
from liteq.workflow import ctx
from liteq_dashboard import RIGHTS, ROLES, Viewer
from liteq_dashboard.dispatch import READING, Asked, Dashboard
from liteq_dashboard.links import segment
from liteq_dashboard.routes import Table, routes

OWN = {"sec-fetch-site": "same-origin", "accept": "text/html"}
HERE = Ends("ops", "10.0.0.1", "10.0.0.2")
TABLE = Table(routes())
GETS = sorted({route.path for route in TABLE.routes if route.method == "GET"})
POSTS = sorted({route.path for route in TABLE.routes if route.method == "POST"})
# POSTs that are a viewer's own matter: how it looks.
HARMLESS = {"look"}
FORM = {"reason": "walk", "ok": "yes"}
# The fields that an act needs, by the end of its path.
GIVEN: dict[str, dict[str, Any]] = {
    "/move": {"queue": "mail"}, "/run-at": {"at": "2030-01-01"}, "/rewind": {"step": "1"},
    "operations/start": {"action": "delete", "q": ""}, "operations/preview": {"action": "delete", "q": ""},
}  # fmt: skip
QUERIES = ("", "q=state:dead,succeeded,scheduled", "format=csv", "range=1h&metric=done_s")
# Words that stand in names of things of the queue that is not seen, and nowhere else.
HIDDEN = re.compile(r"hush|whisper", re.IGNORECASE)


class Place:
    """An app with the same things in two queues: "mail", and "hush", where each name has a word of HIDDEN in it."""

    def __init__(self, app: LiteQ) -> None:
        self.app = app
        self.ids: dict[str, dict[str, str]] = {}
        self._queue("mail", "post")
        self._queue("hush", "whisper")
        app.storage.queues.pause("hush", actor="bob", reason="whispering")
        app.storage.queues.pause("mail", actor="bob", reason="moving")

    def _queue(self, queue: str, word: str) -> None:
        app = self.app

        @app.task(name=f"{word}.fail", queue=queue)
        def fail(n: int) -> None:
            raise ValueError(f"{word} failed")

        @app.task(name=f"{word}.work", queue=queue)
        def work(n: int) -> str:
            return f"{word} done"

        @app.workflow(name=f"{word}.ask", queue=queue)
        def ask(n: int) -> bool:
            return bool(ctx.approval(f"May {word}?", timeout="2d").ok)

        dead, done = fail.delay(1), work.delay(1)
        run = ask.options(id=f"run-{word}").start(1)
        drain(app)
        app.schedules.add(f"{word} daily", 3_600, work, [1])
        app.storage.register_worker(WorkerIdentity(new_id(), f"{word}@host", "host", "boot", 1, "1"))
        operation = hands.start(
            app, "requeue", f"queue:{queue} error:nothing", by=Actor("bob", "page", f"{word} reason"), wait=True
        )
        tally = Tally()
        tally.ran(0.1, 0.1)
        with app.storage.driver.write(Promise.PROGRESS) as tx:  # a minute ago: one that has just begun has no point yet
            add(tx, {(f"{word}.work", queue, "succeeded", ""): tally}, now_ms=app.clock.now_ms() - 60_000)
        waiting = work.apply_async((2,), countdown=3_600)
        held = work.apply_async((3,)).id
        with app.storage.driver.write() as tx:
            tx.execute("UPDATE liteq_messages SET state = 'held', held_by = ? WHERE id = ?", (f"user:{word}", held))
            tx.execute("INSERT INTO liteq_lines VALUES (?, ?, ?, ?, 0)", (f"user:{word}", queue, 0, f"user:{word}"))
        app.storage.limits.set(f"queue:{queue}", concurrent=9)
        cause = next(one["id"] for one in failures(app)["items"] if one["queue"] == queue)
        self.ids[queue] = {
            "tasks": dead.id, "done": done.id, "waiting": waiting.id, "failures": str(cause), "types": f"{word}.fail",
            "workflows": run.id, "approvals": run.id, "title": f"May {word}?", "queues": queue,
            "workers": f"{word}@host", "schedules": f"{word} daily", "operations": operation,
            "limits": f"user:{word}",
        }  # fmt: skip

    def path(self, line: str, queue: str) -> str:
        """A path of a line of the table, with the things of `queue` in it."""
        kind = line.removeprefix("api/v1/").partition("/")[0]
        ids = self.ids[queue]
        given = {
            "title": ids["title"],
            "action": "stop" if kind == "workers" else "run",
            "act": "cancel",
            "hash": "0",
            "part": "x",
        }
        return re.sub(r"\{(\w+)\}", lambda found: segment(given.get(found[1]) or ids.get(kind, "x")), line)

    def ask(self, method: str, path: str, viewer: Viewer, query: str = "", *, read_only: bool = False) -> Any:
        """The answer of a dashboard that has not been asked before: so no pace holds the walk up."""
        is_api = path.startswith("api/")
        given = next((GIVEN[name] for name in GIVEN if path.endswith(name)), {})
        asked = Asked(
            method, path, "/ops", query, OWN, HERE,
            form={name: [text] for name, text in (FORM | given).items()} if method == "POST" and not is_api else {},
            json={"reason": "walk", **given} if method == "POST" and is_api else None,
        )  # fmt: skip
        answer = Dashboard(self.app, table=TABLE, read_only=read_only).respond(asked, viewer)
        body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        return answer.status, body.decode()

    def facts(self) -> dict[str, Any]:
        """All that an act could have changed, but for the notes of refusals."""
        storage = self.app.storage
        records = {
            id_: (record.state, record.queue, record.due_ms, record.priority)
            for ids in self.ids.values()
            for id_ in (ids["tasks"], ids["done"], ids["waiting"])
            if (record := storage.reader.find(id_)) is not None
        }
        return {
            "records": records,
            "counts": sorted((one.queue, str(one.state), one.n) for one in storage.reader.counts()),
            "runs": [(run.id, run.status) for run in map(self.app.Run, ("run-post", "run-whisper"))],
            "acts": [one for one in storage.audit.page(limit=1_000) if one.action != "refused"],
            "schedules": sorted(map(repr, storage.schedules.all())),
            "paused": storage.queues.paused(),
            "limits": storage.limits.list(),
        }

    def without_its_own_words(self, body: str, line: str) -> str:
        """`body` without the names that the request itself has named: a page says which one is not there."""
        for name in {*self.ids["hush"].values(), "hush"} if "{" in line else ():
            for text in (segment(name), name, quote(segment(name)), html.escape(name)):
                body = body.replace(text, "")
        return body


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("walk")
    with LiteQ("walk", broker=f"sqlite:///{folder / 'q.db'}", set_as_current=False) as app:
        app.storage.migrate()
        yield Place(app)


def lines(method: str) -> list[str]:
    return GETS if method == "GET" else POSTS


def right_of(method: str, line: str) -> str:
    return next(route.right for route in TABLE.routes if (route.method, route.path) == (method, line))


# -- rights ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_role_is_refused_what_it_has_no_right_to(place: Place, role: str, method: str) -> None:
    viewer, before = Viewer("eve", role), place.facts()
    lacking = [line for line in lines(method) if not viewer.can(right_of(method, line))]
    found = {line: place.ask(method, place.path(line, "mail"), viewer)[0] for line in lacking}
    assert found == dict.fromkeys(lacking, 403)
    assert place.facts() == before


@pytest.mark.parametrize("how", ["a viewer", "a viewer that may see payloads and export", "read only"])
def test_who_may_only_look_is_refused_every_act(place: Place, how: str) -> None:
    viewer = {"a viewer": Viewer("eve", "viewer"), "read only": Viewer("ann", "admin")}.get(how, Viewer("eve", READING))
    before = place.facts()
    found = {
        line: place.ask("POST", place.path(line, "mail"), viewer, read_only=how == "read only")[0]
        for line in POSTS
        if line not in HARMLESS and not line.endswith("operations/preview")
    }
    assert found == dict.fromkeys(found, 403)
    assert place.facts() == before


def test_a_client_that_nobody_knows_gets_nothing_but_files(place: Place) -> None:
    dashboard = Dashboard(place.app, table=TABLE)
    for route in TABLE.routes:
        asked = Asked(route.method, place.path(route.path, "mail"), "/ops", "", OWN, HERE)
        status = dashboard.respond(asked, None).status
        assert status == (404 if route.right == "" else 401), route


# -- one queue ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", GETS)
def test_one_that_sees_a_queue_finds_nothing_of_another_on_any_page(place: Place, line: str) -> None:
    viewer = Viewer("eve", RIGHTS, ["mail"])
    for query in QUERIES:
        for queue in ("mail", "hush") if "{" in line else ("mail",):
            status, body = place.ask("GET", place.path(line, queue), viewer, query)
            assert status < 500 or (line, status) == ("metrics", 501)
            found = place.without_its_own_words(body, line) if queue == "hush" else body
            assert not HIDDEN.search(found), (line, queue, query)


@pytest.mark.parametrize("query", ["task=whisper.work&metric=done_s", "queue=hush&metric=done_s"])
def test_a_series_of_another_queue_is_empty(place: Place, query: str) -> None:
    everything = orjson.loads(place.ask("GET", "api/v1/series", Viewer("ann", "admin"), query)[1])
    seen = orjson.loads(place.ask("GET", "api/v1/series", Viewer("eve", RIGHTS, ["mail"]), query)[1])
    assert any(value for _, value in everything["points"])
    assert not any(value for _, value in seen["points"])


@pytest.mark.parametrize("line", [line for line in GETS if "{" in line and not line.startswith("static")])
def test_a_thing_of_another_queue_is_404_as_one_that_is_not_there(place: Place, line: str) -> None:
    assert place.ask("GET", place.path(line, "hush"), Viewer("eve", RIGHTS, ["mail"]))[0] == 404


@pytest.mark.parametrize("line", [line for line in POSTS if "{" in line])
def test_nothing_of_another_queue_is_acted_on(place: Place, line: str) -> None:
    before = place.facts()
    status, body = place.ask("POST", place.path(line, "hush"), Viewer("eve", RIGHTS, ["mail"]))
    assert (status, place.facts() == before) == (404, True)
    assert not HIDDEN.search(place.without_its_own_words(body, line))


@pytest.mark.parametrize(
    "q", ["whisper", "task:whisper.*", "queue:hush", "error:whisper", "root:run-whisper", "args.0:1"]
)
def test_a_search_finds_counts_and_exports_nothing_of_another_queue(place: Place, q: str) -> None:
    viewer = Viewer("eve", RIGHTS, ["mail"])
    for form in ("json", "ndjson", "csv"):
        _, body = place.ask("GET", "api/v1/tasks", viewer, f"q={q}&format={form}")
        assert not HIDDEN.search(body)
    asked = Asked(
        "POST", "api/v1/operations/preview", "/ops", "", OWN, HERE, json={"action": "requeue", "q": f"state:dead {q}"}
    )
    seen = orjson.loads(Dashboard(place.app, table=TABLE).respond(asked, viewer).body)
    assert not HIDDEN.search(orjson.dumps({**seen, "command": ""}).decode())  # which has the search's own words
    found = [
        len(orjson.loads(place.ask("GET", "api/v1/tasks", one, f"q={q}")[1])["items"])
        for one in (viewer, Viewer("ann", "admin"))
    ]
    assert found[0] < found[1]


# -- GET ---------------------------------------------------------------------------------------------------------------


def test_no_get_changes_anything_and_none_breaks(place: Place) -> None:
    before = place.facts()
    asked_for = {
        "operations/preview": "action=requeue&q=state:dead",
        "schedules/~choice": "action=pause&name=post daily",
        "api/v1/series": "metric=done_s",
    }
    found = {}
    for line in GETS:
        query = asked_for.get(line, "")
        found[line] = place.ask("GET", place.path(line, "mail"), Viewer("ann", "admin"), query)[0]
    assert place.facts() == before
    wrong = {line: status for line, status in found.items() if status != 200 and not line.startswith("static/")}
    assert wrong == {}
