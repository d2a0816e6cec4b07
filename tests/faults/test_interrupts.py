"""An error raised inside the storage leaves nothing half done: a soft limit, Ctrl-C, an alarm of the task's own."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from liteq import LiteQ, chain, chord, current_task, group
from liteq.exceptions import SoftTimeLimitExceeded
from liteq.message import Ack, DeadLetter, WorkerIdentity, new_id
from liteq.serialization import decode, decode_error
from liteq.storage.sqlite.turns import gate
from liteq.storage.sqlite.turns.gate import open_gate
from liteq.worker.pool.executor import Executor

from .harness import wait_for
from .sizes import size

LIMITS = size("INTERRUPTS", 300, 30_000)
NEVER = sys.maxsize
GIVE_UP = 20_000  # calls of a task whose limit does not come: it was swallowed

pytestmark = [
    pytest.mark.timeout(3600, method="thread"),  # the limits' own timer is the one that it would use
    pytest.mark.skipif(sys.platform == "win32", reason="there are no timer signals, and no gate"),
]


class Interrupt(BaseException):
    """The error that a handler raises."""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("interrupts", broker=f"sqlite:///{tmp_path / 'queue.db'}", durability="relaxed")
    app.task(add, name="add", ignore_result=True)
    app.storage.migrate()
    yield app
    app.storage.close()


def add(*numbers: Any) -> int:
    return len(numbers)


def is_gate_free(app: LiteQ) -> bool:
    """Whether a place of its own at the gate gets its turn at once."""
    place = open_gate(app.storage.driver.path)  # type: ignore[attr-defined]
    try:
        return place.acquire(0.0)
    finally:
        place.leave()


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


# -- soft time limits ------------------------------------------------------------------------------------------------


def sends(app: LiteQ) -> None:
    app.tasks["add"].delay(1)


def tells(app: LiteQ) -> None:
    current_task.update_state(state="PROGRESS", meta={"n": 1})


def draws(app: LiteQ) -> None:
    one = app.tasks["add"].si(1)
    chord(group(one, one), chain(one, one)).apply_async()


def test_soft_limits_inside_the_storage_all_arrive_and_leave_nothing_behind(app: LiteQ) -> None:
    """Each limit reaches the task, whose handler can send; nobody holds the gate; no descriptor is left."""

    @app.task(bind=True, name="drill")
    def drill(self: Any, kind: str) -> str:
        call: Callable[[LiteQ], None] = globals()[kind]
        try:
            for _ in range(GIVE_UP):
                call(app)
        except SoftTimeLimitExceeded:
            assert is_gate_free(app)
            app.tasks["add"].delay(2)
            return "told"
        return "swallowed"

    executor = Executor(app, hostname="drill")
    worker = app.storage.register_worker(WorkerIdentity(new_id(), "drill", "here", "", 1, "1"))
    rng = random.Random(1)
    before = early = 0
    for n in range(LIMITS):
        kind = rng.choice(["sends", "sends", "tells", "draws"])
        drill.apply_async((kind,), soft_time_limit=rng.uniform(0.0005, 0.003), queue="drill")
        (lease,) = app.storage.claim(["drill"], worker=worker, limit=1, visibility_s=600)
        outcome, _ = executor.run(lease)
        if isinstance(outcome, Ack):
            assert decode(outcome.result or b"null") == "told"
        else:  # it came before the body's first line, or in its handler's way out
            assert isinstance(outcome, DeadLetter)
            assert decode_error(outcome.error).type == "SoftTimeLimitExceeded"
            early += 1
        app.storage.settle([(lease, outcome)])
        if n == LIMITS // 10:
            before = descriptors()
        if n % 100 == 0:
            app.control.purge()
    assert early < LIMITS / 4
    assert descriptors() <= before + 2, "each limit leaves a descriptor open"
    assert is_gate_free(app)


def test_a_limit_never_raises_inside_the_storage(app: LiteQ) -> None:
    """Nor anywhere below it: what it interrupted is the task's own."""
    from liteq.worker.pool.limits import SoftLimit

    task = app.tasks["add"]
    for n in range(min(LIMITS, 1_000)):
        try:
            with SoftLimit(0.0005 + n % 20 * 0.0001):
                while True:
                    task.delay(1)
        except SoftTimeLimitExceeded as exc:
            trace, files = exc.__traceback__, []
            while trace is not None:
                files.append(trace.tb_frame.f_code.co_filename)
                trace = trace.tb_next
            assert not [file for file in files if "/liteq/storage/" in file]


