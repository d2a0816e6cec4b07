"""liteq_fastapi: the lifespan, progress as events, clients that go away. With FastAPI on a real server."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from liteq import LiteQ
from liteq.exceptions import StorageError
from liteq.monitor import server_events
from liteq.result import hub
from liteq.testing import drain, start_worker
from liteq_fastapi import event_stream, lifespan, opened, progress, while_connected

from ... import postgresql


@pytest.fixture
def queue(tmp_path) -> Iterator[LiteQ]:
    with LiteQ("web", broker=f"sqlite:///{tmp_path}/q.db") as made:

        @made.task(name="double")
        def double(n: int) -> int:
            return 2 * n

        @made.task(name="fail")
        def fail() -> None:
            raise ValueError("no such month")

        made.go_on = threading.Event()

        @made.task(name="steps", bind=True)
        def steps(self, n: int) -> str:
            for step in range(n):
                self.update_state(state="PROGRESS", meta={"step": step})
                assert made.go_on.wait(60)
                made.go_on.clear()
            return "done"

        yield made


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The URL of a real server for `app`, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextmanager
def visited(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of a real server for `app`."""
    with served(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


# -- the lifespan ----------------------------------------------------------------------------------------------------


def test_the_file_is_open_while_the_app_runs_and_requests_find_the_queue(queue, tmp_path):
    app = FastAPI(lifespan=lifespan(queue))

    @app.get("/{n}")
    async def send(request: Request, n: int) -> dict[str, str]:
        assert request.state.liteq is queue
        return {"id": (await queue.tasks["double"].adelay(n)).id}

    with visited(app) as client:
        id_ = client.get("/21").json()["id"]
        assert (tmp_path / "q.db").exists()
        drain(queue)
    assert "storage" not in queue.__dict__
    assert queue.AsyncResult(id_).get(timeout=0) == 42


def test_a_lifespan_of_ones_own_runs_within(queue):
    order = []

    @asynccontextmanager
    async def inner(app):
        order.append("storage" in queue.__dict__)
        yield {"mine": 1}
        order.append("storage" in queue.__dict__)

    app = FastAPI(lifespan=lifespan(queue, inner))

    @app.get("/")
    async def index(request: Request) -> int:
        return request.state.mine

    with visited(app) as client:
        assert client.get("/").json() == 1
    assert order == [True, True]


def test_a_file_that_cannot_be_used_is_an_error_at_the_start(tmp_path):
    (tmp_path / "bad.db").write_text("this is no database at all, as anybody can see" * 100)
    app = FastAPI(lifespan=lifespan(LiteQ("bad", broker=f"sqlite:///{tmp_path}/bad.db")))

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pytest.fail("it started")

    with pytest.raises(StorageError):
        asyncio.run(start())


# -- progress --------------------------------------------------------------------------------------------------------


def test_progress_tells_each_change_and_the_end(queue):
    async def main() -> list[tuple[str, object]]:
        async with opened(queue):
            result = await queue.tasks["steps"].adelay(2)
            seen = []
            async for now in progress(result, interval_s=0.02):
                seen.append((now.state, now.info))
                if now.state == "PROGRESS":
                    queue.go_on.set()
            return seen

    with start_worker(queue):
        seen = asyncio.run(main())
    told = [("PROGRESS", {"step": 0}), ("PROGRESS", {"step": 1}), ("SUCCESS", "done")]
    assert [one for one in seen if one != ("PENDING", None)] == told


def test_the_events_of_a_task_that_fails_end_with_its_error(queue):
    app = FastAPI(lifespan=lifespan(queue))

    @app.get("/events/{id_}")
    async def events(id_: str) -> Response:
        return await event_stream(queue.AsyncResult(id_), interval_s=0.02)

    with start_worker(queue), visited(app) as client:
        id_ = queue.tasks["fail"].delay().id
        answer = client.get(f"/events/{id_}")
        assert answer.headers["content-type"].startswith("text/event-stream")
        *_, event, data, _, _ = answer.text.split("\n")
        assert event == "event: done"
        told = json.loads(data.removeprefix("data: "))
        assert told == {"state": "FAILURE", "ready": True, "error": {"type": "ValueError", "message": "no such month"}}
        for unknown in ("nobody", "a" * 10_000, "%00", "%F0%9F"):
            assert client.get(f"/events/{unknown}?after={10**22}").status_code == 404
        large = client.get(f"/events/{queue.tasks['double'].delay(2**70).id}").text
        assert json.loads(large.split("data: ")[-1])["info"] == str(2**71)


def test_a_client_that_goes_away_ends_the_waiting_and_not_the_task(queue, monkeypatch, eventually):
    monkeypatch.setattr(server_events, "HEARTBEAT_S", 0.05)
    app = FastAPI(lifespan=lifespan(queue))
    listening = []

    class Noted(hub.Ear):
        def __init__(self, *given) -> None:
            super().__init__(*given)
            listening.append(self)

        def close(self) -> None:
            super().close()
            listening.remove(self)

    monkeypatch.setattr(hub, "Ear", Noted)

    @app.get("/events/{id_}")
    async def events(id_: str) -> Response:
        return await event_stream(queue.AsyncResult(id_), interval_s=60)

    with served(app) as url:
        result = queue.tasks["double"].delay(4)
        with httpx.stream("GET", f"{url}/events/{result.id}") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: progress"
            while next(lines) != ": alive":
                pass
            eventually(lambda: len(listening) == 1)
        eventually(lambda: not listening)
        drain(queue)
        assert result.get(timeout=0) == 8


def test_a_request_waits_for_a_result_only_while_its_client_does(queue, eventually):
    app = FastAPI(lifespan=lifespan(queue))
    told = []

    @app.get("/wait/{n}")
    async def wait(request: Request, n: int) -> int:
        result = await queue.tasks["double"].adelay(n)
        told.append("waiting")
        try:
            return await while_connected(request, result.aget(timeout=60))
        except ClientDisconnect:
            result.revoke()
            told.append("gone")
            raise

    with served(app) as url:
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port)) as client:
            client.sendall(b"GET /wait/1 HTTP/1.1\r\nHost: shop\r\n\r\n")
            eventually(lambda: told == ["waiting"])
        eventually(lambda: told == ["waiting", "gone"])
        assert drain(queue) == 0  # revoked
        with start_worker(queue):
            assert httpx.get(f"{url}/wait/21", timeout=60).json() == 42


