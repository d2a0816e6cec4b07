"""Programs of libraries that were written for Celery, unmodified: a sender and a prefork worker under the shim."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..programs import NOTE, noted_in, run_programs

SHOP = """
import json, os
from celery import Celery, chain, shared_task
app = Celery("shop", broker="sqlite:///queue.db")
"""


@pytest.fixture
def noted(tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The notes of the programs, of one kind, in order."""
    return partial(noted_in, tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Write the module `shop`, run code that sends, and a worker until nothing is unfinished."""
    under = {"python": ("-m", "liteq_celery"), "environment": {"LITEQ_CELERY_SHIM": "1"}}
    return lambda shop, sends: run_programs(tmp_path, SHOP + NOTE + shop, sends, **under)
