"""Fixtures of the tests that execute runs here, or post to a server. A file with another app or worker has its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ

from .receiver import Receiver, receiving
from .runs import Worker, new_app


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    """An app over a file, with a clock that is moved by hand."""
    with new_app(tmp_path) as app:
        yield app


@pytest.fixture
def worker(app: LiteQ) -> Worker:
    """A worker of that app, turned by hand."""
    return Worker(app)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that keeps what is posted to it."""
    with receiving() as receiver:
        yield receiver
