"""Fixtures for pytest, with the names of Celery's plugin. Opt in, in the top conftest.py:

    pytest_plugins = ("liteq.testing.plugin",)

Override `celery_config`, `celery_parameters`, `celery_includes`, `celery_worker_parameters` and `use_celery_app_trap`
to say how apps and workers are made. Each test's `celery_app` has a file of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from liteq import context
from liteq.app import LiteQ
from liteq.app.urls import is_of_other_broker
from liteq.settings import Conf, Source, canonical
from liteq.testing import modes
from liteq.testing.worker import start_worker
from liteq.worker import Worker

__all__ = [
    "celery_app",
    "celery_class_tasks",
    "celery_config",
    "celery_enable_logging",
    "celery_includes",
    "celery_parameters",
    "celery_session_app",
    "celery_session_worker",
    "celery_worker",
    "celery_worker_parameters",
    "celery_worker_pool",
    "depends_on_current_app",
    "use_celery_app_trap",
]


BROKER_URL = frozenset({"broker", "broker_url", "broker_read_url", "broker_write_url", "BROKER_URL"})


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the recordings of workflow tests anew."""
    parser.getgroup("liteq").addoption(
        "--liteq-record",
        action="store_true",
        help="execute the steps of tests with WorkflowTest(recording=F), and write F, instead of reading it",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known by which a test says what its app is made of, and see whether recordings are written."""
    modes.records = bool(config.getoption("--liteq-record", default=False))
    config.addinivalue_line("markers", "celery(**overrides): settings of the celery_app of this test")


# -- to be overridden ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def celery_config() -> dict[str, Any]:
    """Settings of the test apps."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> dict[str, Any]:
    """Arguments with which the test apps are made."""
    return {}


@pytest.fixture(scope="session")
def celery_includes() -> tuple[str, ...]:
    """Modules that a session's worker imports."""
    return ()


@pytest.fixture(scope="session")
def celery_worker_parameters() -> dict[str, Any]:
    """Arguments of `start_worker`."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """How test workers execute: "solo" or "threads"."""
    return "solo"


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """Celery's; the loggers of liteq are as the test run has set them up."""
    return False


@pytest.fixture(scope="session")
def celery_class_tasks() -> list[Any]:
    """Task classes to be registered with a session's app."""
    return []


@pytest.fixture(scope="session")
def use_celery_app_trap() -> bool:
    """Whether code that relies on the current app fails, unless its test asks for `depends_on_current_app`."""
    return False


# -- apps ------------------------------------------------------------------------------------------------------------


class _Trap:
    """Stands for the current app where there should be none."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(
            f"test depends on the current app ({name}): ask for `depends_on_current_app`, or pass the app"
        )


def _is_elsewhere(setting: str, value: Any) -> bool:
    """Whether it says that the queue lives in another broker, `memory://` say, as tests of Celery's apps do."""
    return setting in BROKER_URL and isinstance(value, str) and is_of_other_broker(value)


def _keep_to(app: LiteQ, url: str) -> None:
    """Have the queue of `app` at `url` where the environment names another one: that is no queue for tests."""

    def keep(source: Conf, **_: Any) -> None:
        if source.given("broker_url").source is Source.ENVIRONMENT:
            source.apply({"broker_url": url}, Source.COMMAND_LINE, "the fixtures")

    app.on_after_configure.connect(keep, weak=False)


@contextmanager
def _made(folder: Path, parameters: dict[str, Any], settings: dict[str, Any], *, trap: bool) -> Iterator[LiteQ]:
    """A new app over a file of its own, the current one in the block. Another broker's URL gives way to that."""
    mine = {"main": "celery.tests", "broker": f"sqlite:///{folder / 'queue.db'}", "set_as_current": False}
    made_of: dict[str, Any] = dict(mine)
    made_of |= {key: value for key, value in parameters.items() if not _is_elsewhere(key, value)}
    own = {key: value for key, value in settings.items() if not _is_elsewhere(key, value)}
    app = LiteQ(**made_of)
    app.conf.update(own)
    said = {canonical(key): value for key, value in {**made_of, **own}.items()}
    _keep_to(app, said.get("broker_url") or said["broker"])
    current: Any = _Trap() if trap else app
    before = context.swap_apps(current, current)
    try:
        yield app
    finally:
        context.swap_apps(*before)
        app.close()


@pytest.fixture
def celery_app(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    celery_config: dict[str, Any],
    celery_parameters: dict[str, Any],
    use_celery_app_trap: bool,
) -> Iterator[LiteQ]:
    """An app of the test's own. `@pytest.mark.celery(task_always_eager=True)` sets options for one test."""
    marker = request.node.get_closest_marker("celery")
    settings = {**celery_config, **(marker.kwargs if marker is not None else {})}
    with _made(tmp_path, celery_parameters, settings, trap=use_celery_app_trap) as app:
        yield app


@pytest.fixture(scope="session")
def celery_session_app(
    tmp_path_factory: pytest.TempPathFactory,
    celery_config: dict[str, Any],
    celery_parameters: dict[str, Any],
    celery_includes: tuple[str, ...],
    celery_class_tasks: list[Any],
    use_celery_app_trap: bool,
) -> Iterator[LiteQ]:
    """An app for all tests of the session."""
    folder = tmp_path_factory.mktemp("liteq")
    with _made(folder, celery_parameters, celery_config, trap=use_celery_app_trap) as app:
        app.conf.include = (*app.conf.include, *celery_includes)
        for task in celery_class_tasks:
            app.register_task(task)
        yield app


@pytest.fixture
def depends_on_current_app(celery_app: LiteQ) -> Iterator[None]:
    """For a test that uses the current app although `use_celery_app_trap` is on."""
    before = context.swap_apps(celery_app, celery_app)
    yield
    context.swap_apps(*before)


# -- workers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def celery_worker(
    celery_app: LiteQ,
    celery_includes: tuple[str, ...],
    celery_worker_pool: str,
    celery_worker_parameters: dict[str, Any],
) -> Iterator[Worker]:
    """A worker of `celery_app`, in a thread."""
    celery_app.conf.include = (*celery_app.conf.include, *celery_includes)
    with start_worker(celery_app, pool=celery_worker_pool, **celery_worker_parameters) as worker:
        yield worker


@pytest.fixture(scope="session")
def celery_session_worker(
    celery_session_app: LiteQ, celery_worker_pool: str, celery_worker_parameters: dict[str, Any]
) -> Iterator[Worker]:
    """A worker of `celery_session_app`, in a thread, for all tests of the session."""
    with start_worker(celery_session_app, pool=celery_worker_pool, **celery_worker_parameters) as worker:
        yield worker
