"""A web application that sends to a queue, and one that reads a replica of it: the client carries the position."""

from __future__ import annotations

import pytest
from flask import Flask

from liteq.context import swap_apps
from liteq.exceptions import NotYetThere, StorageUnavailable
from liteq.testing import drain
from liteq_flask import LiteQ
from tests.followers import copy_to


@pytest.fixture(autouse=True)
def _no_app_of_another_test():
    before = swap_apps(None, None)
    yield
    swap_apps(*before)


def site(name: str, url: str) -> tuple[Flask, LiteQ]:
    flask = Flask(name)
    flask.config["LITEQ"] = {"broker_url": url}
    queue = LiteQ(flask)
    queue.task(name="double")(lambda n: 2 * n)

    @flask.post("/send")
    def send() -> str:
        return queue.send_task("double", (4,)).id

    @flask.get("/get/<id_>")
    def get(id_: str) -> str:
        try:
            return str(queue.AsyncResult(id_).get(timeout=0.1))
        except NotYetThere as exc:
            return f"behind: {exc.position}"

    return flask, queue


def test_what_was_sent_is_answered_though_its_position_cannot_be_read(tmp_path, monkeypatch, caplog):
    writer, queue = site("writer", f"sqlite:///{tmp_path}/q.db")
    with queue:
        queue.storage.migrate()

        def away(_id: str) -> int:
            raise StorageUnavailable("the server has gone")

        monkeypatch.setattr(queue.storage.reader, "created_ms", away, raising=False)
        sent = writer.test_client().post("/send")
        assert (sent.status_code, "Liteq-Position" in sent.headers) == (200, False), "a client would send it once more"
        assert "the server has gone" in caplog.text
        assert queue.storage.reader.find(sent.text) is not None


@pytest.mark.parametrize("carrier", ["header", "cookie"])
def test_a_reader_waits_for_the_position_that_the_client_brings(tmp_path, carrier):
    writer, leader = site("writer", f"sqlite:///{tmp_path}/q.db")
    (tmp_path / "copy").mkdir()
    path = tmp_path / "copy" / "q.db"
    with leader:
        leader.storage.migrate()
        copy_to(path, leader)
        reader, board = site("reader", f"sqlite:///{path}?mode=ro")
        sent = writer.test_client().post("/send")
        position = sent.headers["Liteq-Position"]
        assert f"liteq_position={position}" in sent.headers["Set-Cookie"]
        assert "HttpOnly" in sent.headers["Set-Cookie"]
        drain(leader)
        with board:
            client = reader.test_client()
            if carrier == "cookie":
                client.set_cookie("liteq_position", position)
            headers = {"Liteq-Position": position} if carrier == "header" else {}
            answer = client.get(f"/get/{sent.text}", headers=headers)
            assert answer.text == f"behind: {position}"
            assert "Liteq-Position" not in answer.headers  # it sent nothing
            copy_to(path, leader)
            assert client.get(f"/get/{sent.text}", headers=headers).text == "8"
