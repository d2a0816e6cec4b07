"""These need the OpenAI Agents SDK: `tox -e agents`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

INSTALLED = importlib.util.find_spec("agents") is not None
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    """An app over a queue, with a clock that is moved by hand."""
    from tests.integration.runs import new_app

    with new_app(tmp_path) as app:
        yield app


@pytest.fixture
def worker(app: Any) -> Any:
    """A worker of that app, turned by hand."""
    from tests.integration.runs import Worker

    return Worker(app)
