"""Changes that are told to pages: by one look a second at the file, and only while somebody listens."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from liteq import LiteQ
from liteq_dashboard.freshness.live import Broadcaster
from liteq_dashboard.freshness.stamp import stamp_of

SOON_S = 0.02


@pytest.fixture
def app(tmp_path):
    with LiteQ("live", broker=f"sqlite:///{tmp_path / 'q.db'}") as made:
        made.storage.migrate()
        yield made


async def within(awaitable, seconds=60):
    async with asyncio.timeout(seconds):
        return await awaitable


def run(test):
    asyncio.run(within(test(), 120))


def test_a_stamp_changes_with_the_file_and_only_then(app):
    before = stamp_of(app)
    app.storage.reader.next_due_ms()
    assert stamp_of(app) == before
    app.send_task("one")
    assert stamp_of(app) != before


def test_a_file_that_is_not_there_yet_has_a_stamp(tmp_path):
    app = LiteQ("nothing", broker=f"sqlite:///{tmp_path / 'none.db'}")
    assert stamp_of(app) == "0-0-0-0"
    assert not (tmp_path / "none.db").exists()


def test_every_listener_is_told_of_a_change(app):
    async def test():
        changes = Broadcaster(app, look_s=SOON_S)
        async with aclosing(changes.changes()) as first, aclosing(changes.changes()) as second:
            assert await within(anext(first)) == await within(anext(second)) == b"retry: 2000\n\n"
            waiting = [asyncio.ensure_future(anext(one)) for one in (first, second)]
            await asyncio.to_thread(app.send_task, "one")
            told = await within(asyncio.gather(*waiting))
        assert told[0] == told[1] == f"event: changed\ndata: {stamp_of(app)}\n\n".encode()

    run(test)


def test_a_change_between_the_page_and_its_stream_is_told_at_once(app):
    async def test():
        since = stamp_of(app)
        await asyncio.to_thread(app.send_task, "one")
        async with aclosing(Broadcaster(app, look_s=3600).changes(since)) as stream:
            await within(anext(stream))
            assert (await within(anext(stream))).startswith(b"event: changed")

    run(test)


def test_nobody_listening_costs_nothing(app):
    async def test():
        changes = Broadcaster(app, look_s=SOON_S)
        assert (changes.listeners, changes.is_looking) == (0, False)
        async with aclosing(changes.changes()) as stream:
            await within(anext(stream))
            assert (changes.listeners, changes.is_looking) == (1, True)
        assert (changes.listeners, changes.is_looking) == (0, False)

    run(test)


def test_a_silent_stream_has_a_heartbeat_and_ends(app):
    async def test():
        stream = Broadcaster(app, look_s=3600, heartbeat_s=SOON_S, life_s=50 * SOON_S).changes()
        found = [event async for event in stream]
        assert found[0] == b"retry: 2000\n\n"
        assert set(found[1:]) == {b": alive\n\n"}

    run(test)


def test_there_are_fifty_streams_and_no_more(app):
    async def test():
        changes = Broadcaster(app, look_s=3600)
        open_ = [changes.changes() for _ in range(50)]
        for stream in open_:
            await within(anext(stream))
        assert changes.changes() is None
        await open_[0].aclose()
        assert changes.changes() is not None
        for stream in open_[1:]:
            await stream.aclose()

    run(test)
