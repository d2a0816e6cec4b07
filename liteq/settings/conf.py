"""`app.conf`: the settings as they stand, and their origins."""

from __future__ import annotations

import copy
import logging
import re
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from enum import IntEnum
from typing import Any, Final

from liteq.settings.celery_names import NO_EFFECT, new_name, unused_default
from liteq.settings.schemes import HIDDEN, without_password
from liteq.settings.table import SETTINGS
from liteq.utils.misspelt import nearest
from liteq.utils.records import NamedTuple

__all__ = ["Conf", "Given", "Source", "canonical", "closest_setting"]

logger = logging.getLogger("liteq.settings")

KNOWN = frozenset(SETTINGS) | NO_EFFECT
_FROM_OLD = new_name(frozenset(name for name, row in SETTINGS.items() if row.celery) | NO_EFFECT)
# Celery's words, anywhere in a name; and two of liteq's own settings, as an address may hold a secret.
SECRET: Final = re.compile("api|token|key|secret|pass|signature|database|alert_to|alert_smtp", re.IGNORECASE)
# The keys of these are names of tasks, queues and entries: `api.send` is no secret.
BY_NAME: Final = frozenset({"beat_schedule", "task_annotations", "task_queues", "task_routes"})


class Source(IntEnum):
    """Where a value came from, by rising priority.

    The environment beats the app's code: an operator can change how an app runs without changing the app.
    """

    DEFAULT = 0
    FILE = 1  # liteq.ini, [tool.liteq] of pyproject.toml
    MODULE = 2  # liteq_config.py
    APP = 3
    ENVIRONMENT = 4
    COMMAND_LINE = 5


class Given(NamedTuple):
    """A value that somebody set. `origin` is its place in words: `LITEQ_DURABILITY`, `liteq.ini`, "the app"."""

    value: Any
    source: Source
    origin: str


def canonical(name: str) -> str:
    """Celery's present name for `name`: `CELERYD_CONCURRENCY` is `worker_concurrency`. Unknown names are unchanged."""
    return _FROM_OLD.get(name, name)


def closest_setting(name: str, cutoff: float = 0.6) -> str | None:
    """The setting whose name looks most like `name`, if any does."""
    return nearest(name, KNOWN, cutoff)


