"""Messages of a batch that run at most once: a process that ends at any point leaves all of them begun, or none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from liteq import BatchItem, LiteQ
from liteq.execution.together import Each, together
from liteq.message import Ack, Flag, Lease, Release
from liteq.worker.pool.aio.executor import AsyncExecutor
from liteq.worker.pool.aio.running import Running
from liteq.worker.pool.executor import Executor


class Killed(SystemExit):
    """In the place of a kill."""


class Bench:
    """Three members of one batch, two of which run at most once, in the hands of a worker."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.app = app = LiteQ("once", broker=f"sqlite:///{folder}/queue.db", set_as_current=False)
        self.calls: list[list[str | None]] = []
        self.commits = 0

        def body(items: list[BatchItem]) -> None:
            self.calls.append([item.id for item in items])

        async def abody(items: list[BatchItem]) -> None:
            body(items)

        task = app.task(name="store", batch=10)(body if kind == "plain" else abody)
        for once in (True, False, True):
            task.acks_late = not once  # as its senders have it
            task.delay(1)
        self.members = app.storage.claim(["celery"], worker=1, limit=3, visibility_s=60)
        self.kind = kind
        assert sum(bool(one.flags & Flag.EARLY_ACK) for one in self.members) == 2

    def run(self) -> Any:
        given: dict[str, Any] = {"hostname": "here"}
        batch = together(self.members)
        if self.kind == "plain":
            return Executor(self.app, **given).run(batch)[0]
        more: dict[str, Any] = {"hooks": None, "limits": (None, None), "started": None, "stop": None}
        executor = AsyncExecutor(self.app, **given, **more, make_page=None)  # type: ignore[arg-type]
        return asyncio.run(executor._together(Running(batch)))

    def begun(self) -> list[bool]:
        found = [self.app.storage.leases.find(one.seq, one.token) for one in self.members]
        return [bool(one is not None and one.flags & Flag.BEGUN) for one in found]


@pytest.fixture(params=["plain", "awaited"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    bench = Bench(tmp_path, request.param)
    yield bench
    bench.app.close()


def kill_in_commit(bench: Bench, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    begin = bench.app.storage.leases.begin

    def killed(leases: list[Lease]) -> list[Lease]:
        if after:
            begin(leases)
        raise Killed

    monkeypatch.setattr(bench.app.storage.leases, "begin", killed)


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after it"])
def test_a_kill_leaves_none_begun_or_all_that_run_once(bench, monkeypatch, after):
    kill_in_commit(bench, monkeypatch, after=after)
    with pytest.raises(Killed):
        bench.run()
    assert bench.begun() == [after, False, after]
    assert bench.calls == []


def test_one_that_another_worker_has_by_now_goes_back_and_the_others_run(bench):
    lost = bench.members[2]
    bench.app.storage.settle([(lost, Release())])
    outcome = bench.run()
    assert type(outcome) is Each
    assert [type(one) for one in outcome.outcomes] == [Ack, Ack, Release]
    assert bench.calls == [[one.id for one in bench.members[:2]]]
    assert bench.begun() == [True, False, False]
