"""Progress and streams of a running task: paced, and the last always."""

from __future__ import annotations

import asyncio
import io
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import liteq
from liteq import Chunk, LiteQ, Progress
from liteq.exceptions import LeaseLost, NotSerializable, PayloadTooLarge, StorageError, WorkflowError
from liteq.execution import telling
from liteq.result import streaming
from liteq.result.drawing import drawn, line_of
from liteq.result.progress import progress_from
from liteq.serialization import decode
from liteq.testing import FakeClock, drain, start_worker


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    with LiteQ("telling", broker=f"sqlite:///{tmp_path}/q.db") as made:
        yield made


class Written:
    """Notes what is written, and how often."""

    def __init__(self) -> None:
        self.reports: list[bytes] = []
        self.chunks: list[tuple[str, list[bytes], int | None]] = []
        self.again = threading.Event()
        self.lost = False
        self.error: Exception | None = None

    def report(self, data: bytes) -> bool:
        if self.error is not None:
            raise self.error
        self.reports.append(data)
        self.again.set()
        return not self.lost

    def emit(self, stream: str, chunks: list[bytes], attempt: int | None) -> int:
        if self.error is not None:
            raise self.error
        self.chunks.append((stream, list(chunks), attempt))
        self.again.set()
        return attempt or 1


# -- the pace --------------------------------------------------------------------------------------------------------


def test_of_many_reports_the_first_and_the_last_are_written():
    written, clock = Written(), FakeClock()
    reports = telling.Reports(written.report, clock, "id")
    for n in range(1_000):
        reports.report(n, 1_000, "")
    assert len(written.reports) == 1
    reports.flush()
    assert [b'"current":0,' in written.reports[0], b'"current":999,' in written.reports[1]] == [True, True]
    reports.flush()
    assert len(written.reports) == 2


def test_a_report_that_was_held_back_is_written_while_the_task_is_busy_with_other_things():
    written, clock = Written(), FakeClock()
    reports = telling.Reports(written.report, clock, "id")
    reports.report(1, 3, "")
    written.again.clear()
    reports.report(2, 3, "two")
    assert written.again.wait(60), "nobody calls anything: a thread writes it"
    assert b'"current":2,' in written.reports[1]


def test_time_goes_on_between_two_reports():
    written, clock = Written(), FakeClock()
    reports = telling.Reports(written.report, clock, "id")
    for n in range(3):
        reports.report(n, 3, "")
        clock.advance(seconds=telling.REPORTS_S)
    assert len(written.reports) == 3


def test_a_lost_lease_is_told_by_the_next_report():
    written, clock = Written(), FakeClock()
    reports = telling.Reports(written.report, clock, "id")
    written.lost = True
    with pytest.raises(LeaseLost, match="id"):
        reports.report(1, 3, "")


def test_a_file_that_is_busy_costs_a_report_and_not_the_task(caplog):
    written, clock = Written(), FakeClock()
    reports = telling.Reports(written.report, clock, "id")
    written.error = StorageError("locked")
    reports.report(1, 3, "")
    assert "progress was not shown: locked" in caplog.text


def test_chunks_that_follow_closely_travel_together():
    written, clock, failures = Written(), FakeClock(), list[BaseException]()
    emitter = telling.Emitter(written.emit, clock, failures.append)
    emitter.add("a", b"1")
    for stream, data in (("a", b"2"), ("b", b"3"), ("a", b"4")):
        emitter.add(stream, data)
    emitter.flush()
    assert written.chunks == [("a", [b"1"], None), ("a", [b"2", b"4"], 1), ("b", [b"3"], 1)]
    written.error = StorageError("locked")
    clock.advance(seconds=1)
    emitter.add("a", b"5")
    emitter.add("a", b"6")
    assert failures == [written.error, written.error]


# -- through a task --------------------------------------------------------------------------------------------------


def test_progress_is_a_state_of_the_task_and_stays(app):
    seen: list[Any] = []

    @app.task(bind=True)
    def work(self) -> str:
        self.progress(450, 1_000, "importing")
        own = app.AsyncResult(self.request.id)
        seen.append((own.state, own.result, own.progress))
        self.progress(1_000, 1_000)
        return "done"

    result = work.delay()
    assert result.progress is None
    drain(app)
    state, meta, progress = seen[0]
    assert (state, meta) == ("PROGRESS", {"current": 450, "total": 1_000, "note": "importing"})
    assert progress[:3] == (450, 1_000, "importing")
    assert result.get() == "done"
    assert result.progress[:3] == (1_000, 1_000, "")
    assert result.progress.eta_s == 0.0


