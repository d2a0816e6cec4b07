"""A transaction that another writer's has ended is run again by the verb itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq.exceptions import StorageConflict
from liteq.message import Batch, Message, new_id
from liteq.storage import interrupts
from liteq.storage.storage import Storage, open_storage


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(interrupts, "sleep", slept.append)
    return slept


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = open_storage(f"sqlite:///{tmp_path}/q.db")
    opened.migrate()
    yield opened
    opened.close()


def conflicting(times: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which is in another writer's way the first `times` times."""
    left = iter(range(times))

    def called(*args: Any, **kwargs: Any) -> Any:
        for _ in left:
            raise StorageConflict("deadlock detected")
        return function(*args, **kwargs)

    return called


def message() -> Message:
    return Message(id=new_id(), task="t", payload=b"[[],{}]")


def test_a_verb_is_run_again_after_a_conflict(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.driver, "write", conflicting(2, storage.driver.write))
    assert storage.cancel(["nobody"]) == []
    storage.enqueue_many([message()])
    assert len(storage.reader.counts()) == 1


def test_a_send_is_run_again_after_a_conflict(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.driver, "change", conflicting(3, storage.driver.change))
    sent = message()
    assert storage.enqueue(Batch([sent])) == [sent.id]
    assert storage.reader.find(sent.id) is not None


def test_conflicts_without_end_reach_the_caller(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr(storage.driver, "write", conflicting(100, storage.driver.write))
    with pytest.raises(StorageConflict):
        storage.cancel(["nobody"])
    assert len(pauses) == interrupts.AGAIN
    assert all(pause <= interrupts.PAUSE_S * 2**n for n, pause in enumerate(pauses))


def test_what_was_read_from_an_iterator_is_not_sent_as_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def messages() -> Iterable[Message]:
        yield message()

    monkeypatch.setattr(storage.driver, "write", conflicting(1, storage.driver.write))
    with pytest.raises(StorageConflict):
        storage.enqueue_many(messages())