def test_two_hundred_requests_that_wait_take_no_thread_each(queue):
    app = FastAPI(lifespan=lifespan(queue))

    @app.get("/wait/{n}")
    async def wait(n: int) -> int:
        return await (await queue.tasks["double"].adelay(n)).aget(timeout=60)

    async def ask(url: str) -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=120, limits=limits) as client:
            asked = [asyncio.create_task(client.get(f"{url}/wait/{n}")) for n in range(200)]
            async with asyncio.timeout(60):
                while await asyncio.to_thread(waiting) < 200:  # noqa: ASYNC110 - the file tells nobody
                    await asyncio.sleep(0.01)
            assert threading.active_count() < before + 30  # asyncio.to_thread's here among them, up to 32 a loop
            await asyncio.to_thread(drain, queue)
            return [answer.json() for answer in await asyncio.gather(*asked)]

    def waiting() -> int:
        return sum(n.n for n in queue.storage.reader.counts() if n.state == "pending")

    before = threading.active_count()
    with served(app) as url:
        assert asyncio.run(ask(url)) == [2 * n for n in range(200)]


# -- streams ---------------------------------------------------------------------------------------------------------


def test_a_page_reads_a_stream_and_goes_on_behind_its_last_chunk(queue):
    @queue.task(name="words", bind=True, max_retries=1, default_retry_delay=0)
    def words(self) -> str:
        self.emit("words", {"text": "one"})
        assert queue.go_on.wait(60)
        self.emit("words", "two")
        if not self.request.retries:
            raise self.retry()
        return "done"

    app = FastAPI(lifespan=lifespan(queue))

    @app.get("/{id_}")
    async def stream(id_: str) -> Response:
        return await event_stream(queue.AsyncResult(id_), stream="words")

    with visited(app) as client, start_worker(queue):
        id_ = words.delay().id
        with client.stream("GET", f"/{id_}") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = response.iter_lines()
            assert [next(lines), next(lines)] == ["id: 1", 'data: {"text":"one"}']
            queue.go_on.set()  # the page has it while the task goes on
            rest = "\n".join(lines)
        assert rest.startswith('\nid: 2\ndata: "two"\n\nevent: attempt\ndata: 2\n\nid: 3\n')
        assert rest.endswith('event: done\ndata: {"state":"SUCCESS","ready":true,"info":"done"}\n')
        again = client.get(f"/{id_}", headers={"Last-Event-ID": "2"}).text
        assert again.startswith('event: attempt\ndata: 2\n\nid: 3\ndata: {"text":"one"}\n\nid: 4\n')
        assert client.get(f"/{id_}", headers={"Last-Event-ID": "3"}).text.startswith(
            'id: 4\ndata: "two"\n\nevent: done\n'
        )
        assert client.get(f"/{id_}", headers={"Last-Event-ID": "x"}).text.startswith("id: 1\n")
        assert client.get("/unknown").status_code == 404