def test_code_without_self_reports_for_the_task_around_it(app):
    @app.task
    def inner(n: int) -> None:
        liteq.progress(n)

    @app.task
    def outer() -> None:
        inner(7)

    result = outer.delay()
    drain(app)
    assert result.progress[:3] == (7, None, "")
    assert result.progress.eta_s is None


def test_a_batch_reports_for_each_of_its_messages(app):
    @app.task(bind=True, batch=3, batch_wait=20)
    def work(self, items: list[Any]) -> None:
        self.progress(len(items), 3)
        if len(items) > 1:
            with pytest.raises(RuntimeError, match="a batch of messages has no stream"):
                self.emit("out", 1)

    results = [work.delay(n) for n in range(3)]
    with start_worker(app):
        for result in results:
            result.get(timeout=60)
    assert [result.progress[0] for result in results] == [3, 3, 3]


def test_a_plain_call_tells_nobody(app):
    @app.task(bind=True)
    def work(self) -> str:
        self.progress(1, 2)
        self.emit("out", 1)
        liteq.progress(1)
        return "done"

    assert work() == "done"
    liteq.progress(1)


def test_an_eager_task_tells_its_result(app):
    @app.task(bind=True)
    def work(self) -> None:
        self.progress(1, 2, "half")
        self.emit("out", {"n": 1})
        self.emit("out", {"n": 2})

    result = work.apply()
    assert result.progress[:3] == (1, 2, "half")
    assert list(result.stream("out", after=1)) == [Chunk(2, 1, {"n": 2})]
    assert list(work.apply().stream("other")) == []


def test_the_chunks_of_a_failed_task_are_there_and_those_of_its_retry_are_told_apart(app):
    @app.task(bind=True, max_retries=1, default_retry_delay=0)
    def work(self) -> None:
        for n in range(3):
            self.emit("out", n)
        raise self.retry(exc=ValueError("no"))

    result = work.delay()
    drain(app)
    assert result.failed()
    found = [(chunk.attempt, chunk.data) for chunk in result.stream("out")]
    assert found == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]


def test_a_chunk_that_cannot_be_written_fails_the_task(app, monkeypatch):
    @app.task(bind=True)
    def work(self) -> None:
        self.emit("out", 1)
        self.emit("out", 2)  # held back: it fails at the end

    def refuse(lease: Any, stream: str, chunks: list[bytes], attempt: int | None) -> int:
        if attempt is not None:
            raise StorageError("locked")
        return 1

    monkeypatch.setattr(app.storage.streams, "emit", refuse)
    result = work.delay()
    drain(app)
    with pytest.raises(StorageError):
        result.get()


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        (("1",), TypeError, "done is a number"),
        ((True,), TypeError, "done is a number"),
        ((-1,), ValueError, "done is a number from 0 on"),
        ((1, float("nan")), ValueError, "total is a number from 0 on"),
        ((1, 2, 3), TypeError, "note is a text"),
    ],
)
def test_a_report_that_says_nothing_is_refused(app, args, error, text):
    @app.task(bind=True)
    def work(self) -> None:
        self.progress(*args)

    with pytest.raises(error, match=text):
        work()


def test_a_chunk_is_data_of_a_size(app):
    @app.task(bind=True)
    def work(self, stream: str, chunk: Any) -> None:
        self.emit(stream, chunk)

    with pytest.raises(NotSerializable, match="a chunk of the stream 'out'"):
        work("out", object())
    with pytest.raises(PayloadTooLarge, match="max_result_bytes"):
        work("out", "x" * app.conf.max_result_bytes)
    with pytest.raises(ValueError, match="a stream's name"):
        work("", 1)


# -- reading ---------------------------------------------------------------------------------------------------------


def test_a_reader_hears_each_chunk_and_the_end(app):
    """Chunk by chunk: the next one is emitted when this one was read."""
    read = threading.Event()

    @app.task(bind=True)
    def work(self) -> None:
        for n in range(5):
            self.emit("out", n)
            assert read.wait(60)
            read.clear()

    result = work.delay()
    thread = threading.Thread(target=drain, args=(app,))
    thread.start()
    found = []
    for chunk in result.stream("out"):
        found.append(chunk)
        read.set()
    thread.join()
    assert found == [Chunk(n + 1, 1, n) for n in range(5)]
    assert list(result.stream("out", after=3)) == found[3:]
    assert list(app.AsyncResult("unknown").stream("out")) == []
    with pytest.raises(TypeError, match="a stream's name is a string, not 5"):
        result.stream(5)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_stream_that_is_long_in_coming_says_what_it_waits_for(app, monkeypatch, caplog, way):
    monkeypatch.setattr(streaming, "LONG_S", 0.02)
    result = app.task(name="work")(lambda: None).delay()

    async def read() -> list[Chunk]:
        return [chunk async for chunk in result.astream("out")]

    target = (lambda: list(result.stream("out"))) if way == "sync" else (lambda: asyncio.run(read()))
    reader = threading.Thread(target=target, daemon=True)
    reader.start()
    until = time.monotonic() + 60
    while "no worker is alive on that file" not in caplog.text and time.monotonic() < until:
        time.sleep(0.01)
    drain(app)
    reader.join(60)
    assert not reader.is_alive()
    assert caplog.text.count(f"waiting for {result.id} since") == 1


