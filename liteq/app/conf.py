"""`AppConf`, the settings of one app, and `ConfigSource`, the object that they are read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from liteq.settings import Conf, import_object, read_object

__all__ = ["AppConf", "ConfigSource"]


class ConfigSource:
    """The argument of `config_from_object`: read when the settings are."""

    def __init__(self, source: Any, namespace: str | None, *, silent: bool = False) -> None:
        self.source = source
        self.namespace = namespace
        self._silent = silent

    @property
    def prefix(self) -> str:
        """What stands before the names of settings in it."""
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
        """What the source itself holds under `name`. Raises KeyError where that is nothing."""
        source = import_object(self.source) if isinstance(self.source, str) else self.source
        if isinstance(source, Mapping):
            return source[name]
        try:
            return getattr(source, name)
        except AttributeError:
            raise KeyError(name) from None


class AppConf(Conf):
    """Settings that tell their app when one of them changes.

    A mapping or list inside a setting is to be replaced, not changed in place: the latter goes unnoticed.
    """

    __slots__ = ("_changed", "_source")

    _changed: Callable[[], object]
    _source: Callable[[], ConfigSource | None]

    def __init__(self, changed: Callable[[], object], source: Callable[[], ConfigSource | None]) -> None:
        object.__setattr__(self, "_changed", changed)
        object.__setattr__(self, "_source", source)
        super().__init__()

    def apply_given(self, values: Any) -> None:
        super().apply_given(values)
        self._changed()

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self._changed()

    def _elsewhere(self, name: str) -> Any:
        """With a namespace, as in Celery, code asks for names as the source has them, and for what is not of ours.

        `conf.CELERY_TASK_TIME_LIMIT` and `conf.TASK_TIME_LIMIT` are the setting; `conf.MEDIA_ROOT` is Django's.
        """
        source = self._source()
        if source is None or not source.prefix or name.startswith("_"):
            raise KeyError(name)
        short = name.removeprefix(source.prefix).lower()
        if name.isupper() and short in self.__dict__:
            return self.__dict__[short]
        return source.find(name)
