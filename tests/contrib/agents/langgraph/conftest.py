"""These need LangGraph: `tox -e agents`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ

from ....integration.runs import Worker, new_app

INSTALLED = importlib.util.find_spec("langgraph") is not None
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[Any]:
    from liteq_langgraph import LiteQSaver

    with LiteQSaver(f"sqlite:///{tmp_path}/graphs.db") as opened:
        yield opened


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = new_app(tmp_path)
    yield app
    app.close()


@pytest.fixture
def worker(app: LiteQ) -> Worker:
    return Worker(app)
