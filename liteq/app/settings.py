"""An app's settings: gathered when the first of them is read, so that an app can be made before its settings can."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, MutableMapping
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from liteq.app.urls import check_url, home_of_caller, placed
from liteq.canvas import Signature
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.sending.options import OF_A_CALL, check_options
from liteq.serialization import Content
from liteq.settings import Conf, Given, Source, canonical, import_object, sources
from liteq.settings.conf import KNOWN
from liteq.settings.objects import ConfigSource, refuse_mix
from liteq.signals import Signal
from liteq.utils.misspelt import unexpected

if TYPE_CHECKING:
    from liteq.serialization.sealing import Vault

__all__ = ["PendingConf", "Settings", "check_keywords"]

OF_THE_CONSTRUCTOR = frozenset({"broker_url", "result_backend", "include"})


def check_keywords(what: str, names: Iterable[str]) -> None:
    """Refuse keywords of an app's constructor that are neither its own nor a setting's, under either of its names.

    A value of one's own goes into `app.conf`. Raises TypeError, which tells the nearest setting.
    """
    unknown = [name for name in names if canonical(name) not in KNOWN]
    if unknown:
        known = (*KNOWN, "backend", "broker", "changes", "clock", "config_source", "main", "task_cls", "tasks")
        raise unexpected(f"{what}()", unknown, known, "a value of your own goes into app.conf")


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


def outside_sources() -> dict[str, Given]:
    """Files in the working directory and the environment."""
    return sources.load()


def _only(names: Container[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` whose setting is in `names`."""
    return {name: value for name, value in values.items() if canonical(name) in names}


