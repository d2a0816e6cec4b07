"""Commands of remote control with values that would do harm: they are refused, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liteq import LiteQ
from liteq.worker.control.panel import COMMANDS


class Pool:
    name, size = "prefork", 4

    def renew(self) -> None: ...

    def resize(self, size: int) -> None:
        self.size = size


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Any]:
    with LiteQ("commands", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False) as app:

        @app.task(name="add", time_limit=60, soft_time_limit=50)
        def add() -> None: ...

        worker = SimpleNamespace(start_method="fork", running=SimpleNamespace(autoscaler=None))
        yield SimpleNamespace(app=app, worker=worker, pool=Pool(), consumer=SimpleNamespace(look=lambda: None))


@pytest.mark.parametrize(("hard", "soft"), [("5x", None), (-1, None), (None, -1), (5, 10), ([], None)])
def test_limits_that_cannot_be_kept_are_refused(state: Any, hard: Any, soft: Any) -> None:
    """Each call of the task would be a dead letter."""
    assert "error" in COMMANDS["time_limit"](state, "add", hard=hard, soft=soft)
    assert (state.app.tasks["add"].time_limit, state.app.tasks["add"].soft_time_limit) == (60, 50)


def test_limits_are_set(state: Any) -> None:
    assert "ok" in COMMANDS["time_limit"](state, "add", hard="5m", soft=10)
    assert (state.app.tasks["add"].time_limit, state.app.tasks["add"].soft_time_limit) == (300, 10)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_limits_do_not_reach_processes_that_import_the_app_themselves(state: Any, method: str) -> None:
    state.worker.start_method = method
    assert "from the code" in COMMANDS["time_limit"](state, "add", hard=5)["error"]
    assert state.app.tasks["add"].time_limit == 60
    state.pool.name = "threads"  # it has no process of its own
    assert "ok" in COMMANDS["time_limit"](state, "add", hard=5)


@pytest.mark.parametrize("command", ["pool_grow", "pool_shrink"])
@pytest.mark.parametrize("n", [0, -5])
def test_a_pool_grows_and_shrinks_by_one_at_least(state: Any, command: str, n: int) -> None:
    """Grown by -5 it would have no executor left."""
    assert "from 1 up" in COMMANDS[command](state, n=n)["error"]
    assert state.pool.size == 4


@pytest.mark.parametrize(("command", "size"), [("pool_grow", 6), ("pool_shrink", 2)])
def test_a_pool_grows_and_shrinks(state: Any, command: str, size: int) -> None:
    assert "ok" in COMMANDS[command](state, n=2)
    assert state.pool.size == size
