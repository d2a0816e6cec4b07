"""A server that goes away and comes back: all that are at work go on by themselves, and say so once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from liteq.beat.beat import Beat
from liteq.exceptions import StorageUnavailable
from liteq.result import ResultSet

from .. import servers
from .engines import fresh
from .worker_process import Site, wait_for

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="liteq's workers need POSIX"),
]
LOST, BACK = "cannot be used at the moment", "can be used again"


@pytest.fixture
def site(tmp_path: Path, postgresql_server: str) -> Iterator[Site]:
    site = Site(tmp_path, broker=fresh(postgresql_server))
    yield site
    site.close()


async def heard(site: Site, id_: str) -> list[object]:
    """The chunks of a stream, read by async code."""
    return [chunk.data async for chunk in site.app.AsyncResult(id_).astream("words")]


def test_all_go_on_when_the_server_is_back(
    site: Site, postgresql_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.worker("-c", "1", WORKER_TEST_VISIBILITY_S="600")
    beat = Beat(site.app)
    beat.turn()
    go = site.folder / "go"
    running = site.send("until", str(go))
    pid = site.wait_started(running)
    with ThreadPoolExecutor(5) as waiting:
        got = [
            waiting.submit(site.get, running, 120),
            waiting.submit(lambda: asyncio.run(site.app.AsyncResult(running).aget(timeout=120))),
            waiting.submit(lambda: ResultSet([site.app.AsyncResult(running)], app=site.app).get(timeout=120)[0]),
        ]
        streams = [
            waiting.submit(lambda: list(site.app.AsyncResult(running).stream("words"))),
            waiting.submit(lambda: asyncio.run(heard(site, running))),
        ]
        servers.stop_postgresql(postgresql_server)
        try:
            wait_for(lambda: LOST in site.log().read_text(), within_s=60, what="the worker says so")
            wait_for(lambda: "waited for until" in caplog.text, within_s=60, what="a caller says so")
            for _ in range(2):
                beat.turn()
            with pytest.raises(StorageUnavailable, match="does not answer"):
                site.send("add", 1, 2)
            go.touch()
            wait_for(lambda: site.notes("finished", running), what="the task ends meanwhile")
            late = site.start("-c", "1")
            assert late.wait(timeout=60) == 69
        finally:
            servers.start_postgresql(postgresql_server)
        assert [one.result(timeout=120) for one in got] == [pid] * 3
        assert [one.result(timeout=120) for one in streams] == [[], []], "they end with the task, not with the server"
    beat.turn()
    wait_for(lambda: BACK in site.log().read_text(), within_s=60, what="the worker says that it is back")
    assert site.get(site.send("add", 1, 2), timeout=60) == 3
    assert len(site.notes("started", running)) == 1, "its lease outlasts the server"
    assert [site.log().read_text().count(text) for text in (LOST, BACK)] == [1, 1]
    told = [record.getMessage() for record in caplog.records if record.name == "liteq.beat"]
    assert [LOST in text for text in told] == [True, False]
    assert [BACK in text for text in told] == [False, True]
    (refused,) = [line for line in site.log(1).read_text().splitlines() if "liteq: error:" in line]
    assert "does not answer" in refused


def test_a_capture_of_events_goes_on_when_the_server_is_back(
    site: Site, postgresql_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = site.app.events.Receiver()
    with ThreadPoolExecutor(1) as capturing:
        captured = capturing.submit(lambda: next(receiver.itercapture(wakeup=False))["type"])
        servers.stop_postgresql(postgresql_server)
        try:
            wait_for(lambda: "the next event is waited for" in caplog.text, within_s=60, what="it says so")
        finally:
            servers.start_postgresql(postgresql_server)
        site.app.events.Dispatcher(enabled=True).send("order-paid", uuid="x")
        assert captured.result(timeout=60) == "order-paid"
