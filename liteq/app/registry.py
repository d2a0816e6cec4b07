"""The tasks of an app, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liteq.exceptions import NotRegistered

__all__ = ["TaskRegistry"]


class TaskRegistry(dict[str, Any]):
    """A dict of tasks. A name that is missing raises NotRegistered, which names those that look like it."""

    NotRegistered = NotRegistered

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.finders: list[Callable[[str], Any]] = []
        """Asked in turn for a task that is missing: from its name to the task, None where they know none."""

    def __missing__(self, key: str) -> Any:
        found = self.find(key)
        if found is None:
            raise NotRegistered(key, self)
        return found

    def find(self, name: str) -> Any:
        """The task called `name`, by way of `finders` where it is not registered; None where there is none."""
        found = self.get(name)
        for finder in self.finders:
            if found is None:
                found = finder(name)
        return found

    def register(self, task: Any) -> None:
        """Add `task`, an instance or a class, under its name."""
        task = task() if isinstance(task, type) else task
        if task.name is None:
            raise ValueError(f"a task class needs a name: {type(task).__name__}.name = 'app.module.name'")
        self[task.name] = task

    def unregister(self, name: Any) -> None:
        """Remove a task, given as such or by name. Raises NotRegistered."""
        name = getattr(name, "name", name)
        if name not in self:
            raise NotRegistered(name, self)
        del self[name]

    def regular(self) -> dict[str, Any]:
        """The tasks that run once when sent."""
        return self.filter_types("regular")

    def periodic(self) -> dict[str, Any]:
        return self.filter_types("periodic")

    def filter_types(self, type: str) -> dict[str, Any]:
        return {name: task for name, task in self.items() if getattr(task, "type", "regular") == type}
