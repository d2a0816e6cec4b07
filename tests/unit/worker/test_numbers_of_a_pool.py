"""Numbers with which a worker is started: with those that no pool can keep, it would stand and do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.exceptions import ImproperlyConfigured
from liteq.worker import Worker


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    with LiteQ("numbers", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False) as app:
        yield app


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", -1),
        ("coroutines", -1),
        ("max_tasks_per_child", -1),
        ("max_memory_per_child", -1),
        ("time_limit", -1),
        ("soft_time_limit", "5x"),
    ],
)
def test_a_number_that_cannot_be_kept_is_refused_by_its_name(app: LiteQ, name: str, value: Any) -> None:
    worker = Worker(app, pool="threads", **{name: value})
    with pytest.raises(ImproperlyConfigured, match=name):
        worker.run()
    assert app.storage.reader.workers() == []


@pytest.mark.parametrize(("given", "bounds"), [((10, 3), (10, 3)), ((3, 10), (10, 3)), ((4, 0), (4, 1))])
def test_autoscale_takes_its_two_numbers_in_either_order(app: LiteQ, given: Any, bounds: Any) -> None:
    """As the command line does."""
    worker = Worker(app, autoscale=given)
    worker.leave()
    assert (worker._autoscale, worker.concurrency) == (bounds, bounds[1])


@pytest.mark.parametrize("given", [(0, 0), (4, -1)])
def test_autoscale_between_what_cannot_be_is_refused(app: LiteQ, given: Any) -> None:
    with pytest.raises(ValueError, match="autoscale"):
        Worker(app, autoscale=given)


def test_children_are_not_replaced_where_the_number_of_their_tasks_is_0(app: LiteQ) -> None:
    """As without one: a child of the asyncio pool took nothing."""
    app.conf.update(worker_max_tasks_per_child=0, worker_max_memory_per_child=0)
    worker = Worker(app)
    worker.leave()
    assert (worker.max_tasks, worker._max_memory_kib) == (None, None)
