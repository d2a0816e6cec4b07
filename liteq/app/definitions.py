"""From a function to a task, and the setting that changes tasks from outside of their code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from inspect import getattr_static
from types import CodeType, FunctionType, MethodType
from typing import Any

from liteq.app.options import TaskOptions
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.policy.keyed import KEYED
from liteq.utils.misspelt import LIKELY, nearest, unexpected

__all__ = ["annotate", "check_attributes", "check_class", "generate_name", "is_set_by_class", "task_class_of"]

# Of the decorator itself, and of Celery's, which mean nothing here.
OF_THE_DECORATOR = frozenset(
    {"base", "bind", "lazy", "pydantic_context", "pydantic_dump_kwargs", "pydantic_strict", "shared"}
)
CALL = "__call__"
WITHOUT_EFFECT = frozenset({"accept_magic_kwargs", "backend", "filter", "from_config", "request_stack", "Strategy"})
OF_THE_CLASS = frozenset(
    name for name, kind in TaskOptions.__annotations__.items() if not name.startswith("_") and "Callable" not in kind
)
OPTIONS = OF_THE_CLASS | OF_THE_DECORATOR | WITHOUT_EFFECT
"""Every option that a task may be given; its methods and its hooks may be given too."""

HOOKS_OF_A_REQUEST = ("on_accepted", "on_timeout", "on_success", "on_failure", "on_retry")  # of Celery's

REMEDY = "a name that is none of these is an attribute of your own; unknown_options='ignore' lets this one be that too"


def check_attributes(
    app: App, what: str, base: type[Any], names: Iterable[str], reader: type[Any] | None = None
) -> None:
    """Refuse those of `names` that look like an option of a task and are none, nor an attribute of `base`.

    A name that stands in the code of `reader`, else of `base`, is that class's own attribute. Any other name becomes
    an attribute of the task, as in Celery. Raises TypeError, which tells the nearest option.
    """
    own = (name for name in names if name not in OPTIONS and not hasattr(base, name))
    unknown = [name for name in own if nearest(name, OPTIONS, LIKELY)]
    if not unknown or app.conf.unknown_options == "ignore":
        return
    used = _read_by(reader or base)
    if not (unknown := [name for name in unknown if name not in used]):
        return
    error = unexpected(what, unknown, OPTIONS, REMEDY)
    if app.conf.unknown_options == "warn":
        logger.warning("%s", error)
        return
    raise error


def check_class(app: App, cls: type[Any]) -> None:
    """As `check_attributes`, for the plain values that a task class of one's own has in its body."""
    for one in cls.__mro__:
        if one.__module__.startswith("liteq."):
            break
        plain = [name for name, value in vars(one).items() if not name.startswith("_") and _is_plain(value)]
        check_attributes(app, f"task class {one.__qualname__!r}", TaskOptions, plain, reader=cls)
    if unheard := [name for name in HOOKS_OF_A_REQUEST if hasattr(cls.Request, name)]:
        logger.warning(
            "task class %r: %s of its Request %r will not be called: no request is made before the task runs. Time "
            "limits, retries and failures reach on_failure(), on_retry() of the task's class, and the signals",
            cls.__qualname__, ", ".join(f"{name}()" for name in unheard), cls.Request,
        )  # fmt: skip


def _read_by(cls: type[Any]) -> set[str]:
    """The names that stand in the code of `cls`, as attributes or as texts: those of its own that it makes use of."""
    found: set[str] = set()
    for one in cls.__mro__:
        if one.__module__.startswith("liteq."):
            break
        parts = [getattr(value, "fget", None) or getattr(value, "__func__", value) for value in vars(one).values()]
        codes = [part.__code__ for part in parts if hasattr(part, "__code__")]
        while codes:
            code = codes.pop()
            found.update(code.co_names, (const for const in code.co_consts if isinstance(const, str)))
            codes += [const for const in code.co_consts if isinstance(const, CodeType)]
    return found


