"""The conformance suite runs once per storage engine: what it says must hold for each of them.

A further engine is added by one more element of DRIVERS; `LITEQ_TEST_URL` runs the suite against a URL alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liteq.message import Batch, Lease, Message, WorkerIdentity, new_id
from liteq.storage.storage import Storage, open_storage
from liteq.testing import FakeClock

DRIVERS = ["apsw", "stdlib"]
PAYLOAD = b"[[],{}]"


def url_of(driver: str, folder: Path) -> str:
    return os.environ.get("LITEQ_TEST_URL") or f"sqlite:///{folder}/queue.db?driver={driver}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=DRIVERS)
def storage(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Storage]:
    opened = open_storage(url_of(request.param, tmp_path), clock=clock)
    opened.migrate()
    yield opened
    opened.close()


Send = Callable[..., str]


@pytest.fixture
def send(storage: Storage) -> Send:
    """Enqueue one message of task "t"; keyword arguments are those of Message. Its id."""

    def send(**fields: object) -> str:
        message = Message(**{"id": new_id(), "task": "t", "payload": PAYLOAD, **fields})  # type: ignore[arg-type]
        return storage.enqueue(Batch([message]))[0]

    return send


class FakeWorker:
    """A worker without processes: it claims and settles by hand."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage = storage
        self.number = storage.register_worker(WorkerIdentity(new_id(), name, "host", "boot", 1, "1"))

    def claim(self, limit: int = 10, queue: str = "celery", visibility_s: float = 60) -> list[Lease]:
        return self.storage.claim([queue], worker=self.number, limit=limit, visibility_s=visibility_s)

    def claim_one(self) -> Lease:
        (lease,) = self.claim(1)
        return lease


@pytest.fixture
def worker(storage: Storage) -> FakeWorker:
    return FakeWorker(storage, "a")


@pytest.fixture
def other(storage: Storage) -> FakeWorker:
    return FakeWorker(storage, "b")
