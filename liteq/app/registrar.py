"""`Registrar`: makes the tasks of one app, registers them, completes the registry and finds the user's modules."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import Any

from liteq import context, signals
from liteq.app.builtins import add_builtins
from liteq.app.definitions import annotate, check_attributes, check_class, is_set_by_class, task_class_of
from liteq.app.discovery import autodiscover, ended_by_import
from liteq.app.options import TaskOptions
from liteq.app.registry import TaskRegistry
from liteq.app.task import Task
from liteq.context import App
from liteq.exceptions import AlreadyRegistered, ImproperlyConfigured
from liteq.policy.arguments import check_sensitive
from liteq.policy.batches import batch_terms, check_body
from liteq.policy.kept import check_kept
from liteq.sending.keys import keyed_task
from liteq.sending.uniqueness import uniqueness
from liteq.settings import import_object
from liteq.signals import Signal
from liteq.utils.upward import upward

__all__ = ["Modelled", "Registrar"]

FLOW = "liteq.flow"

_registrars: weakref.WeakValueDictionary[int, Registrar] = weakref.WeakValueDictionary()  # of all apps, in order

Modelled = Callable[..., dict[str, Any]]
"""Makes the attributes of a task with `pydantic=True`, from `(function, app, name, bind=, strict=, ...)`."""


class Registrar:
    """The tasks of one app. `lock` is the app's own; `modelled` stands behind the option `pydantic`."""

    def __init__(self, app: App, tasks: Any, *, autofinalize: bool, lock: threading.RLock, modelled: Modelled) -> None:
        self.registry = tasks if isinstance(tasks, TaskRegistry) else TaskRegistry(tasks or {})
        self.registry.finders += [app.integrations.find_task, self._find_flow, self._find_at_others]
        self.autofinalize = autofinalize
        self.finalized = False
        self.on_after_finalize = Signal("on_after_finalize")
        self._app = app
        self._lock = lock
        self._modelled = modelled
        self._checked: set[type[Any]] = set()  # classes of tasks whose options have been looked at
        self._discoveries: list[Callable[[], list[Any]]] = []
        self._base: Any = None
        self._made: dict[str, Callable[[Any], Any]] = {}  # of decorated tasks without a `base=`: makes their class
        _registrars[id(self)] = self

    def _find_flow(self, name: str) -> Any:
        """The workflow of declared flows, which is registered when its first run is met."""
        if name != FLOW:
            return None
        try:
            return upward("flows")(self._app)
        except ImproperlyConfigured:  # the extra is not installed: the run waits for a worker that has it
            return None

    def _find_at_others(self, name: str) -> Any:
        """The task that another app of this process was decorated with: Celery shares such tasks between all apps.

        With the base class of this app, where it was given none. `shared=False` keeps a task to its app; so does what a
        worker must know when it begins, or it would run the task without: its limits, and `isolate`.
        """
        for one in _registrars.valuerefs():  # a copy: another thread may make an app meanwhile
            other = one()
            found: Any = None if other is None or other is self else other.registry.get(name)
            if other is None or not getattr(found, "_is_shared", False) or self._is_limited(found):
                continue
            make_class = other._made.get(name)
            task = self.register((type(found) if make_class is None else make_class(self.base))())
            if make_class is not None:  # another app may find it here
                self._made[name] = make_class
            return task
        return None

    def _is_limited(self, task: Any) -> bool:
        rate = task.rate_limit or self._app.conf.task_default_rate_limit
        return bool(rate or task.isolate or keyed_task(task) is not None)

    # -- making and registering

    @property
    def base(self) -> Any:
        """The base class of the app's tasks."""
        if self._base is None:
            self._base = self._app.create_task_cls()
        return self._base

    def rebase(self, base: Any) -> None:
        """Make `base` the base class of the app's tasks: of those that were decorated before, too.

        A factory makes its class, with an application context around each call, when the tasks are there already.
        """
        self._base = base
        for name, make_class in self._made.items():
            task = self.registry[name]
            task.__class__ = make_class(base)
            task.__init__()
            task.bind(self._app)
        self.forget_plans()
        self._app.publisher.forget()

    def take_over(self, before: Registrar) -> None:
        """Have the tasks of `before`, of the same app when it was made the first time, with the base class of now."""
        self.registry.update(before.registry)
        self._made |= before._made
        self._discoveries += before._discoveries
        if self._made:
            self.rebase(self.base)

    def task_from_function(
        self, function: Callable[..., Any], name: str | None, base: Any, options: dict[str, Any], *, bind: bool
    ) -> Any:
        """The task of `function`; the registered one where it was made of the same function.

        Raises AlreadyRegistered when another function has the name.
        """
        app = self._app
        function = (function_of(function) or function) if isinstance(function, Task) else function
        if not callable(function):
            raise TypeError(f"a task is made of a function, not of {function!r}")
        name = name or app.gen_task_name(function.__name__, function.__module__)
        there = self.registry.get(name)
        if there is not None:
            if collide(origin(there), origin_of(function)) and not of_one_line(function_of(there), function):
                raise AlreadyRegistered(f"two functions want to be the task {name!r}: give one of them a `name=`")
            if function_of(there) is function:
                return there
        cls = base or app.Task
        self._check_class(cls)
        if options:
            check_attributes(app, f"task {name!r}", cls, options)
        options.pop("lazy", None)
        options["_is_shared"] = options.pop("shared", True)
        options |= self._pydantic(function, name, options, bind=bind)
        _check_batch(name, function, options, bind=bind)
        if options.get("batch") is None:  # the arguments of a batch's calls are no parameters of its function
            check_sensitive(options.get("sensitive"), function, f"task {name!r}")
        if not isinstance(isolate := options.get("isolate", False), bool):
            raise TypeError(f"task {name!r}: isolate is True or False, not {isolate!r}")

        def make_class(base: type[Any]) -> Any:
            typing = {} if is_set_by_class(base, "typing") else {"typing": app.strict_typing}
            return task_class_of(function, base, bind=bind, options={**typing, **options, "name": name})

        task = self.register(make_class(cls)())
        if base is None:
            self._made[name] = make_class
        return task

    def _pydantic(self, function: Any, name: str, options: dict[str, Any], *, bind: bool) -> dict[str, Any]:
        """The attributes that `pydantic=True` adds: another body, and how its models are sent."""
        more = {key: options.pop(f"pydantic_{key}", None) for key in ("strict", "context", "dump_kwargs")}
        if not options.get("pydantic"):
            return {}
        more = {**more, "strict": bool(more["strict"]), "sensitive": options.get("sensitive", ())}
        return self._modelled(function, self._app, name, bind=bind, **more)

    def register_task(self, task: Any, options: dict[str, Any]) -> Any:
        """Register `task`, an instance or a class, with these options; the task."""
        task = task() if isinstance(task, type) else task
        if not task.name:
            cls = type(task)
            task.name = self._app.gen_task_name(cls.__name__, cls.__module__)
        self._check_class(type(task))
        check_attributes(self._app, f"task {task.name!r}", type(task), options)
        for key, value in options.items():
            setattr(task, key, value)
        return self.register(task)

    def _check_class(self, cls: type[Any]) -> None:
        if cls not in self._checked:
            check_class(self._app, cls)
            self._checked.add(cls)

    def register(self, task: Any) -> Any:
        """Add `task`, which has a name; returns it. Raises TypeError, ValueError for limits and keys that are none."""
        app = self._app
        keyed_task(task)  # refuses options that are none, here and not at the first call
        uniqueness(getattr(task, "unique", None), task.name, task)
        check_kept(task)
        task.bind(app)
        self.registry[task.name] = task
        self._made.pop(task.name, None)
        if self.finalized and app.conf.task_annotations:
            annotate(task, app.conf.task_annotations)
        app.publisher.forget(task.name)
        return task

    # -- the whole registry

    @property
    def tasks(self) -> TaskRegistry:
        """The registry, completed first."""
        if not self.finalized:
            self.finalize(auto=True)
        return self.registry

    def finalize(self, auto: bool = False) -> None:
        """Add the built-in and the shared tasks and apply `task_annotations`; once.

        `auto`: raises RuntimeError for an app that was made with `autofinalize=False`.
        """
        with self._lock:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("the app is not finalized: call app.finalize() before it is used")
            self.finalized = True
            add_builtins(self._app)
            context.announce_finalized(self._app)
            annotations = self._app.conf.task_annotations
            for task in list(self.registry.values()):
                if annotations:
                    annotate(task, annotations)
        self.on_after_finalize.send(sender=self._app)

    def forget_plans(self) -> None:
        """Have each task work out anew how it is executed: the settings have changed."""
        for task in self.registry.values():
            task.forget_plan()

    # -- the user's modules

    def autodiscover(
        self, packages: Iterable[str] | Callable[[], Iterable[str]] | None, related_name: str | None, *, force: bool
    ) -> None:
        """Import the module `related_name` of `packages`: with `force` at once, else by `import_modules`."""

        def discover() -> list[Any]:
            return autodiscover(packages or self._app.integrations.packages, related_name)

        if force:
            discover()
        else:
            self._discoveries.append(discover)

    def import_modules(self) -> None:
        """Import the modules of `include` and `imports` and those to be discovered, and complete the registry.

        Raises ImproperlyConfigured for one that ends the program: it would end without a word, and as if all were well.
        """
        try:
            signals.import_modules.send(sender=self._app)
            conf = self._app.conf
            for name in (*conf.include, *conf.imports):
                import_object(name)
            while self._discoveries:
                self._discoveries.pop(0)()
        except SystemExit as exc:
            raise ImproperlyConfigured(ended_by_import("the app's tasks", exc)) from exc
        self._app.finalize()