class Conf(MutableMapping[str, Any]):
    """The settings, as attributes and as a mapping. Any thread may read and write.

    Names are those of `SETTINGS`, Celery's older ones, and any other that the app's users want to keep here. Setting
    one raises ImproperlyConfigured for a bad value; a value whose source is outranked (see `Source`) is noted and has
    no effect. Deleting one brings its default back. A setting without effect here reads Celery's default; it is listed
    only where somebody set it.
    """

    # The values are the instance's own __dict__: `conf.task_serializer` is an attribute like any other, as fast as one.
    __slots__ = ("__dict__", "_given", "_lock", "_warned")

    _given: dict[str, Given]
    _lock: threading.RLock
    _warned: set[str]

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        for slot, start in (("_given", {}), ("_lock", threading.RLock()), ("_warned", set())):
            object.__setattr__(self, slot, start)
        self.__dict__.update({name: copy.copy(row.default) for name, row in SETTINGS.items()})
        self.apply(values or {})

    # -- write -------------------------------------------------------------------------------------------------------

    def apply(self, values: Mapping[str, Any], source: Source = Source.APP, origin: str = "the app") -> None:
        """Set all of `values`, or none when one of them is bad."""
        self.apply_given({canonical(name): Given(value, source, origin) for name, value in values.items()})

    def add_defaults(self, defaults: Any) -> None:
        """Set values that count where nothing else says otherwise: a mapping, or a function that returns one."""
        self.apply(defaults() if callable(defaults) else defaults, Source.DEFAULT, "the app's defaults")

    def apply_given(self, values: Mapping[str, Given]) -> None:
        """Set values that know where they came from, as `settings.sources.load` returns them."""
        checked = {}
        for name, given in values.items():
            row = SETTINGS.get(name)
            checked[name] = given._replace(value=row.check(given.value)) if row else given
        checked |= _from_transport_options(checked)
        if "result_failure_expires" in checked and "dead_expires" not in checked:
            checked["dead_expires"] = checked["result_failure_expires"]
        with self._lock:
            self._take(checked)
        self._warn(checked)

    def _take(self, values: Mapping[str, Given]) -> None:
        for name, given in values.items():
            before = self._given.get(name)
            if before is not None and before.source > given.source:
                logger.info("%s is set by %s; the value of %s is not used", name, before.origin, given.origin)
                continue
            self._given[name] = given
            self.__dict__[name] = given.value

    def _warn(self, values: Mapping[str, Given]) -> None:
        idle = sorted(name for name in values if name in NO_EFFECT and name not in self._warned)
        if idle:
            logger.warning("accepted for Celery's sake, without effect in liteq: %s", ", ".join(idle))
        for name in values:
            if name not in KNOWN and name not in self._warned and (near := closest_setting(name, cutoff=0.85)):
                logger.warning("%r is not a setting of liteq; did you mean %r?", name, near)
        self._warned.update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        self.apply({name: value})

    def __setitem__(self, name: str, value: Any) -> None:
        self.apply({name: value})

    def update(self, other: Any = (), /, **more: Any) -> None:
        """As dict.update; all of the values, or none when one of them is bad."""
        self.apply({**dict(other), **more})

    def __delitem__(self, name: str) -> None:
        name = canonical(name)
        with self._lock:
            if name in self.__dict__ or name not in NO_EFFECT:  # whose defaults stand nowhere
                del self.__dict__[name]
            self._given.pop(name, None)
            if name in SETTINGS:
                self.__dict__[name] = copy.copy(SETTINGS[name].default)

    def clear(self) -> None:
        """Bring every default back, and drop names that are no settings."""
        for name in list(self):
            del self[name]

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    # -- read --------------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:  # only for what is not in __dict__
        try:
            return self[name]
        except KeyError:
            pass
        near = closest_setting(name) if not name.startswith("_") else None
        hint = f"; did you mean {near!r}?" if near else ""
        raise AttributeError(f"there is no setting {name!r}{hint}")

    def __getitem__(self, name: str) -> Any:
        try:
            return self.__dict__[name if name in self.__dict__ else canonical(name)]
        except KeyError:
            pass
        if (new := canonical(name)) in NO_EFFECT:
            return unused_default(new)
        return self._elsewhere(name)

    def _elsewhere(self, name: str) -> Any:
        """The value of a name that is not among the settings. Raises KeyError."""
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        try:
            self[name]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.__dict__))

    def __len__(self) -> int:
        return len(self.__dict__)

    def __repr__(self) -> str:
        return f"<Conf {self.table()}>"

    def given(self, name: str) -> Given:
        """The value of `name` and where it came from. Raises KeyError."""
        name = canonical(name)
        with self._lock:
            return self._given.get(name) or Given(self[name], Source.DEFAULT, "default")

    def value_set_for(self, name: str) -> bool:
        """Whether somebody set `name`."""
        with self._lock:
            return canonical(name) in self._given

    def without_defaults(self) -> dict[str, Any]:
        """The settings that were set; as `changes`, by Celery's name."""
        return self.changes()

    def get_by_parts(self, *parts: str) -> Any:
        """The setting whose name consists of these: `get_by_parts("task", "serializer")`. Raises KeyError."""
        return self["_".join(part for part in parts if part)]

    def first(self, *names: str) -> Any:
        """The value of the first of `names` that is set to something; None where none is."""
        return next((value for name in names if (value := self.get(name)) is not None), None)

    def copy(self) -> Conf:
        """The settings as they stand, apart from the app: a change of either is none of the other's."""
        made = Conf()
        with self._lock:
            made.__dict__.update({name: copy.copy(value) for name, value in self.__dict__.items()})
            made._given.update(self._given)
            made._warned.update(self._warned)
        return made

    def finalize(self) -> Conf:
        """Itself: the settings have been gathered."""
        return self

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """The settings as lines, for people."""
        return "\n".join(f"{name}: {value!r}" for name, value in self.table(with_defaults, censored).items())

    def changes(self) -> dict[str, Any]:
        """The settings that were set, without the defaults."""
        with self._lock:
            return {name: given.value for name, given in self._given.items()}

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """The settings for a report, by name; `censored` hides what looks like a secret."""
        shown = dict(self) if with_defaults else self.changes()
        if censored:
            shown = {name: _hidden(name, value) for name, value in shown.items()}
        return dict(sorted(shown.items()))


def _hidden(name: str, value: Any) -> Any:
    """`value` as it may be shown under `name`, of a setting or within one."""
    if SECRET.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        named = name in BY_NAME
        return {key: _hidden("" if named else str(key), one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_hidden(name, one) for one in value)
    return without_password(value) if isinstance(value, str) else value


def _from_transport_options(values: Mapping[str, Given]) -> dict[str, Given]:
    """Celery's Redis users say `visibility_timeout` there; said by its own name in the same breath, that name wins."""
    options = values.get("broker_transport_options")
    if options is None or "visibility_timeout" not in options.value or "visibility_timeout" in values:
        return {}
    seconds = SETTINGS["visibility_timeout"].check(options.value["visibility_timeout"])
    return {"visibility_timeout": options._replace(value=seconds)}
