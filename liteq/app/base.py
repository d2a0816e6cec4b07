"""LiteQ: the app. It holds the tasks, the settings and the storage."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

from liteq import context, signals
from liteq.app.builtins import add_builtins
from liteq.app.compat.annotations import annotate
from liteq.app.compat.backend import Backend
from liteq.app.compat.bound_results import Results
from liteq.app.compat.connection import Connecting
from liteq.app.compat.fixups import apply_fixups
from liteq.app.configured import Configured
from liteq.app.definitions import generate_name, said_by_class, task_class_of
from liteq.app.discovery import autodiscover
from liteq.app.processes import Processes
from liteq.app.registry import TaskRegistry
from liteq.app.task import Task
from liteq.app.urls import check_url
from liteq.canvas import Signature, signature
from liteq.clock import Clock, SystemClock, from_ms
from liteq.context import Request
from liteq.exceptions import AlreadyRegistered
from liteq.routing.routes import queue_name
from liteq.sending.publish_signals import tell_sent
from liteq.sending.sender import Sending
from liteq.settings import import_object
from liteq.signals import Signal

if TYPE_CHECKING:
    from concurrent.futures import Future

    from liteq.app.control import Control
    from liteq.app.schedules import Periodic
    from liteq.events import Events
    from liteq.storage.storage import Storage

__all__ = ["LiteQ"]

P = ParamSpec("P")
R = TypeVar("R")


class LiteQ(Configured, Sending, Results, Connecting, Processes):
    """A task queue over one file.

        app = LiteQ("shop", broker="sqlite:///tasks.db")

        @app.task
        def add(x: int, y: int) -> int: ...

    `main` names tasks of the module that is run as a script. `broker` is where the queue lives: `sqlite:///` and a
    path, relative to the working directory; with four slashes an absolute one. Without it the setting `broker_url`
    counts (LITEQ_BROKER_URL, a configuration object); there is no default, because a web process and a worker that
    were started in two directories would each make a file of their own. `include` are modules of tasks that a worker
    imports. Any setting may follow as a keyword. Results are in the same file: `backend` is accepted and not used.
    """

    Pickler: Any = None
    storage_opener: Callable[..., Storage] | None = None
    """What opens the queue in place of `liteq.storage.storage.open_storage`; a framework's integration sets it."""
    async_submit: Callable[[Callable[[], Any], bool], Future[Any] | None] | None = None
    """Where a framework has its place for what async code sends and asks: `async_submit(call, writes)`, a future of it.

    Without it, and where it returns None, that is one of liteq's own threads (`utils/async_threads.py`).
    """
    coroutine_runner: Callable[[Coroutine[Any, Any, Any]], Any] | None = None
    """What runs an `async def` task to its end, in place of `utils.coroutines.run_coroutine`."""
    around_task: Callable[[Any, Request], AbstractContextManager[object]] | None = None
    """A context manager around each execution of a task, its hooks and signals included: `around_task(task, request)`.

    A framework's application context, say. It is left with what the task raised, as if that had gone through it, and
    cannot change the outcome. When it cannot be entered, the task fails.
    """

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: str | None = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: str | None = None,
        include: Iterable[str] | None = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        self.main = main
        self.set_as_current = set_as_current
        self.strict_typing = strict_typing
        self.autofinalize = autofinalize
        self.clock: Clock = clock or SystemClock()
        self.task_cls: Any = task_cls or Task
        self.finalized = False
        self.on_after_finalize = Signal("on_after_finalize")
        self.on_after_fork = Signal("on_after_fork")
        self._tasks = tasks if isinstance(tasks, TaskRegistry) else TaskRegistry(tasks or {})
        self._discoveries: list[Callable[[], list[Any]]] = []
        given = {"broker_url": broker, "result_backend": backend, "include": tuple(include) if include else None}
        noted = {**settings, **(changes or {}), **{key: value for key, value in given.items() if value is not None}}
        self._init_conf(config_source, namespace, noted)
        apply_fixups(self, fixups)
        if set_as_current:
            self.set_current()
        context.announce_app(self)

    # -- the current app

    def set_current(self) -> None:
        """Make this the app that `current_app` means in this thread."""
        context.set_current_app(self)

    def set_default(self) -> None:
        """Make this the app that `current_app` means in threads that have set none."""
        context.set_default_app(self)

    # -- tasks

    @overload
    def task(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self, *, bind: Literal[True], **options: Any
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...
    @overload
    def task(self, *, bind: Literal[False] = ..., **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(self, *args: Any, **options: Any) -> Any:
        """Make a task of a function: `@app.task`, or with options `@app.task(bind=True, max_retries=5)`.

        name, bind (the task itself is the first argument), base (a Task class), and any attribute of Task. Also for
        `async def`. Raises AlreadyRegistered when another function has the name.
        """
        if len(args) > 1 or (args and not callable(args[0])):
            raise TypeError("@app.task takes options by keyword, and one function")

        def decorate(function: Callable[..., Any]) -> Any:
            return self.task_from_function(function, **options)

        return decorate(args[0]) if args else decorate

    def task_from_function(
        self, function: Callable[..., Any], name: str | None = None, base: Any = None, bind: bool = False,
        **options: Any,
    ) -> Any:  # fmt: skip
        """The task of `function`; the one that there is already, when it was made of the same function."""
        function = getattr(function, "__wrapped__", function) if isinstance(function, Task) else function
        if not callable(function):
            raise TypeError(f"a task is made of a function, not of {function!r}")
        name = name or self.gen_task_name(function.__name__, function.__module__)
        there = self._tasks.get(name)
        if there is not None:
            if _origin(there) != _origin_of(function):
                raise AlreadyRegistered(f"two functions want to be the task {name!r}: give one of them a `name=`")
            if getattr(there, "__wrapped__", None) is function:
                return there
        options.pop("lazy", None)
        options.pop("shared", None)
        if not said_by_class(base or self.Task, "typing"):
            options.setdefault("typing", self.strict_typing)
        options |= self._pydantic(function, name, options, bind=bind)
        cls = task_class_of(function, base or self.Task, bind=bind, options={**options, "name": name})
        return self._register(cls())

    _task_from_fun = task_from_function

    def _pydantic(self, function: Any, name: str, options: dict[str, Any], *, bind: bool) -> dict[str, Any]:
        """What `pydantic=True` and its kin make of a function: another body, and how its models are sent."""
        more = {key: options.pop(f"pydantic_{key}", None) for key in ("strict", "context", "dump_kwargs")}
        if not options.get("pydantic"):
            return {}
        from liteq.app.compat.pydantic_models import modelled

        more = {**more, "strict": bool(more["strict"]), "sensitive": options.get("sensitive", ())}
        made = modelled(function, self, name, bind=bind, **more)
        run = made.function if bind else staticmethod(made.function)
        return {"run": run, "dump_models": staticmethod(made.dump)}

    def register_task(self, task: Any, **options: Any) -> Any:
        """Add a task of a class of one's own: `app.register_task(Import())`; the task."""
        task = task() if isinstance(task, type) else task
        if not task.name:
            cls = type(task)
            task.name = self.gen_task_name(cls.__name__, cls.__module__)
        for key, value in options.items():
            setattr(task, key, value)
        return self._register(task)

    def _register(self, task: Any) -> Any:
        task.bind(self)
        self._tasks[task.name] = task
        if self.finalized and self.conf.task_annotations:
            annotate(task, self.conf.task_annotations)
        self.publisher.forget(task.name)
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that was given none: `module.name`."""
        return generate_name(self.main, name, module)

    @cached_property
    def Task(self) -> Any:  # noqa: N802 - Celery's name
        """The base class of this app's tasks."""
        cls = import_object(self.task_cls) if isinstance(self.task_cls, str) else self.task_cls
        return type(cls.__name__, (cls,), {"_app": self, "abstract": True, "__module__": cls.__module__})

    @property
    def tasks(self) -> TaskRegistry:
        """Every task, by name, those of other packages (`shared_task`) too."""
        if not self.finalized:
            self.finalize(auto=True)
        return self._tasks

    def finalize(self, auto: bool = False) -> None:
        """Complete the registry: shared tasks, annotations. Happens by itself when the app is first used."""
        with self._lock:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("the app is not finalized: call app.finalize() before it is used")
            self.finalized = True
            add_builtins(self)
            context.announce_finalized(self)
            annotations = self.conf.task_annotations
            for task in list(self._tasks.values()):
                if annotations:
                    annotate(task, annotations)
        self.on_after_finalize.send(sender=self)

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import the module `tasks` of these packages, once a worker starts or Django is ready (with `force`, at once).

        Without `packages`: of each app of Django's INSTALLED_APPS.
        """

        def discover() -> list[Any]:
            return autodiscover(packages, related_name)

        if force:
            discover()
        else:
            self._discoveries.append(discover)

    def import_tasks(self) -> None:
        """Import whatever holds tasks: `include`, `imports`, and what `autodiscover_tasks` was told. For workers."""
        signals.import_modules.send(sender=self)
        conf = self.conf
        for name in (*conf.include, *conf.imports):
            import_object(name)
        while self._discoveries:
            self._discoveries.pop(0)()
        self.finalize()

    # -- the file

    @property
    def broker_url(self) -> str:
        """Where the queue lives. Raises ImproperlyConfigured when nobody said."""
        return check_url(self.conf.broker_url)

    @cached_property
    def storage(self) -> Storage:
        """The storage: opened, and brought up to date, when it is first used."""
        with self._lock:
            if "storage" in self.__dict__:
                opened: Storage = self.__dict__["storage"]
                return opened
            storage = self.open_storage()
            storage.migrate()
            if self.conf.task_send_sent_event:
                storage.tell_sent = partial(tell_sent, self)
            self.__dict__["storage"] = storage
            return storage

    def open_storage(self, url: str | None = None, *, busy_timeout_s: float | None = None) -> Storage:
        """The queue (or that of `url`) once more, with a patience of its own, for who may not wait as long as a caller.

        Touches nothing before its first use; whoever opened it closes it.
        """
        from liteq.storage.storage import open_storage

        conf = self.conf
        return (self.storage_opener or open_storage)(
            check_url(url) if url else self.broker_url,
            driver=conf.sqlite_driver,
            durability=conf.durability,
            busy_timeout_s=conf.busy_timeout if busy_timeout_s is None else busy_timeout_s,
            allow_network_filesystem=conf.allow_network_filesystem,
            clock=self.clock,
            max_crashes=conf.max_crashes,
            max_reaps=conf.max_reaps,
        )

    def default_queues(self) -> list[str]:
        """What a worker consumes that is told nothing: `select_queues`, `task_queues`, else `task_default_queue`."""
        if self.selected_queues is not None:
            return list(self.selected_queues)
        declared = self.conf.task_queues or [self.conf.task_default_queue]
        return [name for queue in declared if (name := queue_name(queue)) is not None]

    @cached_property
    def backend(self) -> Backend:
        """For code that asks Celery's result backend."""
        return Backend(self)

    @cached_property
    def control(self) -> Control:
        """Remote control of the workers that live."""
        from liteq.app.control import Control

        return Control(self)

    @cached_property
    def events(self) -> Events:
        """What becomes of tasks and workers, as it happens."""
        from liteq.events import Events

        return Events(self)

    @cached_property
    def schedules(self) -> Periodic:
        """The entries of beat: those of the configuration, and any that are added while it runs."""
        from liteq.app.schedules import Periodic

        return Periodic(self)

    def close(self) -> None:
        """Close the file. The app can be used again, and then opens it again."""
        storage = self.__dict__.pop("storage", None)
        if storage is not None:
            storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- signatures

    def signature(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature that is sent through this app."""
        kwargs["app"] = self
        return signature(*args, **kwargs)

    # -- itself

    def now(self) -> Any:
        """The time, aware, in UTC."""
        return from_ms(self.clock.now_ms())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'}:0x{id(self):x}>"

    def __reduce__(self) -> Any:
        raise TypeError("an app is not sent to another process: import it there")


def _origin_of(function: Any) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def _origin(task: Any) -> tuple[str, str]:
    function = getattr(task, "__wrapped__", None)
    return _origin_of(function) if function is not None else (type(task).__module__, type(task).__qualname__)