def _check_batch(name: str, function: Callable[..., Any], options: Mapping[str, Any], *, bind: bool) -> None:
    """Raises TypeError and ValueError for a function or options with which a task takes no batches."""
    given = (options.get("batch"), options.get("batch_wait", TaskOptions.batch_wait), options.get("batch_key"))
    if batch_terms(name, *given) is None:
        if "batch_wait" in options:
            raise TypeError(f"task {name!r}: batch_wait is how long a batch waits for others; give batch=, how many")
        return
    if options.get("pydantic"):
        raise TypeError(f"task {name!r}: pydantic= validates the arguments of one call, and batch= takes many; use one")
    check_body(name, function, bound=bind)


def collide(there: tuple[str, str], new: tuple[str, str]) -> bool:
    """Whether two functions are one task by mistake.

    Not by one function that was made again (its module was reloaded, a factory called once more), and not by two that
    were made inside of two others, as tests make theirs: the newest one is meant.
    """
    outer, _, local = there[1].partition(".<locals>.")
    outer_of_new, _, local_of_new = new[1].partition(".<locals>.")
    return there != new and not (local and local_of_new and (there[0], outer) != (new[0], outer_of_new))


def of_one_line(there: Any, new: Any) -> bool:
    """Whether both were made by the same lines of a file: its module was imported under two names."""
    one, other = (getattr(inspect.unwrap(function), "__code__", None) for function in (there, new))
    places = [(code.co_filename, code.co_firstlineno, code.co_qualname) for code in (one, other) if code is not None]
    return len(places) == 2 and places[0] == places[1]


def origin_of(function: Any) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def function_of(task: Any) -> Any:
    """The function of a task, which `__wrapped__` binds to it with `bind=True`; None for what is no task."""
    wrapped = getattr(task, "__wrapped__", None)
    return wrapped.__func__ if isinstance(wrapped, MethodType) and isinstance(wrapped.__self__, Task) else wrapped


def origin(task: Any) -> tuple[str, str]:
    function = function_of(task)
    return origin_of(function) if function is not None else (type(task).__module__, type(task).__qualname__)
