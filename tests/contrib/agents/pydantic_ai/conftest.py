"""These need pydantic-ai: `tox -e agents`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.testing import WorkflowTest

INSTALLED = importlib.util.find_spec("pydantic_ai") is not None
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]


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
