"""A run in a pool: the engine is called with what it needs, and whatever it raises, the run is not lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from liteq import LiteQ
from liteq.exceptions import StorageBusy
from liteq.message import Ack, Cancel, Flag, Lease, Outcome, Park, Release
from liteq.serialization import decode_error, encode_error
from liteq.testing import FakeClock
from liteq.worker.pool.executor import Executor
from liteq.worker.pool.limits import StepLimit
from liteq.worker.pool.page import Page
from liteq.workflow.activating import activation


class Engine:
    """An engine that does as it is told, and remembers how it was called."""

    def __init__(self) -> None:
        self.answer: Outcome | BaseException = Ack(b"1")
        self.calls: list[dict[str, Any]] = []
        self.seen: list[int] = []

    def __call__(self, _app: Any, lease: Lease, **how: Any) -> Outcome:
        self.calls.append({"lease": lease, **how})
        how["page"].begin("", 1, "shop.charge", 1, None)
        self.seen += [step.token for step in how["page"].steps()]
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(activation, "activate", engine)
    return engine


@pytest.fixture
def app(clock: FakeClock) -> Iterator[LiteQ]:
    app = LiteQ("t", broker="memory://", clock=clock)
    yield app
    app.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def lease(flags: int = Flag.RUN, expires_ms: int | None = None) -> Lease:
    whole = (70, 7, "order-7", "shop.flow", b"[[],{}]", None, "celery", 0, 0, expires_ms, 0, 0, flags)
    return Lease(*whole, None, None, None, None)


def test_the_engine_gets_the_page_the_limit_and_the_wish_to_leave(app: LiteQ, engine: Engine) -> None:
    page = Page(shared=False)
    executor = Executor(app, hostname="w@h", page=page, limits=(0.001, 0.001))
    outcome, seconds = executor.run(lease())
    assert outcome == Ack(b"1")
    assert seconds >= 0
    (call,) = engine.calls
    assert (call["hostname"], call["page"], call["limit"]) == ("w@h", page, StepLimit)
    assert engine.seen == [7], "its step is seen under its token"
    assert page.steps() == [], "and struck off when the run is left"
    assert not call["stop"]()
    page.leave()
    assert call["stop"]()


def test_a_plain_task_does_not_come_to_the_engine(app: LiteQ, engine: Engine) -> None:
    @app.task(name="shop.flow")
    def task() -> int:
        return 5

    assert Executor(app, hostname="w").run(lease(flags=0))[0] == Ack(b"5")
    assert engine.calls == []


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_expires_before_its_first_activation_alone(
    app: LiteQ, engine: Engine, clock: FakeClock, begun: bool
) -> None:
    flags = Flag.RUN | (Flag.HISTORY if begun else 0)
    outcome, _ = Executor(app, hostname="w").run(lease(flags, expires_ms=clock.now_ms()))
    assert isinstance(outcome, Ack if begun else Cancel)
    assert len(engine.calls) == begun


def test_a_file_that_cannot_be_used_has_the_run_tried_again(app: LiteQ, engine: Engine) -> None:
    engine.answer = StorageBusy(1.0)
    outcome, _ = Executor(app, hostname="w").run(lease())
    assert isinstance(outcome, Release)
    assert not outcome.crashed
    assert outcome.pause_ms


@pytest.mark.parametrize("answer", [RuntimeError("a defect"), Park("stuck", encode_error(ValueError("a defect")))])
def test_an_engine_that_fails_leaves_the_run_stuck(app: LiteQ, engine: Engine, answer: Any) -> None:
    engine.answer = answer
    outcome, _ = Executor(app, hostname="w").run(lease())
    assert isinstance(outcome, Park)
    assert outcome.state == "stuck"
    assert outcome.fingerprint, "so that the same code does not try it again"
    assert decode_error(outcome.error or b"").message == "a defect"


def test_a_paused_run_is_not_stuck(app: LiteQ, engine: Engine) -> None:
    engine.answer = Park("paused")
    outcome, _ = Executor(app, hostname="w").run(lease())
    assert outcome == Park("paused")


def test_what_is_to_end_the_process_ends_it(app: LiteQ, engine: Engine) -> None:
    engine.answer = KeyboardInterrupt()
    page = Page(shared=False)
    with pytest.raises(KeyboardInterrupt):
        Executor(app, hostname="w", page=page).run(lease())
    assert page.steps() == []


def test_each_thread_of_a_pool_has_a_page_that_is_told_to_leave(app: LiteQ, engine: Engine) -> None:
    executor = Executor(app, hostname="w")
    executor.run(lease())
    executor.runs.leave()
    assert engine.calls[0]["stop"]()
    executor.run(lease())
    assert engine.calls[1]["stop"](), "also of a thread that comes later"