def test_the_stream_of_a_run_is_read_likewise(queue):
    from liteq.workflow import ctx

    @queue.workflow(name="tell")
    def tell() -> str:
        ctx.emit("out", [1])
        return "done"

    app = FastAPI(lifespan=lifespan(queue))

    @app.get("/{id_}")
    async def stream(id_: str) -> Response:
        return await event_stream(queue.Run(id_), stream="out")

    with visited(app) as client, start_worker(queue):
        run = tell.start()
        text = client.get(f"/{run.id}").text
    assert text == 'id: 1\ndata: [1]\n\nevent: done\ndata: {"state":"SUCCESS","ready":true,"info":"done"}\n\n'


def test_a_request_that_is_given_tells_the_last_chunk_and_a_wrong_interval_is_refused(queue):
    app = FastAPI(lifespan=lifespan(queue))

    @queue.task(name="words", bind=True)
    def words(self) -> None:
        self.emit("words", 1)
        self.emit("words", 2)

    @app.get("/{id_}")
    async def events(request: Request, id_: str) -> Response:
        return await event_stream(queue.AsyncResult(id_), "words", request=request, interval_s=2)

    result = words.delay()
    drain(queue)
    with visited(app) as client:
        text = client.get(f"/{result.id}", headers={"Last-Event-ID": "1"}).text
    assert text.startswith("id: 2\ndata: 2\n\nevent: done\n")
    with pytest.raises(ValueError, match="interval_s is a number of seconds above 0, not 0"):
        asyncio.run(event_stream(result, interval_s=0))


# -- another engine --------------------------------------------------------------------------------------------------


def test_with_the_queue_on_a_postgresql_server_nothing_but_its_url_differs(postgresql_server):
    pytest.importorskip("psycopg")
    with LiteQ("web", broker=postgresql.url(postgresql_server)) as queue:
        double = queue.task(name="double")(lambda n: 2 * n)
        app = FastAPI(lifespan=lifespan(queue))

        @app.post("/double/{n}")
        async def send(n: int) -> str:
            return (await double.adelay(n)).id

        @app.get("/result/{id_}")
        async def result(id_: str) -> int:
            return await queue.AsyncResult(id_).aget(timeout=60)

        with start_worker(queue), visited(app) as client:
            id_ = client.post("/double/21").json()
            assert client.get(f"/result/{id_}").json() == 42
