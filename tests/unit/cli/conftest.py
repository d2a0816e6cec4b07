"""A project of a user's, and a way to call `liteq` in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from liteq.cli import main

SHOP = """
from liteq import LiteQ

app = LiteQ("shop", broker="sqlite:///shop.db")

@app.task
def add(x: int, y: int) -> int:
    return x + y

@app.task
def broken(order):
    raise ValueError(f"no such order: {order}")
"""


@dataclass
class Done:
    """The outcome of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder with the module `shop`, in which the test stands; what it imports is forgotten afterwards."""
    (tmp_path / "shop.py").write_text(SHOP)
    modules, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith("liteq"):
            del sys.modules[name]


@pytest.fixture
def liteq(project: Path) -> Callable[..., Done]:
    """`liteq("-A", "shop", "status")`: the command in this process."""

    def call(*args: str, **options: Any) -> Done:
        done = CliRunner().invoke(main, list(args), prog_name="liteq", **options)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    return call


@pytest.fixture
def work(project: Path) -> Callable[[], int]:
    """Runs what waits in the project's queue, in this process; how many messages."""

    def run() -> int:
        import shop

        from liteq.testing import drain

        return drain(shop.app)

    return run
