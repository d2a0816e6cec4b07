"""One app over one file, and one worker of it in a thread, for all tests of a chapter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from liteq import Celery
from liteq.testing import start_worker

WAIT_S = 60  # for one result, on a busy machine


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Celery]:
    """The chapter's app. No worker runs until a test asks for `worker` or `run`."""
    folder = tmp_path_factory.mktemp("guide")
    app = Celery("guide", broker=f"sqlite:///{folder}/tasks.db", durability="relaxed")
    app.set_default()
    yield app
    app.close()


@pytest.fixture
def fresh(tmp_path) -> Iterator[Celery]:
    """An app of the test's own: its settings may be changed."""
    app = Celery("fresh", broker=f"sqlite:///{tmp_path}/fresh.db", durability="relaxed", set_as_current=False)
    yield app
    app.close()


@pytest.fixture(scope="module")
def worker(app: Celery) -> Iterator[Any]:
    """A worker of the chapter's app, in a thread with four threads for tasks."""
    with start_worker(app, pool="threads", concurrency=4, hostname="guide@test") as worker:
        yield worker


@pytest.fixture(scope="module")
def add(app: Celery) -> Any:
    """The guide's favourite."""

    @app.task(name="guide.add")
    def add(x: Any, y: Any) -> Any:
        return x + y

    return add


@pytest.fixture(scope="module")
def fail(app: Celery) -> Any:
    @app.task(name="guide.fail")
    def fail(*_args: Any) -> None:
        raise KeyError("boom")

    return fail


@pytest.fixture
def run(worker: Any) -> Callable[..., Any]:
    """Send a signature, or a task with arguments, and wait for its result."""

    def run(what: Any, *args: Any, **kwargs: Any) -> Any:
        return what.delay(*args, **kwargs).get(timeout=WAIT_S)

    return run


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Wait until a condition holds; what it returned."""

    def eventually(condition: Callable[[], Any], within_s: float = WAIT_S) -> Any:
        until = time.monotonic() + within_s
        while not (found := condition()):
            assert time.monotonic() < until, "it did not become so"
            time.sleep(0.02)
        return found

    return eventually
