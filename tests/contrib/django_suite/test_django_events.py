"""liteq_django.event_stream under both kinds of server, and named sends beside transactions."""

from __future__ import annotations

import asyncio

import pytest
from django.db import connection, transaction
from django.http import Http404
from django.test import AsyncRequestFactory, RequestFactory, override_settings

from liteq import Sent
from liteq.exceptions import LiteqError
from liteq.testing import drain
from liteq_django import event_stream

DONE = b'event: done\ndata: {"state":"SUCCESS","ready":true,"info":"done"}\n\n'


@pytest.fixture
def told(shop):
    """The result of a task that has told something."""

    @shop.task(name="tell", bind=True)
    def tell(self) -> str:
        self.emit("words", "one")
        self.emit("words", "two")
        return "done"

    result = tell.delay()
    drain(shop)
    yield result
    del shop.tasks["tell"]


def test_a_stream_under_wsgi(shop, told):
    answer = event_stream(told, stream="words", request=RequestFactory().get("/"))
    assert answer["Content-Type"] == "text/event-stream"
    assert list(answer) == [b'id: 1\ndata: "one"\n\n', b'id: 2\ndata: "two"\n\n', DONE]
    behind = RequestFactory().get("/", headers={"Last-Event-ID": "1"})
    assert list(event_stream(told, "words", request=behind)) == [b'id: 2\ndata: "two"\n\n', DONE]
    assert list(event_stream(told, request=behind)) == [DONE]
    with pytest.raises(Http404):
        event_stream(shop.AsyncResult("unknown"), request=behind)
    with pytest.raises(ValueError, match="interval_s is a number of seconds above 0, not 0"):
        event_stream(told, request=behind, interval_s=0)
    with pytest.raises(Http404):  # a view in a thread, of a server that speaks ASGI
        event_stream(shop.AsyncResult("unknown"), request=AsyncRequestFactory().get("/"))


def test_a_stream_under_asgi(shop, told):
    async def read(result, *stream, **headers):
        answer = event_stream(result, *stream, request=AsyncRequestFactory().get("/", headers=headers))
        assert answer.is_async
        return [part async for part in answer]

    async def main():
        assert await read(told, "words") == [b'id: 1\ndata: "one"\n\n', b'id: 2\ndata: "two"\n\n', DONE]
        assert await read(told, "words", **{"Last-Event-ID": "2"}) == [DONE]
        assert await read(told) == [DONE]
        unknown = b'event: done\ndata: {"state":"PENDING","ready":false,"info":null}\n\n'
        assert await read(shop.AsyncResult("unknown"), "words") == [unknown]
        assert await read(shop.AsyncResult("unknown")) == [unknown]
        request = AsyncRequestFactory().get("/")
        answer = await event_stream(told, request=request, interval_s=2)
        assert [part async for part in answer] == [DONE]
        with pytest.raises(Http404, match="there is no task unknown"):
            await event_stream(shop.AsyncResult("unknown"), request=request)

    asyncio.run(main())


@pytest.fixture
def double(shop):
    @shop.task(name="double")
    def double(n: int) -> int:
        return 2 * n

    yield double
    del shop.tasks["double"]


def test_many_calls_and_their_place_go_with_the_transaction(shop, double):
    with override_settings(LITEQ={"DATABASE": "default"}):
        with pytest.raises(KeyError), transaction.atomic():
            assert double.send_many(range(5), chunk=2, name="import") == Sent(5, 0)
            raise KeyError
        with transaction.atomic():
            assert double.send_many(range(5), chunk=2, name="import") == Sent(5, 0)
        assert double.send_many(range(5), chunk=2, name="import") == Sent(0, 5)


def test_beside_the_outbox_many_calls_go_with_the_transaction_but_no_place_can(shop, double):
    own = f"sqlite:///{connection.settings_dict['NAME']}-many"
    with override_settings(LITEQ={"BROKER_URL": own}):
        with pytest.raises(KeyError), transaction.atomic():
            assert double.send_many(range(5), chunk=2) == Sent(5, 0)
            raise KeyError
        assert shop.storage.reader.counts() == []
        with pytest.raises(LiteqError, match="when the transaction has committed"), transaction.atomic():
            double.send_many(range(5), name="import")
        assert double.send_many(range(5), name="import") == Sent(5, 0)