def test_async_readers_take_no_thread_each(app):
    read = threading.Semaphore(0)

    @app.task(bind=True)
    def work(self) -> None:
        for n in range(3):
            self.emit("out", n)
            for _ in range(20):
                assert read.acquire(timeout=60)

    result = work.delay()

    async def reader() -> list[Any]:
        found = []
        async for chunk in result.astream("out"):
            found.append(chunk.data)
            read.release()
        return found

    async def main() -> list[list[Any]]:
        thread = threading.Thread(target=drain, args=(app,))
        thread.start()
        before = threading.active_count()
        found = await asyncio.gather(*(reader() for _ in range(20)))
        assert threading.active_count() <= before + 3
        await asyncio.to_thread(thread.join)
        return found

    assert asyncio.run(main()) == [[0, 1, 2]] * 20


def test_the_time_that_is_left_is_told_by_the_pace():
    first = {"state": "PROGRESS", "at": 11_000, "first": (100, 1_000)}
    of = progress_from
    assert of({**first, "meta": {"current": 300, "total": 1_000}}).eta_s == 35.0
    assert of({**first, "meta": {"current": 300, "total": None}}).eta_s is None
    assert of({**first, "meta": {"current": 100, "total": 1_000}}).eta_s is None
    assert of({**first, "meta": {"current": 1_000, "total": 1_000}}).eta_s == 0.0
    assert of({"state": "PROGRESS", "meta": {"current": 3, "total": 4}}) == Progress(3, 4, "", None, None)
    for other in ({"step": 1}, "text", None, {"current": "3"}, {"current": True}):
        assert of({"state": "PROGRESS", "meta": other}) is None


def test_a_count_that_begins_anew_has_a_pace_of_its_own():
    clock, written = FakeClock(), Written()
    reports = telling.Reports(written.report, clock, "id")
    for done in (50, 90, 10, 20):
        reports.report(done, 100, "")
        clock.advance(10)
    assert progress_from(decode(written.reports[-1])).eta_s == 80.0


# -- drawing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress(450, 1_000, "importing", None, 12.0), "450 of 1,000 (45 %), 12 s left: importing"),
        (Progress(450, None, "", None, None), "450"),
        (Progress(0, 0, "", None, 0.0), "0 of 0"),
        (Progress(1, 2, "a\x1b[2Jb", None, None), "1 of 2 (50 %): a\\x1b[2Jb"),
    ],
)
def test_a_report_as_a_line(progress, line):
    assert line_of(progress) == line


class Shown:
    """A result with one report after the other."""

    id, name = "id", "imports"

    def __init__(self, app: Any) -> None:
        self.app = app
        self._done = itertools.count()

    @property
    def progress(self) -> Progress:
        return Progress(next(self._done), 1_000, "", None, None)


def test_a_pipe_gets_a_line_a_second_and_the_last(app, monkeypatch):
    monkeypatch.setattr(app, "clock", clock := FakeClock())
    monkeypatch.setattr(sys, "stderr", err := io.StringIO())
    with drawn(Shown(app)) as look:
        for _ in range(50):
            look()
        clock.advance(seconds=1)
        look()
        look()
    assert err.getvalue().splitlines() == ["0 of 1,000 (0 %)", "51 of 1,000 (5 %)", "53 of 1,000 (5 %)"]


def test_a_terminal_gets_a_bar(app, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", err := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with drawn(Shown(app)) as look:
        look()
    assert "imports" in err.getvalue()
    assert "2/1000" in err.getvalue()


# -- runs of workflows -----------------------------------------------------------------------------------------------


def test_a_step_reports_for_its_run_and_a_body_may_not(app):
    @app.step
    def load() -> None:
        liteq.progress(3, 4, "loading")
        liteq.progress(4, 4)  # held back until the run is left

    @app.workflow
    def flow(reports: bool) -> None:
        load()
        if reports:
            liteq.progress(1)

    run, wrong = flow.start(False), flow.start(True)
    drain(app)
    assert run.status == "succeeded"
    assert run.progress[:3] == (4, 4, "")
    with pytest.raises(WorkflowError, match="is for the steps of a workflow"):
        wrong.result(timeout=0)
