"""From a function to a task."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from liteq.app.options import TaskOptions

__all__ = ["generate_name", "said_by_class", "task_class_of"]


def generate_name(main: str | None, name: str, module: str | None) -> str:
    """`module.name`, as Celery names tasks; in a module that is run as a script, the app's `main` stands for it."""
    module = module or "__main__"
    found = sys.modules.get(module)
    if found is not None:
        module = found.__name__
    if module == "__main__" and main:
        return f"{main}.{name}"
    return f"{module}.{name}" if module else name


def task_class_of(function: Callable[..., Any], base: type[Any], *, bind: bool, options: Mapping[str, Any]) -> Any:
    """A subclass of `base` whose body is `function`; `bind`: it takes the task as its first argument."""
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
            "__wrapped__": staticmethod(function),
            **options,
        },
    )


def said_by_class(base: type[Any], option: str) -> bool:
    """Whether `base`, or a class that it is made of, says what `option` is: it does not have its default alone."""
    return any(option in vars(cls) for cls in base.__mro__ if cls is not TaskOptions)
