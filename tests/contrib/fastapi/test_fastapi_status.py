"""The status of the queue in an application of FastAPI, and of Starlette alone."""

from __future__ import annotations

import asyncio
import os

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from liteq import LiteQ
from liteq.testing import drain, start_worker
from liteq_fastapi import lifespan, status_app

from .test_fastapi_helpers import served


@pytest.fixture
def queue(tmp_path):
    with LiteQ("web", broker=f"sqlite:///{tmp_path}/q.db") as made:

        @made.task(name="double")
        def double(n: int) -> int:
            return 2 * n

        @made.task(name="fails", sensitive=("pin",))
        def fails(secret: str, pin: str) -> None:
            raise ValueError("no such month")

        @made.task(name="steps", bind=True)
        def steps(self) -> None:
            self.update_state(state="PROGRESS", meta={"done": 1})
            raise self.retry(countdown=3600, exc=OSError("later"))

        yield made


class Client:
    """Requests to `app` as if from `address`, for the name `host`."""

    def __init__(self, app, address: str = "127.0.0.1", host: str = "localhost") -> None:
        self.app, self.address, self.url = app, address, f"http://{host}"

    def get(self, path: str, **options) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(self.address, 50_000))
            async with httpx.AsyncClient(transport=transport, base_url=self.url) as client:
                return await client.get(path, **options)

        return asyncio.run(ask())


@pytest.fixture
def client(queue):
    app = FastAPI(lifespan=lifespan(queue))
    app.mount("/liteq", status_app(queue, local=True))
    return Client(app)


def test_status_tells_what_waits_and_who_works(queue, client):
    queue.tasks["fails"].delay("s3cret", pin="0000")
    drain(queue)
    queue.tasks["double"].delay(1)
    with start_worker(queue, queues=["other"]):
        document = client.get("/liteq/status").json()
        health = client.get("/liteq/health?workers=1").json()
    assert (health["status"], health["workers"]) == ("warning", 1)
    assert ["no worker takes from it" in health["warnings"][0], "dead letter" in health["warnings"][1]] == [True, True]
    assert document["status"] == "warning"
    assert document["queues"]["celery"] == {"pending": 1, "dead": 1}
    assert document["dead"] == 1
    assert [worker["pid"] for worker in document["workers"]] == [os.getpid()]
    assert client.get("/liteq/health").status_code == 200
    assert client.get("/liteq/health?workers=1").status_code == 503


@pytest.mark.parametrize("path", ["health", "status", "tasks/{id}"])
def test_the_path_below_which_it_is_mounted_may_have_parameters(queue, client, path):
    client.app.mount("/{tenant}/liteq", status_app(queue, local=True))
    id_ = queue.tasks["double"].delay(1).id
    assert client.get("/acme/liteq/" + path.format(id=id_)).status_code == 200


@pytest.mark.parametrize("workers", ["two", 10**22, -1, "1e300", "NaN", "9" * 5000, "\x00", "x" * 10_000])
def test_a_number_of_workers_that_is_none_is_a_clear_400(client, workers):
    answer = client.get("/liteq/health", params={"workers": workers})
    assert answer.status_code == 400
    assert f"{workers}"[:10].strip("\x00") in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("health?worker=2", "unknown parameter 'worker'; did you mean 'workers'?"),
        ("status?workers=2", "unknown parameter 'workers'; no parameter is taken here"),
        ("tasks/x?wait=5", "unknown parameter 'wait'; no parameter is taken here"),
    ],
)
def test_a_misspelt_parameter_is_told(client, path, words):
    wrong = client.get(f"/liteq/{path}")
    assert (wrong.status_code, wrong.json()["error"]) == (400, words)


def test_a_number_of_any_size_is_told(queue, client):
    sent = queue.tasks["double"].delay(2**70)
    drain(queue)
    assert client.get(f"/liteq/tasks/{sent.id}").json()["info"] == str(2**71)


