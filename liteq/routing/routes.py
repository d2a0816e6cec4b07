"""Which queue a task goes to: `task_routes`, and what stands in for kombu's Queue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import translate
from functools import partial
from typing import Any

from liteq.exceptions import ImproperlyConfigured
from liteq.settings import import_object
from liteq.utils.misspelt import Asked

__all__ = ["Router", "queue_name"]

Rule = Callable[..., Any]


def queue_name(queue: Any) -> str | None:
    """The name of a queue given as a string or as an object with a `name`."""
    if queue is None or isinstance(queue, str):
        return queue
    name = getattr(queue, "name", None)
    if not isinstance(name, str):
        raise ImproperlyConfigured(f"a queue is a name or has one, {queue!r} does not")
    return name


class _Map:
    """One mapping of `task_routes`: exact names first, then globs and regular expressions in their order."""

    def __init__(self, routes: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> None:
        items = routes.items() if isinstance(routes, Mapping) else routes
        self.exact: dict[str, Any] = {}
        self.patterns: list[tuple[re.Pattern[str], Any]] = []
        for key, route in items:
            if isinstance(key, re.Pattern):
                self.patterns.append((key, route))
            elif "*" in key or "?" in key or "[" in key:
                self.patterns.append((re.compile(translate(key)), route))
            else:
                self.exact[key] = route

    def __call__(self, name: str) -> Any:
        if name in self.exact:
            return self.exact[name]
        return next((route for pattern, route in self.patterns if pattern.match(name)), None)


def _ask(route_for_task: Rule, name: str, args: Any, kwargs: Any, _options: Any, **_task: Any) -> Any:
    """A router of the old kind is told no more than the name and the arguments, as by Celery."""
    return route_for_task(name, args, kwargs)


def _is_pair(rule: Any) -> bool:
    """Whether `rule` is (pattern, route), not a list of two such pairs: Celery's manual writes `([...],)`."""
    return isinstance(rule, (list, tuple)) and len(rule) == 2 and isinstance(rule[0], (str, re.Pattern))


class Router:
    """`task_routes` made ready: a mapping, a function, a path to one, or a list of these, asked in order."""

    def __init__(self, routes: Any) -> None:
        self._rules = list(self._prepare(routes))
        self.is_static = all(isinstance(rule, _Map) for rule in self._rules)
        """Whether a task's name alone decides, so that the answer may be kept."""

    def _prepare(self, routes: Any) -> Iterator[Rule]:
        if not routes:
            return
        if isinstance(routes, Mapping):
            yield _Map(routes)
        elif isinstance(routes, str):
            yield from self._prepare(import_object(routes))
        elif isinstance(routes, type):
            yield from self._prepare(routes())
        elif hasattr(routes, "route_for_task"):
            yield partial(_ask, routes.route_for_task)
        elif callable(routes):
            yield routes
        elif isinstance(routes, (list, tuple)):
            if all(map(_is_pair, routes)):
                yield _Map(routes)
            else:
                for route in routes:
                    yield from self._prepare(route)
        else:
            raise ImproperlyConfigured(f"task_routes: a mapping, a function, a path or a list of these, not {routes!r}")

    def route(
        self, name: str, args: Any = (), kwargs: Any = None, options: Mapping[str, Any] | None = None, task: Any = None
    ) -> dict[str, Any]:
        """The options that the routes give a task, `{"queue": ...}`; {} when no route speaks of it."""
        for rule in self._rules:
            given = options if isinstance(options, Asked) else dict(options or {})
            found = rule(name) if isinstance(rule, _Map) else rule(name, args, kwargs, given, task=task)
            if found is not None:
                return {"queue": found} if isinstance(found, str) or not isinstance(found, Mapping) else dict(found)
        return {}