def test_a_limit_that_comes_in_a_receiver_a_destructor_or_a_collection_is_not_swallowed(app: LiteQ) -> None:
    """There an exception is logged, and the task would go on for ever."""
    from liteq import signals

    cleaned_up = []

    class Slow:
        def __del__(self) -> None:
            spin()
            cleaned_up.append(True)

    @app.task(bind=True, name="drill")
    def drill(self: Any, kind: str) -> str:
        try:
            if kind == "destructor":
                Slow()
            elif kind == "collection":
                gc.collect()
            else:
                app.tasks["add"].delay(1)
            spin()
        except SoftTimeLimitExceeded:
            return "told"
        return "swallowed"

    def spin(**_: Any) -> None:
        for _n in range(2_000_000):
            pass

    def collected(phase: str, _info: dict[str, int]) -> None:
        spin()

    signals.before_task_publish.connect(spin, weak=False)
    gc.callbacks.append(collected)
    executor = Executor(app, hostname="drill")
    worker = app.storage.register_worker(WorkerIdentity(new_id(), "drill", "here", "", 1, "1"))
    try:
        for kind in ("destructor", "collection", "receiver"):
            drill.apply_async((kind,), soft_time_limit=0.005, queue="drill")
            (lease,) = app.storage.claim(["drill"], worker=worker, limit=1, visibility_s=600)
            outcome, _ = executor.run(lease)
            assert isinstance(outcome, Ack), outcome
            assert decode(outcome.result or b"null") == "told", kind
        assert cleaned_up, "its destructor was left half way"
    finally:
        signals.before_task_publish.disconnect(spin)
        gc.callbacks.remove(collected)


# -- handlers that are not ours --------------------------------------------------------------------------------------


def interrupt(call: Callable[[], object], *, at: int) -> int:
    """Run `call`, raising Interrupt at its `at`-th step inside the storage; how many there were.

    The steps are those at which Python calls signals' handlers: when a function begins, and when one written in C has
    returned.
    """
    seen = 0

    def profile(frame: FrameType, event: str, _arg: object) -> None:
        nonlocal seen
        if event in ("call", "c_return") and "/liteq/storage/" in frame.f_code.co_filename:
            seen += 1
            if seen == at:
                raise Interrupt

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


@pytest.mark.parametrize("kind", ["sends", "draws"])
def test_an_interrupt_at_any_step_leaves_the_gate_open_and_the_handler_able_to_send(app: LiteQ, kind: str) -> None:
    call = globals()[kind]
    call(app)  # with everything open that stays open
    steps = interrupt(lambda: call(app), at=NEVER)
    assert steps > 30
    for at in range(1, steps + 1):
        try:
            taken = interrupt(lambda: call(app), at=at)
        except Interrupt:
            assert is_gate_free(app), f"at step {at} of {steps}"
            app.tasks["add"].delay(2)  # with the traceback still alive, and all that it holds
            assert not app.storage.driver._threads_inside(), f"at step {at} of {steps}"  # type: ignore[attr-defined]
        else:
            # A commit waits for the disk each tenth of a second, so a call may have fewer steps than the counted one.
            assert taken < at, f"the interrupt at step {at} of {taken} was swallowed"


def test_an_interrupt_while_waiting_for_the_gate_gives_the_place_up(
    app: LiteQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "PATIENCE_S", 60.0)  # else a second thread would wait for a second only
    path = app.storage.driver.path  # type: ignore[attr-defined]
    held, place = open_gate(path), open_gate(path)
    assert held.acquire(0.0)

    def raises(_signum: int, _frame: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, raises)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Interrupt):
            place.acquire(30.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    began = time.monotonic()
    assert not place.acquire(30.0)
    assert time.monotonic() - began < 25, "a second thread of this process waits in a queue that does not move"
    place.leave()
    held.leave()
    wait_for(lambda: not gate._left)  # the thread that was left behind has had its turn, and let go
    assert is_gate_free(app)