def _is_plain(value: Any) -> bool:
    """Whether an attribute of a class may be meant as an option: it is no method, and no property."""
    return not callable(value) and not hasattr(value, "__get__")


logger = logging.getLogger("liteq.app")

SCRIPT_AGAIN = "__mp_main__"  # multiprocessing's name for the script, in a process that imports it again


def generate_name(main: str | None, name: str, module: str | None) -> str:
    """`module.name`, as Celery names tasks; in a module that is run as a script, the app's `main` stands for it."""
    module = module or "__main__"
    found = sys.modules.get(module)
    if found is not None:
        module = found.__name__
    if module == SCRIPT_AGAIN:
        module = "__main__"
    if module == "__main__" and main:
        return f"{main}.{name}"
    return f"{module}.{name}" if module else name


def task_class_of(function: Callable[..., Any], base: type[Any], *, bind: bool, options: Mapping[str, Any]) -> Any:
    """A subclass of `base` whose body is `function`; `bind`: it takes the task as its first argument."""
    # A key that is a function takes the arguments of a call alone; as a method it would get the task before them.
    keys = {one: staticmethod(key) for one in KEYED if isinstance(key := options.get(one), FunctionType)}
    return type(
        function.__name__,
        (base,),
        {
            "run": function if bind else staticmethod(function),
            "_is_plain_function": not bind,
            "abstract": False,
            "__doc__": function.__doc__,
            "__name__": function.__name__,  # of the instance: a task is called what its function is called
            "__module__": function.__module__,
            "__annotations__": dict(getattr(function, "__annotations__", {})),
            "__wrapped__": function if bind else staticmethod(function),
            **options,
            **keys,
        },
    )


def is_set_by_class(base: type[Any], option: str) -> bool:
    """Whether `base`, or one of its bases below TaskOptions, sets `option`: it does not have its default alone."""
    return any(option in vars(cls) for cls in base.__mro__ if cls is not TaskOptions)


def annotate(task: Any, annotations: Any) -> None:
    """Apply the setting `task_annotations`: a mapping of names, an object with `annotate(task)`, or a list of these."""
    for entry in annotations if isinstance(annotations, (list, tuple)) else [annotations]:
        if isinstance(entry, Mapping):
            found = {**entry.get("*", {}), **entry.get(task.name, {})}
        elif hasattr(entry, "annotate"):
            found = entry.annotate(task) or {}
        else:
            found = entry(task) or {}
        check_attributes(
            task.app, f"task_annotations for {task.name!r}", type(task), (n.removeprefix("@") for n in found)
        )
        for name, value in found.items():
            if name.removeprefix("@") == CALL:
                _annotate_call(type(task), value, wraps=name != CALL)
            else:
                setattr(task, name.removeprefix("@"), _annotation(task, name, value))


def _annotate_call(cls: type[Any], value: Any, *, wraps: bool) -> None:
    """Set `__call__` of a task's class, where Python looks for it; `wraps`: around the one that is there, once."""
    if wraps:
        inner = getattr(cls.__call__, "__wrapped__", cls.__call__)
        value = value(inner)
        value.__wrapped__ = inner
    cls.__call__ = value


def _annotation(task: Any, name: str, value: Any) -> Any:
    """The value of an annotation as an attribute of `task`: a function is its method; `@name` wraps the present one.

    Raises ImproperlyConfigured for a method that Python does not look for at the task itself.
    """
    wraps, name = name.startswith("@"), name.removeprefix("@")
    if name.startswith("__") and callable(value):
        raise ImproperlyConfigured(
            f"task_annotations for {task.name!r}: {name}() is a method of its class alone: annotate `run` or "
            "`__call__`, or give it a `base=` that has one"
        )
    if wraps:
        value = value(getattr(type(task), name))
    function = isinstance(value, FunctionType) and name not in KEYED  # a key takes the arguments of a call alone
    stays = wraps and isinstance(getattr_static(type(task), name), staticmethod)  # the body of a task without `bind`
    return MethodType(value, task) if function and not stays else value
