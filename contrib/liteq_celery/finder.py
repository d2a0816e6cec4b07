"""The finder that answers for `celery`, `kombu` and `billiard` where the real ones are not installed."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from liteq.exceptions import CeleryWarning
from liteq_celery.absent import why_not
from liteq_celery.names import MODULES, VERSIONS, Alias

__all__ = ["ROOTS", "AliasModule", "ShimFinder", "install", "uninstall"]

LOGGERS = ("", ".beat", ".redirected", ".task", ".worker")  # that both have, below "celery" and below "liteq"
ROOTS = frozenset(name for name in MODULES if "." not in name)


class AliasModule(ModuleType):
    """A module of Celery's whose names are liteq's own objects, each looked up when it is first asked for.

    It is imported as `celery.something`, or, without the shim, as `liteq.something` (`deep_paths.py`).
    """

    @property
    def _alias(self) -> Alias:
        return MODULES[theirs(self.__name__)]

    def __getattr__(self, name: str) -> Any:
        here, alias = self.__name__, self._alias
        if name == "__all__":
            return alias.public_names()
        if (path := alias.path_of(name)) is not None:
            found = resolve(path)
            if not alias.is_replaceable:
                self.__dict__[name] = found
            return found
        if theirs(f"{here}.{name}") in MODULES:
            return importlib.import_module(f"{here}.{name}")
        raise AttributeError(f"module {here!r} has no attribute {name!r}" + _and_why(f"{here}.{name}", name))

    def __setattr__(self, name: str, value: Any) -> None:
        # The import of a submodule ends with an attribute of its parent; kombu.utils.uuid is also a function there.
        if isinstance(value, AliasModule) and name in self._alias.names:
            return
        alias = self._alias
        if alias.is_replaceable and alias.path_of(name) == f"{alias.whole}:{name}":
            whole = importlib.import_module(str(alias.whole))
            self.__dict__.setdefault("_replaced", {}).setdefault(name, []).append(getattr(whole, name))
            setattr(whole, name, value)
            return
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        """Put back what was replaced last: so end patches of tests, as the module had the name by `__getattr__`."""
        if replaced := self.__dict__.get("_replaced", {}).get(name):
            setattr(importlib.import_module(str(self._alias.whole)), name, replaced.pop())
            return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._alias.public_names()})


class AliasDistribution(Distribution):
    """The metadata of a package that liteq stands for: its name and version."""

    def __init__(self, name: str, version: str) -> None:
        self._metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: liteq, under this name\n"

    def read_text(self, filename: str) -> str | None:
        return self._metadata if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Path:
        """Raises FileNotFoundError: there are no files."""
        raise FileNotFoundError(f"liteq answers under this name: there is no {path}")


class ShimFinder(MetaPathFinder, Loader):
    """Finds, and makes, the modules of `MODULES`. An installed package goes before."""

    def find_spec(self, fullname: str, *_where: Any) -> ModuleSpec | None:
        """Raises ImportError, which names liteq's replacement, for a name below our packages that is not mapped."""
        root = fullname.partition(".")[0]
        if root not in ROOTS:
            return None
        if root == fullname:
            if self.installed(root) is not None:
                return None
        elif not isinstance(sys.modules.get(root), AliasModule):
            return None
        if fullname not in MODULES:
            # No ModuleNotFoundError: `from celery.beat import Scheduler` would swallow that, and the sentence with it.
            raise ImportError(why_not(fullname), name=fullname)
        return ModuleSpec(fullname, self, is_package=True)  # so that modules missing below it are asked for here

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        alias: Alias = MODULES[theirs(spec.name)]
        return AliasModule(spec.name, f"liteq, under the name {spec.name}: {alias.whole or 'liteq_celery.names'}.")

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute: names are looked up when they are asked for."""

    def find_distributions(self, context: DistributionFinder.Context) -> Iterator[Distribution]:
        """The packages that liteq stands for, for `importlib.metadata`: libraries look for a version that they know."""
        for name, version in VERSIONS.items():
            if context.name in (None, name) and self.installed(name) is None:
                yield AliasDistribution(name, version)

    def installed(self, root: str) -> str | None:
        """Where the real package `root` is; None where there is none.

        A folder without `__init__.py` that bears its name (a project's `celery/` with start scripts) is no package.
        """
        if (there := sys.modules.get(root)) is not None:
            return None if isinstance(there, AliasModule) else str(getattr(there, "__file__", root))
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(root, None)
            if spec is not None and spec.loader is not None:
                return str(spec.origin or root)
        return None


def install() -> ShimFinder:
    """Have `import celery` mean liteq from now on. Warns, and leaves it alone, where Celery itself is installed."""
    for there in sys.meta_path:
        if isinstance(there, ShimFinder):
            return there
    finder = ShimFinder()
    sys.meta_path.insert(0, finder)  # before a project's folder of the same name
    if (origin := finder.installed("celery")) is not None:
        warnings.warn(
            f"liteq_celery: Celery itself is installed ({origin}) and is what `import celery` means; uninstall it "
            "(and kombu, billiard), or change the import lines to liteq",
            CeleryWarning,
            stacklevel=3,
        )
    else:
        # A project configures "celery", "celery.task", ...: they are to rule liteq's lines as they ruled Celery's.
        for name in LOGGERS:
            logging.getLogger(f"liteq{name}").parent = logging.getLogger(f"celery{name}")
    return finder


def uninstall() -> None:
    """Undo `install()`, for tests: the modules are forgotten; names imported from them stay."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, ShimFinder)]
    for name in [
        name for name, module in sys.modules.items() if isinstance(module, AliasModule) and name.split(".")[0] in ROOTS
    ]:
        del sys.modules[name]
    for name in LOGGERS:
        logging.getLogger(f"liteq{name}").parent = logging.getLogger("liteq") if name else logging.root


def theirs(name: str) -> str:
    """Celery's name of the module `name`: `celery.contrib` for `liteq.contrib`."""
    root, dot, rest = name.partition(".")
    return f"celery{dot}{rest}" if root == "liteq" else name


def resolve(path: str) -> Any:
    """The object that `module:attribute` names."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _and_why(fullname: str, name: str) -> str:
    return "" if name.startswith("_") else f": {why_not(fullname)}"
