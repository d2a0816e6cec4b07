"""`config_from_object`: settings out of a module, an object or a mapping. Pure reading; `Conf` checks what was read."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Collection, Mapping
from typing import Any

from liteq.exceptions import ImproperlyConfigured
from liteq.settings.celery_names import NO_EFFECT, old_name
from liteq.settings.conf import KNOWN, canonical
from liteq.settings.table import SETTINGS

__all__ = ["ConfigSource", "import_object", "read_object", "refuse_mix"]

logger = logging.getLogger("liteq.settings")


class NoSuchModule(ImproperlyConfigured, ModuleNotFoundError):
    """Raised for a name of a module, or of something in one, that leads nowhere. Celery's is a ModuleNotFoundError."""


def read_object(obj: Any, namespace: str | None = None) -> dict[str, Any]:
    """The settings that `obj` holds, by their present names.

    `obj` is a mapping, any object with attributes, or the name of one: `"proj.config"`, `"proj.config:Production"`,
    `"django.conf:settings"`. With `namespace="CELERY"` only names that begin with `CELERY_` are read, without that
    prefix. Names that are no settings are kept, but not what a module merely imports or defines (modules, classes,
    functions). Raises ImproperlyConfigured when the name leads nowhere; an error inside the module is its own.
    """
    if isinstance(obj, str):
        obj = import_object(obj)
    names = list(obj) if isinstance(obj, Mapping) else [name for name in dir(obj) if not name.startswith("_")]
    found = _read_namespace(obj, names, namespace.rstrip("_") + "_") if namespace else _read_all(obj, names)
    if "TIME_ZONE" in names and found.get("timezone") is None:  # Django's, as Celery takes it
        found["timezone"] = _get(obj, "TIME_ZONE")
    return found


def _read_namespace(obj: Any, names: list[str], prefix: str) -> dict[str, Any]:
    found = {}
    for name in names:
        if not name.startswith(prefix):
            continue
        short = name[len(prefix) :].lower()
        # Celery too applies the old names without a namespace only: honouring one here would change a running app.
        if short not in KNOWN and canonical(name) != name:
            logger.warning("%s is an old name, without effect here: write %s", name, prefix + canonical(name).upper())
        found[short] = _get(obj, name)
    return found


def _read_all(obj: Any, names: list[str]) -> dict[str, Any]:
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for name in names:
        setting = canonical(name)
        known = setting in SETTINGS or setting in NO_EFFECT
        try:
            value = _get(obj, name)
        except Exception:
            if known:
                raise
            continue  # a lazy attribute of the user's that is not ours to evaluate
        if known or not _is_code(value):
            (new if setting == name else old)[setting] = value
    refuse_mix(old, new)
    return {**old, **new}  # a setting that stands there under both names: the present one wins


def refuse_mix(old: Collection[str], new: Collection[str]) -> None:
    """Raise ImproperlyConfigured, as Celery does, where some settings have names from before version 4 and others not.

    One that has both names may stay. `old` and `new` are settings by their present names; liteq's own count as neither.
    """
    ours = {name for name in new if name in SETTINGS and SETTINGS[name].celery is None}
    present = {name for name in new if name in KNOWN} - ours
    left = set(old) - present
    if not left or not present - set(old):
        return
    to_new = len(present) >= len(old)
    rename = sorted(left if to_new else present - set(old))
    pairs = [(old_name(name), name) if to_new else (name, old_name(name)) for name in rename]
    raise ImproperlyConfigured(
        "old and new names of settings cannot be mixed; rename "
        + ", ".join(f"{before} to {after}" for before, after in pairs)
    )


def _get(obj: Any, name: str) -> Any:
    return obj[name] if isinstance(obj, Mapping) else getattr(obj, name)


def _is_code(value: Any) -> bool:
    return inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value)


def import_object(path: str) -> Any:
    """The module, or the thing in a module, that `path` names: `pkg.mod`, `pkg.mod:attr`, `pkg.mod.attr`.

    Raises ImproperlyConfigured when there is none; an import error inside the module is raised as it is.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon and not _exists(module_name):
        module_name, _, attribute = module_name.rpartition(".")
    if not module_name or not _exists(module_name):
        raise NoSuchModule(f"there is no module {path.partition(':')[0]!r} to read settings from")
    found: Any = importlib.import_module(module_name)
    for part in filter(None, attribute.split(".")):
        if not hasattr(found, part):
            raise NoSuchModule(f"{module_name} has no {attribute!r} to read settings from")
        found = getattr(found, part)
    return found


def _exists(module_name: str) -> bool:
    """True when `module_name` can be imported as far as its own file; what that file imports is another matter."""
    try:
        importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        missing = exc.name or ""
        if module_name == missing or module_name.startswith(missing + "."):
            return False
        raise
    except ValueError:  # "" or "."
        return False
    return True


class ConfigSource:
    """The argument of `config_from_object`: read when the settings are."""

    def __init__(self, source: Any, namespace: str | None, *, silent: bool = False) -> None:
        self.source = source
        self.namespace = namespace
        self._silent = silent

    @property
    def prefix(self) -> str:
        """The beginning of the names of settings in it."""
        return f"{self.namespace.rstrip('_')}_" if self.namespace else ""

    def read(self) -> dict[str, Any]:
        """The settings that the source holds. Raises ImproperlyConfigured when it cannot be found, unless `silent`."""
        try:
            return read_object(self.source, self.namespace)
        except ImportError:  # NoSuchModule is one
            if not self._silent:
                raise
            return {}

    def find(self, name: str) -> Any:
        """The value that the source itself holds under `name`. Raises KeyError where there is none."""
        source = import_object(self.source) if isinstance(self.source, str) else self.source
        if isinstance(source, Mapping):
            return source[name]
        try:
            return getattr(source, name)
        except AttributeError:
            raise KeyError(name) from None
