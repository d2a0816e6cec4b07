"""The settings half of `LiteQ`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from datetime import tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any

from liteq.app.configuration import AppConf, ConfigSource, PendingConf, outside_sources
from liteq.app.registry import TaskRegistry
from liteq.canvas import Signature
from liteq.exceptions import ImproperlyConfigured
from liteq.serialization import Content
from liteq.settings import Conf, Source, canonical
from liteq.settings.objects import refuse_mix
from liteq.signals import Signal

if TYPE_CHECKING:
    from liteq.sending.publisher import Publisher

__all__ = ["Configured"]

OF_THE_CONSTRUCTOR = frozenset({"broker_url", "result_backend", "include"})


class Configured:
    """Gathers the settings when the first one is read, and passes on that they changed."""

    _tasks: TaskRegistry
    framework_settings: Callable[[Any], Mapping[str, Any]] | None = None
    """Settings that the web framework holds for this app: above its configuration object, below its code."""

    if TYPE_CHECKING:  # what the other half has

        def close(self) -> None: ...

        @cached_property
        def publisher(self) -> Publisher: ...

    def _init_conf(self, source: Any, namespace: str | None, noted: dict[str, Any]) -> None:
        self.namespace = namespace
        self.on_configure = Signal("on_configure", "source")
        self.on_after_configure = Signal("on_after_configure", "source")
        self._lock = threading.RLock()
        self._periodic: list[tuple[str, dict[str, Any]]] = []
        self._defaults: list[Any] = []
        self._conf: AppConf | None = None
        self._contents: tuple[Content, Content] | None = None
        self._source = ConfigSource(source, namespace) if source is not None else None
        self._noted = noted
        self._from_framework: Mapping[str, Any] = {}
        self._pending = PendingConf(self._load_conf, lambda: self._conf, noted)

    @property
    def conf(self) -> Any:
        """The settings: attributes and items. They are gathered when the first one is read."""
        return self._conf if self._conf is not None else self._pending

    @conf.setter
    def conf(self, settings: Mapping[str, Any]) -> None:
        self._load_conf().update(settings)

    @property
    def timezone(self) -> tzinfo:
        """The time zone of schedules: the setting `timezone`, by default UTC."""
        from liteq.schedules.base import zone_of

        return zone_of(self.conf.timezone)

    @timezone.setter
    def timezone(self, zone: Any) -> None:
        self.conf["timezone"] = zone

    def uses_utc_timezone(self) -> bool:
        """Whether schedules go by UTC."""
        return str(self.timezone) == "UTC"

    def add_defaults(self, fun: Any) -> None:
        """Settings that count where nothing else says otherwise: a mapping, or a function that returns one.

        A function is called when the settings are gathered.
        """
        if self._conf is not None:
            self._apply_default(self._conf, fun)
        else:
            self._defaults.append(fun)

    @staticmethod
    def _apply_default(conf: Conf, fun: Any) -> None:
        conf.apply(fun() if callable(fun) else fun, Source.DEFAULT, "the app's defaults")

    @property
    def configured(self) -> bool:
        """Whether the settings have been gathered."""
        return self._conf is not None

    def _load_conf(self) -> Conf:
        with self._lock:
            if self._conf is not None:
                return self._conf
            self.on_configure.send(sender=self, source=self._source)
            conf = AppConf(self._conf_changed)
            for fun in self._defaults:
                self._apply_default(conf, fun)
            if self._source is not None:
                self._source.apply_to(conf)
            if self._source is None:  # as Celery: what is said in code is compared with itself alone
                told = [name for name in self._noted if name not in OF_THE_CONSTRUCTOR]
                old = [canonical(name) for name in told if canonical(name) != name]
                refuse_mix(old, [name for name in told if canonical(name) == name])
            self._apply_framework(conf)
            conf.apply(self._noted)
            conf.apply_given(outside_sources())
            self._conf = conf
            for key, entry in self._periodic:
                self._schedule(key, entry)
            self.on_after_configure.send(sender=self, source=conf)
            return conf

    @property
    def content(self) -> Content:
        """How arguments are written and read. Raises ImproperlyConfigured for a serializer that there is not."""
        return (self._contents or self._make_contents())[0]

    @property
    def result_content(self) -> Content:
        """How results are written and read."""
        return (self._contents or self._make_contents())[1]

    def _make_contents(self) -> tuple[Content, Content]:
        conf = self.conf
        accepted = conf.accept_content, conf.result_accept_content or conf.accept_content
        limits = ("max_payload_bytes", "max_result_bytes")
        keys = [key.strip() for key in (conf.pickle_key or "").split(",") if key.strip()]
        made = tuple(
            Content(accept=accept, keys=keys, limit=conf[limit], setting=limit, max_depth=conf.max_nesting)
            for accept, limit in zip(accepted, limits, strict=True)
        )
        self._contents = made[0], made[1]
        return self._contents

    def _apply_framework(self, conf: Conf) -> None:
        if self.framework_settings is not None:
            self._from_framework = self.framework_settings(self)
            conf.apply(self._from_framework, origin="the framework's settings")

    def reload_settings(self) -> None:
        """Read the configuration object, and what the framework says, once more: they have changed."""
        with self._lock:
            conf = self._conf
            if conf is None:
                return
            url = conf.broker_url
            for name in self._from_framework:
                del conf[name]
            if self._source is not None:
                self._source.apply_to(conf)
            self._apply_framework(conf)
            conf.apply(self._noted)
            conf.apply_given(outside_sources())
        if conf.broker_url != url:
            self.close()

    def _conf_changed(self) -> None:
        self._contents = None
        self.publisher.forget()
        for task in self._tasks.values():
            task.__dict__.pop("_plan", None)

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take the settings from a module, an object or a mapping, or from the path of one: `"proj.config"`.

        It is read when the first setting is, with `force` at once. `namespace="CELERY"` reads only the names that begin
        with `CELERY_`. `silent` leaves out what cannot be imported.
        """
        self._source = ConfigSource(obj, namespace or self.namespace)
        if not force and self._conf is None:
            return
        try:
            self._source.apply_to(self._load_conf())
        except ImproperlyConfigured:
            if not silent:
                raise

    def start_over(self) -> None:
        """Forget the settings that were gathered, and close the file: the next use gathers and opens anew.

        What was set by attribute since they were gathered is forgotten too; the entries of beat stay.
        """
        with self._lock:
            if self._conf is None:
                return
            self.close()
            self._conf = None
            self._conf_changed()

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> bool:
        """As `config_from_object`, the path being in an environment variable; whether that is set."""
        path = os.environ.get(variable_name)
        if not path:
            if silent:
                return False
            raise ImproperlyConfigured(f"the environment variable {variable_name} names the settings, and is not set")
        self.config_from_object(path, silent=silent, force=force)
        return True

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Have beat send `sig` by `schedule` (seconds, timedelta, crontab, ...); the entry's key in `beat_schedule`."""
        if isinstance(sig, Signature):
            sig = sig.clone(args, dict(kwargs or {}))
        else:
            sig = Signature(sig.name, args, dict(kwargs or {}))
        entry = {
            "schedule": schedule, "name": name, "task": sig["task"], "args": sig["args"], "kwargs": sig["kwargs"],
            "subtask_type": sig["subtask_type"], "immutable": sig["immutable"],
            "options": {**sig["options"], **options},
        }  # fmt: skip
        key = name or self._key_of(repr(sig), entry)
        self._periodic.append((key, entry))
        if self.configured:
            self._schedule(key, entry)
        return key

    def _key_of(self, text: str, entry: dict[str, Any]) -> str:
        """`text`, numbered where another call reads alike: sensitive arguments are hidden in it."""
        taken = {key: (one["args"], one["kwargs"]) for key, one in self._periodic}
        key, n = text, 1
        while taken.get(key, (entry["args"], entry["kwargs"])) != (entry["args"], entry["kwargs"]):
            n += 1
            key = f"{text} ({n})"
        return key

    def _schedule(self, key: str, entry: dict[str, Any]) -> None:
        conf = self._conf
        assert conf is not None
        conf.beat_schedule = {**conf.beat_schedule, key: entry}
