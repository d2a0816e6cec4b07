"""A worker with --commands for the flows of one module, and one for a test that kills it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import Flows


def _made(folder: Path) -> Iterator[Flows]:
    found = Flows(folder)
    try:
        yield found
    finally:
        found.stop()
        found.app.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    """Flows with a worker that lives as long as the module."""
    for one in _made(tmp_path_factory.mktemp("shared")):
        one.worker()
        yield one


@pytest.fixture
def flows(tmp_path: Path) -> Iterator[Flows]:
    """Flows without a worker."""
    yield from _made(tmp_path)
