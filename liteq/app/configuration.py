"""An app's settings: gathered when the first of them is read, so that an app can be made before its settings can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from liteq.settings import Conf, Given, read_object, sources

__all__ = ["AppConf", "ConfigSource", "PendingConf"]


class AppConf(Conf):
    """Settings that tell their app when one of them changes.

    A mapping or list inside a setting is to be replaced, not changed in place: the latter goes unnoticed.
    """

    __slots__ = ("_changed",)

    _changed: Callable[[], object]

    def __init__(self, changed: Callable[[], object]) -> None:
        object.__setattr__(self, "_changed", changed)
        super().__init__()

    def apply_given(self, values: Any) -> None:
        super().apply_given(values)
        self._changed()

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self._changed()


class ConfigSource:
    """What `config_from_object` was given: read when the settings are."""

    def __init__(self, source: Any, namespace: str | None) -> None:
        self.source = source
        self.namespace = namespace

    def apply_to(self, conf: Conf) -> None:
        """Set what the source holds. Raises ImproperlyConfigured when it cannot be found, or holds a bad value."""
        conf.apply(read_object(self.source, self.namespace), origin=str(self.source)[:80])


def outside_sources() -> dict[str, Given]:
    """Files in the working directory and the environment."""
    return sources.load()


class PendingConf(MutableMapping[str, Any]):
    """Stands for the settings until one is read: what is written is noted, a read makes the app gather them.

    Whoever still holds it afterwards gets at the settings themselves.
    """

    __slots__ = ("_gathered", "_load", "_noted")

    def __init__(self, load: Callable[[], Conf], gathered: Callable[[], Conf | None], noted: dict[str, Any]) -> None:
        object.__setattr__(self, "_load", load)
        object.__setattr__(self, "_gathered", gathered)
        object.__setattr__(self, "_noted", noted)

    def _target(self) -> MutableMapping[str, Any]:
        """Where to write."""
        conf: Conf | None = self._gathered()
        return self._noted if conf is None else conf

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._target()[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._load()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._target()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._load()[name]

    def update(self, other: Any = (), /, **more: Any) -> None:
        self._target().update(other, **more)

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())
