"""Acknowledgements that a thread of the worker stores, as it does where the storage lets several write at once."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liteq.exceptions import StorageUnavailable
from liteq.message import Ack, Lease, Message, RetryAt, WorkerIdentity, new_id
from liteq.states import State
from liteq.storage.storage import Storage, open_storage
from liteq.worker.settling import aside
from liteq.worker.settling.aside import WORTH_IT, Aside

from .worker_process import wait_for


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """A file, which is treated as an engine that lets several write: a file's connections take turns by themselves."""
    opened = open_storage(f"sqlite:///{tmp_path / 'queue.db'}")
    opened.migrate()
    opened.driver.one_writer = False
    yield opened
    opened.close()


class Counted:
    """The turns that a worker's counts were told of."""

    def __init__(self) -> None:
        self.turns: list[tuple[int, int]] = []

    def turned(self, turn: Any, outcomes: Any, *, wrote: bool, since: float) -> None:
        assert not wrote
        assert since == 1.0
        self.turns.append((len(outcomes), len(turn.lost)))


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def one(storage: Storage, counted: Counted) -> Iterator[Aside]:
    made = Aside(storage, counted, SimpleNamespace(enabled=False))  # type: ignore[arg-type]
    yield made
    made.close()


def leases_of(storage: Storage, n: int) -> list[Lease]:
    storage.enqueue_many([Message(id=new_id(), task="t", payload=b"[[],{}]") for _ in range(n)])
    worker = storage.register_worker(WorkerIdentity(new_id(), "a", "h", "b", 1, "1"))
    return storage.claim(["celery"], worker=worker, limit=n, visibility_s=60)


def acks(leases: list[Lease]) -> list[Any]:
    return [(lease, Ack(b"1", (0, 0.0))) for lease in leases]


def states(storage: Storage) -> dict[State, int]:
    return {count.state: count.n for count in storage.reader.counts()}


def ended(one: Aside) -> tuple[int, list[Any]]:
    assert select.select([one.fileno()], [], [], 60)[0], "the batch has not ended"
    return one.stored()


def test_plain_acknowledgements_are_stored_while_the_loop_goes_on(
    storage: Storage, one: Aside, counted: Counted
) -> None:
    leases = leases_of(storage, WORTH_IT + 1)
    retried = (leases[0], RetryAt(2**41, None))
    assert one.take([retried, *acks(leases[1:])], 1.0) == [retried]
    assert one.leases() == leases[1:], "a worker that leaves waits for these"
    assert ended(one) == (WORTH_IT, [])
    assert one.leases() == []
    assert states(storage)[State.SUCCEEDED] == WORTH_IT
    assert counted.turns == [(WORTH_IT, 0)]


def test_a_lost_lease_is_told_and_costs_no_other(
    storage: Storage, one: Aside, counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    leases = leases_of(storage, WORTH_IT)
    storage.settle(acks(leases[:1]))
    assert one.take(acks(leases), 1.0) == []
    assert ended(one) == (WORTH_IT, [])
    assert counted.turns == [(WORTH_IT, 1)]
    assert "1 leases were lost" in caplog.text


def test_the_loop_keeps_what_is_not_worth_it_and_what_comes_meanwhile(storage: Storage, one: Aside) -> None:
    leases = leases_of(storage, 2 * WORTH_IT)
    few = acks(leases[: WORTH_IT - 1])
    assert one.take(few, 1.0) == few
    assert one.take(acks(leases[:WORTH_IT]), 1.0) == []
    later = acks(leases[WORTH_IT:])
    assert one.take(later, 1.0) == later, "one batch is on its way"
    ended(one)
    assert one.take(later, 1.0) == []
    ended(one)


def test_where_events_are_written_they_go_with_their_outcomes(storage: Storage, counted: Counted) -> None:
    writing = Aside(storage, counted, SimpleNamespace(enabled=True))  # type: ignore[arg-type]
    outcomes = acks(leases_of(storage, WORTH_IT))
    assert writing.take(outcomes, 1.0) == outcomes
    writing.close()


def test_a_refused_batch_is_the_loops_again_and_the_next_one_too(
    storage: Storage, one: Aside, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = acks(leases_of(storage, WORTH_IT))

    def away(*_: object, **__: object) -> None:
        raise StorageUnavailable("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "turn", away)
        assert one.take(outcomes, 1.0) == []
        assert ended(one) == (0, outcomes)
    assert counted.turns == []
    assert one.take(outcomes, 1.0) == outcomes, "the loop is to meet what is wrong, once"
    monkeypatch.setattr(one, "_rests_until", 0.0)
    assert one.take(outcomes, 1.0) == []
    assert ended(one) == (WORTH_IT, [])


def test_without_a_thread_the_loop_stores_them(storage: Storage, one: Aside, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread:
        def __init__(self, **_: object) -> None: ...

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    outcomes = acks(leases_of(storage, WORTH_IT))
    monkeypatch.setattr(aside.threading, "Thread", NoThread)
    assert one.take(outcomes, 1.0) == outcomes


def test_a_file_has_one_writer_and_so_no_thread(tmp_path: Path, counted: Counted) -> None:
    opened = open_storage(f"sqlite:///{tmp_path / 'queue.db'}")
    one = Aside(opened, counted, None)  # type: ignore[arg-type]
    outcomes = [(object(), Ack(b"1", None))] * WORTH_IT
    assert one.take(outcomes, 1.0) is outcomes  # type: ignore[arg-type,comparison-overlap]
    assert one.fileno() == -1
    one.close()
    opened.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_lets_go_of_it_alone(storage: Storage, one: Aside) -> None:
    leases = leases_of(storage, 2 * WORTH_IT)
    one.take(acks(leases[:WORTH_IT]), 1.0)
    ended(one)
    pid = os.fork()
    if pid == 0:
        try:
            one.let_go()
            os._exit(0 if one.fileno() == -1 else 1)
        finally:
            os._exit(2)
    assert wait_for(lambda: os.waitpid(pid, os.WNOHANG)[0]) == pid
    assert one.take(acks(leases[WORTH_IT:]), 1.0) == []
    assert ended(one) == (WORTH_IT, [])
