"""The middleware that carries positions between requests, synchronous and asynchronous."""

from __future__ import annotations

import asyncio

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from liteq import LiteQ
from liteq.exceptions import NotYetThere
from liteq.result.position import Position
from liteq_django import PositionMiddleware
from tests.followers import copy_to


def test_an_answer_has_the_position_of_what_its_request_sent(shop):
    def view(request):
        return HttpResponse(shop.send_task("one", (1,)).id)

    answer = PositionMiddleware(view)(RequestFactory().post("/"))
    position = answer.headers["Liteq-Position"]
    assert Position.parse(position).id == answer.content.decode()
    assert answer.cookies["liteq_position"].value == position
    assert answer.cookies["liteq_position"]["httponly"]

    looked = PositionMiddleware(lambda request: HttpResponse("nothing sent"))(RequestFactory().get("/"))
    assert "Liteq-Position" not in looked.headers


def test_so_it_has_in_async_code(shop):
    async def view(request):
        return HttpResponse((await shop.send_task("one", (1,)).ameta())["task_id"])

    answer = asyncio.run(PositionMiddleware(view)(RequestFactory().post("/")))
    assert Position.parse(answer.headers["Liteq-Position"]).id == answer.content.decode()


@pytest.mark.parametrize("carrier", ["header", "cookie"])
def test_a_request_that_brings_a_position_waits_for_it(tmp_path, carrier):
    (tmp_path / "copy").mkdir()
    path = tmp_path / "copy" / "q.db"
    with LiteQ("leader", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False) as leader:
        leader.storage.migrate()
        copy_to(path, leader)
        result = leader.send_task("one", (1,))
        request = RequestFactory().get("/")
        if carrier == "header":
            request.META["HTTP_LITEQ_POSITION"] = result.position
        else:
            request.COOKIES["liteq_position"] = result.position
        with LiteQ("board", broker=f"sqlite:///{path}?mode=ro", set_as_current=False) as board:
            with pytest.raises(NotYetThere):
                PositionMiddleware(lambda request: board.AsyncResult(result.id).get(timeout=0))(request)
            copy_to(path, leader)
            with pytest.raises(TimeoutError) as raised:  # it is there, and unfinished
                PositionMiddleware(lambda request: board.AsyncResult(result.id).get(timeout=0))(request)
            assert not isinstance(raised.value, NotYetThere)
