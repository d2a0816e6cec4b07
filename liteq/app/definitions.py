"""From a function to a task, and the setting that changes tasks from outside of their code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from liteq.app.options import TaskOptions

__all__ = ["annotate", "generate_name", "is_set_by_class", "task_class_of"]


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
        for name, value in found.items():
            setattr(task, name.removeprefix("@"), value)
