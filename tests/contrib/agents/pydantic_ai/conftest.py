"""These need pydantic-ai: `tox -e agents`."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.testing import WorkflowTest
from liteq.utils.coroutines import kept_loop

INSTALLED = importlib.util.find_spec("pydantic_ai") is not None
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]


@pytest.fixture(autouse=True)
def no_loop_is_left() -> None:
    """Have `Agent.run_sync` take this thread's loop: it makes one, and leaves it, where a test before ended its own.

    What is left is complained of when it is collected, in whatever test runs then.
    """
    asyncio.set_event_loop(kept_loop())


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    """An app over a file of its own."""
    app = LiteQ("agents", broker=f"sqlite:///{tmp_path}/queue.db", set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def bench(app: LiteQ) -> Iterator[WorkflowTest]:
    """Runs of that app, executed here; each wait is a replay."""
    with WorkflowTest(app) as bench:
        yield bench