class PendingConf(MutableMapping[str, Any]):
    """Stands for the settings until one is read: assignments are noted, a read makes the app gather them.

    Code that still holds it afterwards gets at the settings themselves.
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


OF_ADDING = ("args", "kwargs", "name")  # parameters of `add_periodic_task` beside the options of a call


class Settings:
    """The settings of one app: gathers them when the first one is read, and passes on that they changed.

    `noted`: those given in code. `changed()` is called after each change. `lock` is the app's own: a receiver of its
    signals may ask the app for more.
    """

    def __init__(
        self,
        app: App,
        source: Any,
        namespace: str | None,
        noted: dict[str, Any],
        *,
        changed: Callable[[], object],
        lock: threading.RLock,
    ) -> None:
        self.namespace = namespace
        self.on_configure = Signal("on_configure", "source")
        self.on_after_configure = Signal("on_after_configure", "source")
        self._app = app
        self._changed = changed
        self._lock = lock
        self._periodic: list[tuple[str, dict[str, Any]]] = []
        self._defaults: list[Any] = []
        self._contents: tuple[Content, Content] | None = None
        self._vault: tuple[Any, Vault] | None = None  # with the setting that it was made of
        self._source = ConfigSource(source, namespace) if source is not None else None
        self._noted = noted
        self._read: dict[str, Any] = {}  # what the configuration object and the framework held when last read
        self._home = home_of_caller(app)
        self._gathered: AppConf | None = None
        self._pending = PendingConf(self.gather, lambda: self._gathered, noted)
        self.conf: Any = self._pending
        """The settings: attributes and items. They are gathered when the first one is read."""

    @property
    def is_bare(self) -> bool:
        """Whether the program gave the app neither a configuration nor a file."""
        return self._source is None and "broker_url" not in self._noted

    @property
    def timezone(self) -> tzinfo:
        """The time zone of schedules: the setting `timezone`, by default UTC."""
        from liteq.schedules.base import zone_of

        return zone_of(self.conf.timezone)

    def add_defaults(self, fun: Any) -> None:
        """Settings that count where nothing else says otherwise: a mapping, or a function that returns one.

        A function is called when the settings are gathered.
        """
        if self._gathered is not None:
            self._gathered.add_defaults(fun)
        else:
            self._defaults.append(fun)

    @property
    def configured(self) -> bool:
        """Whether the settings have been gathered."""
        return self._gathered is not None

    def gather(self) -> Conf:
        """The settings themselves: gathered now, where they have not been. Raises ImproperlyConfigured."""
        with self._lock:
            if self._gathered is not None:
                return self._gathered
            if (told := self._app.on_configure) is self.on_configure:
                told.send(sender=self._app, source=self._source)
            else:  # a method of the app's class: the hook was one before Celery 4, and is still written so
                told()
            conf = AppConf(self._forget, lambda: self._source)
            for fun in self._defaults:
                conf.add_defaults(fun)
            self._apply_read(conf, self._read_sources())
            if self._source is None:  # as in Celery: names given in code are compared among themselves alone
                names = [name for name in self._noted if name not in OF_THE_CONSTRUCTOR]
                old = [canonical(name) for name in names if canonical(name) != name]
                refuse_mix(old, [name for name in names if canonical(name) == name])
            conf.apply(self._noted)
            conf.apply_given(outside_sources())
            self._gathered = self.conf = conf
            for key, entry in self._periodic:
                self._schedule(key, entry)
            self._app.integrations.configured(conf)
            self.on_after_configure.send(sender=self._app, source=conf)
            return conf

    @property
    def broker_url(self) -> str:
        """Where the queue lives. A relative path of the program's own is looked for beside the program too: ADR 0017.

        Raises ImproperlyConfigured where no setting says, and for a relative path that would make a second queue.
        """
        given = self.gather().given("broker_url")
        url = check_url(given.value)
        return placed(url, self._home) if given.source is Source.APP else url

    @property
    def content(self) -> Content:
        """How arguments are written and read. Raises ImproperlyConfigured for an unknown serializer."""
        return (self._contents or self._make_contents())[0]

    @property
    def result_content(self) -> Content:
        """How results are written and read."""
        return (self._contents or self._make_contents())[1]

    @property
    def vault(self) -> Vault | None:
        """Seals the values in the file by the setting `payload_codec`; None where there is none.

        Raises ImproperlyConfigured for a codec that cannot be found, or does not work.
        """
        given = self.conf.payload_codec
        if not given:
            return None
        if self._vault is None or self._vault[0] != given:
            from liteq.serialization.sealing import open_vault

            name = given if isinstance(given, str) else getattr(given, "__qualname__", type(given).__qualname__)
            self._vault = (given, open_vault(self._codec(given), name))
        return self._vault[1]

    @staticmethod
    def _codec(given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            return import_object(given)
        except ImproperlyConfigured as exc:
            why = str(exc).removesuffix(" to read settings from")
            raise ImproperlyConfigured(
                f"the setting payload_codec = {given!r}: {why}; it names a class, as `liteq_crypt:Codec` does"
            ) from None

    def _make_contents(self) -> tuple[Content, Content]:
        conf = self.conf
        keys = [key.strip() for key in (conf.pickle_key or "").split(",") if key.strip()]
        self._contents = (
            Content(
                accept=conf.accept_content,
                keys=keys,
                limit=conf.max_payload_bytes,
                max_depth=conf.max_nesting,
                vault=self.vault,
            ),
            Content(
                accept=conf.result_accept_content or conf.accept_content,
                keys=keys,
                limit=conf.max_result_bytes,
                setting="max_result_bytes",
                max_depth=conf.max_nesting,
                purpose="result",
            ),
        )
        return self._contents

    def _read_sources(self) -> dict[str, Any]:
        """The settings of the configuration object, and over them those of the framework, by their present names."""
        given = {} if self._source is None else self._source.read()
        framework = self._app.integrations.settings(is_bare=self.is_bare)
        return {canonical(name): value for values in (given, framework) for name, value in values.items()}

    def _apply_read(self, conf: Conf, values: dict[str, Any]) -> None:
        conf.apply(values, origin="the framework's settings" if self._source is None else str(self._source.source)[:80])
        self._read = values

    def reload(self) -> None:
        """Read the configuration object and the framework's settings once more: they have changed.

        A setting that they say otherwise than before, or no more, is set anew; those assigned in code stay.
        """
        with self._lock:
            conf = self._gathered
            if conf is None:
                return
            url, before, now = conf.broker_url, self._read, self._read_sources()
            changed = {name for name in before | now if before.get(name, before) != now.get(name, before)}
            for name in changed & conf.keys():
                del conf[name]
            for fun in self._defaults:
                conf.apply(_only(changed, fun() if callable(fun) else fun), Source.DEFAULT, "the app's defaults")
            conf.apply(_only(changed, now), origin="the settings, read again")
            conf.apply(_only(changed, self._noted))
            conf.apply_given(_only(changed, outside_sources()))
            self._read = now
        if conf.broker_url != url:
            self._app.close()

    def _forget(self) -> None:
        self._contents = None
        self._changed()

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take the settings from a module, an object or a mapping, or from the path of one: `"proj.config"`.

        It is read when the first setting is, with `force` at once. `namespace="CELERY"` reads only the names that begin
        with `CELERY_`. `silent` leaves out what cannot be imported.
        """
        self.namespace = namespace or self.namespace
        self._source = ConfigSource(obj, self.namespace, silent=silent)
        if not force and self._gathered is None:
            return
        conf, values = self.gather(), self._source.read()
        conf.apply(values, origin=str(obj)[:80])
        self._read |= {canonical(name): value for name, value in values.items()}

    def start_over(self) -> None:
        """Forget the settings that were gathered, and close the file: the next use gathers and opens anew.

        Settings that were assigned since then are forgotten too; the entries of beat stay.
        """
        with self._lock:
            if self._gathered is None:
                return
            self._app.close()
            self._gathered, self.conf = None, self._pending
            self._forget()

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        options: Mapping[str, Any] = {},
    ) -> str:
        """Have beat send `sig` by `schedule` (seconds, timedelta, crontab, ...); the entry's key in `beat_schedule`."""
        from liteq.app.schedules import check_entry, key_of  # with all kinds of schedules: few programs have them

        if isinstance(sig, Signature):
            sig = sig.clone(args, dict(kwargs or {}))
        else:
            sig = Signature(sig.name, args, dict(kwargs or {}))
        entry = {
            "schedule": schedule, "name": name, "task": sig["task"], "args": sig["args"], "kwargs": sig["kwargs"],
            "subtask_type": sig["subtask_type"], "immutable": sig["immutable"],
            "options": {**sig["options"], **options},
        }  # fmt: skip
        key = name or key_of(repr(sig), entry, self._periodic)
        check_entry(key, entry)
        if self.configured and not options.keys() <= OF_A_CALL:  # else when beat reads its entries
            check_options(self._app, sig["task"], sig["args"], sig["kwargs"], options, parameters=OF_ADDING)
        self._periodic.append((key, entry))
        if self.configured:
            self._schedule(key, entry)
        return key

    def _schedule(self, key: str, entry: dict[str, Any]) -> None:
        conf = self._gathered
        assert conf is not None
        conf.beat_schedule = {**conf.beat_schedule, key: entry}
