"""Fixtures of the tests that execute runs here, or post to a server. A file with another app or worker has its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ

from .declining import Did, declining
from .engines import fresh
from .receiver import Receiver, receiving
from .runs import Worker, new_app


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty queue: a file's; where a test is marked `on_both_engines`, a PostgreSQL server's too."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path}/queue.db"
    return fresh(request.getfixturevalue("postgresql_server"))


@pytest.fixture
def app(tmp_path: Path, broker: str) -> Iterator[LiteQ]:
    """An app over a queue, with a clock that is moved by hand."""
    with new_app(tmp_path, broker=broker) as app:
        yield app


@pytest.fixture
def worker(app: LiteQ) -> Worker:
    """A worker of that app, turned by hand."""
    return Worker(app)


@pytest.fixture
def did(app: LiteQ) -> Did:
    """A list of what is done by the app's steps "charge", which fails until `did.well` is set, and "notify"."""
    return declining(app)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that keeps what is posted to it."""
    with receiving() as receiver:
        yield receiver