def test_a_task_s_state_and_result_by_its_id_and_never_its_arguments(queue, client):
    done, failed, later = (
        queue.tasks["double"].delay(21), queue.tasks["fails"].delay("s3cret", pin="0000"), queue.tasks["steps"].delay(),
    )  # fmt: skip
    pending = {"id": done.id, "task": "double", "state": "PENDING", "ready": False, "info": None}
    assert client.get(f"/liteq/tasks/{done.id}").json() == pending
    drain(queue)
    answer = client.get(f"/liteq/tasks/{done.id}")
    assert answer.json() == {**pending, "state": "SUCCESS", "ready": True, "info": 42}
    assert answer.headers["cache-control"] == "no-store"
    answer = client.get(f"/liteq/tasks/{failed.id}")
    assert answer.json()["error"] == {"type": "ValueError", "message": "no such month"}
    assert "s3cret" not in answer.text
    assert client.get(f"/liteq/tasks/{later.id}").json()["state"] == "RETRY"


@pytest.mark.parametrize("id_", ["nobody", "a" * 10_000, "%00", "%F0%9F%A6%86"])
def test_an_id_that_the_file_does_not_know_is_a_clear_404(client, id_):
    answer = client.get(f"/liteq/tasks/{id_}")
    assert answer.status_code == 404
    assert "no such task" in answer.json()["error"]


def test_the_tasks_of_another_file_are_not_seen(queue, client, tmp_path):
    with LiteQ("other", broker=f"sqlite:///{tmp_path}/other.db") as other:
        sent = other.send_task("double", (1,))
        assert client.get(f"/liteq/tasks/{sent.id}").status_code == 404


@pytest.mark.parametrize(
    ("headers", "address", "host"),
    [
        ({}, "192.0.2.7", "localhost"),
        ({"X-Forwarded-For": "192.0.2.7"}, "127.0.0.1", "localhost"),  # a proxy on this machine
        ({}, "127.0.0.1", "rebound.example"),  # a page of somebody's, by a name that points here
    ],
)
def test_a_program_that_opens_its_status_to_this_machine_opens_it_to_no_other(queue, headers, address, host):
    app = Starlette(routes=[Mount("/liteq", status_app(queue, local=True))])
    sent = queue.tasks["double"].delay(1)
    for path in ("status", "health", f"tasks/{sent.id}"):
        answer = Client(app, address, host).get(f"/liteq/{path}", headers=headers)
        assert answer.status_code == 403
        assert "token" in answer.json()["error"]


def test_a_program_that_has_said_nothing_lets_nobody_look(queue):
    answer = Client(Starlette(routes=[Mount("/liteq", status_app(queue))])).get("/liteq/status")
    assert answer.status_code == 403
    assert "local=True" in answer.json()["error"]


def test_with_a_token_whoever_has_it_may_look_from_anywhere(queue):
    client = Client(Starlette(routes=[Mount("/liteq", status_app(queue, token="s3cret"))]), "192.0.2.7")

    def code(authorization: str) -> int:
        return client.get("/liteq/status", headers={"Authorization": authorization}).status_code

    bare = client.get("/liteq/status")
    assert (bare.status_code, bare.headers["www-authenticate"]) == (401, "Bearer")
    assert code("Bearer s3cret") == 200
    assert code("Bearer wrong") == 401
    assert code("Basic s3cret") == 401
    with pytest.raises(ValueError, match="empty"):
        status_app(queue, token=" ")


def test_a_file_that_cannot_be_used_is_unavailable(tmp_path):
    (tmp_path / "bad.db").write_text("this is no database, whatever its name says" * 100)
    with LiteQ("bad", broker=f"sqlite:///{tmp_path}/bad.db") as queue:
        client = Client(status_app(queue, local=True))
        for path in ("/health", "/status", "/tasks/1"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


def test_on_a_real_server(queue):
    app = FastAPI(lifespan=lifespan(queue))
    app.mount("/liteq", status_app(queue, local=True))
    with served(app) as url:
        assert httpx.get(f"{url}/liteq/health").json() == {"status": "ok", "workers": 0, "warnings": []}
