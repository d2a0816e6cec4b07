"""A Flask app whose queue is on a PostgreSQL server: nothing but its URL differs."""

from __future__ import annotations

import pytest
from flask import Flask

from liteq.context import swap_apps
from liteq.testing import start_worker
from liteq_flask import LiteQ

from ... import postgresql


@pytest.fixture(autouse=True)
def _no_app_of_another_test():
    before = swap_apps(None, None)
    yield
    swap_apps(*before)


def test_a_view_sends_and_another_one_has_the_result(tmp_path, postgresql_server):
    pytest.importorskip("psycopg")
    app = Flask("shop", instance_path=str(tmp_path / "instance"))
    app.config["LITEQ"] = {"broker_url": postgresql.url(postgresql_server)}
    with LiteQ(app) as queue:

        @queue.task(name="double")
        def double(n: int) -> int:
            return 2 * n

        @app.post("/double/<int:n>")
        def send(n: int) -> str:
            return double.delay(n).id

        @app.get("/result/<id_>")
        def result(id_: str) -> str:
            return str(queue.AsyncResult(id_).get(timeout=60))

        client = app.test_client()
        with start_worker(queue):
            id_ = client.post("/double/21").text
            assert client.get(f"/result/{id_}").text == "42"
    assert not (tmp_path / "instance").exists()
