"""A plugin for pytest that lets Celery's own unit tests run over liteq, under the names of `liteq_celery`.

Names of Celery's that liteq does not have are stand-ins here, so that a module can be imported; a test that uses one
fails with NotThere. Helpers that only tests use are Celery's, out of its checkout (CELERY_CHECKOUT).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

import liteq_celery.shim  # noqa: F401 - from here on `celery` is liteq
from liteq_celery import finder
from liteq_celery.names import MODULES


class NotThere(Exception):
    """Raised for the use of a name that liteq does not have."""


class Missing:
    """Stands for such a name."""

    def __init__(self, name: str) -> None:
        self.__dict__["_missing"] = name

    def __getattr__(self, name: str) -> Missing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self._missing}.{name}")

    def _used(self, *_args: Any, **_options: Any) -> NoReturn:
        raise NotThere(self._missing)

    __call__ = __instancecheck__ = __subclasscheck__ = __iter__ = __getitem__ = __enter__ = _used
    __mul__ = __rmul__ = __add__ = _used

    def __exit__(self, *_: object) -> None:
        """Needed beside `__enter__`."""

    def __mro_entries__(self, _bases: Any) -> tuple[()]:
        return ()


class MissingModule(ModuleType):
    """Stands for a module that liteq does not have."""

    def __getattr__(self, name: str) -> Missing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self.__name__}.{name}")


class MissingFinder(MetaPathFinder, Loader):
    """Finds every module below Celery's names that `MODULES` has not."""

    def find_spec(self, fullname: str, *_where: Any) -> ModuleSpec | None:
        ours = fullname.partition(".")[0] in {*finder.ROOTS, "vine"}
        return ModuleSpec(fullname, self, is_package=True) if ours and fullname not in MODULES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return MissingModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute."""


def stand_in(module: str, **names: Any) -> None:
    """Give `module`, which is made where it is not there, these names."""
    parent, _, short = module.rpartition(".")
    found = importlib.import_module(module)
    found.__dict__.update(names)
    importlib.import_module(parent).__dict__[short] = found


def install() -> None:
    """Make importable what the tests, and their conftest, import."""
    sys.meta_path.insert(0, MissingFinder())
    found = finder.AliasModule.__getattr__

    def getattr_or_missing(module: finder.AliasModule, name: str) -> Any:
        try:
            return found(module, name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return Missing(f"{module.__name__}.{name}")

    finder.AliasModule.__getattr__ = getattr_or_missing  # type: ignore[method-assign]
    for root in ("celery", "kombu", "billiard"):  # before a checkout's folder of that name
        importlib.import_module(root)
    stand_in("celery.backends.cache", CacheBackend=type("CacheBackend", (), {}), DummyClient=type("Dummy", (), {}))
    stand_in("kombu.transport.memory", Channel=type("Channel", (), {"queues": {}}))  # emptied after each test
    stand_in("celery.contrib.testing.app", Trap=type("Trap", (), {}))
    stand_in("celery.worker.state", should_stop=None, should_terminate=None)
    stand_in("celery.utils.log", LoggingProxy=type("LoggingProxy", (), {}))
    stand_in("celery._state", task_join_will_block=lambda: False, _set_task_join_will_block=lambda _value: None)
    stand_in("celery.result", task_join_will_block=lambda: False)
    mocks = "celery.contrib.testing.mocks"
    spec = importlib.util.spec_from_file_location(
        mocks, Path(os.environ["CELERY_CHECKOUT"], *mocks.split(".")).with_suffix(".py")
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[mocks] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


install()


@pytest.fixture
def cli_runner() -> Any:
    """That of the plugin pytest-click."""
    from click.testing import CliRunner

    return CliRunner()


@pytest.fixture
def isolated_cli_runner(cli_runner: Any) -> Iterator[Any]:
    """As above."""
    with cli_runner.isolated_filesystem():
        yield cli_runner
