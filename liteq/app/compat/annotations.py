"""The setting `task_annotations`: options of tasks, from outside of their code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["annotate"]


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
