"""OPTIONS of the TASKS backend: what a task of Django's cannot say of itself.

    "OPTIONS": {
        "max_retries": 3, "retry_backoff": 2, "time_limit": 60,
        "TASKS": {"shop.tasks.charge": {"unique": True, "retry_on": ["requests.ConnectionError"]}, "mail.*": {...}},
    }

Those under TASKS, by a task's path or a pattern for it, count over those for all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any

import orjson
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from liteq.policy.retry import backoff_s

__all__ = ["TaskOptions", "options_of", "problems"]

PER_TASK = "TASKS"


@dataclass(frozen=True)
class TaskOptions:
    """How the tasks of one backend, or some of them, are run. Times in seconds."""

    max_retries: int = 0
    """How often a failed task runs again."""
    retry_on: Sequence[str | type[BaseException]] = ("builtins.Exception",)
    """Exceptions, or their paths, after which it does."""
    retry_backoff: float = 1.0
    """The delay before the first retry; each later one is twice as long, up to `retry_backoff_max`."""
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True
    """A random part of the delay, so that what failed together does not come back together."""
    time_limit: float | None = None
    """Its process is killed then."""
    soft_time_limit: float | None = None
    """SoftTimeLimitExceeded is raised in it then."""
    expires: float | None = None
    """Not started any more, so long after it was enqueued."""
    unique: bool | str = False
    """True: while one with the same arguments has not finished, `enqueue` returns its result. Or the path of a function
    of the arguments, whose return value is what is to be unique; None: nothing is."""

    def exceptions(self) -> tuple[type[BaseException], ...]:
        """`retry_on`, imported."""
        return tuple(import_string(one) if isinstance(one, str) else one for one in self.retry_on)

    def delay_s(self, retries: int) -> float:
        """Before the next run, after `retries` that failed."""
        delay: float = backoff_s(
            retries, factor=self.retry_backoff, maximum=self.retry_backoff_max, full_jitter=self.retry_jitter
        )
        return delay

    def unique_key(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """The key that no other unfinished message may have."""
        if not self.unique:
            return None
        what = [args, kwargs] if self.unique is True else import_string(self.unique)(*args, **kwargs)
        if what is None:
            return None
        digest = hashlib.sha256(orjson.dumps(what, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return f"django:{path}:{digest}"

    def sending(self) -> dict[str, Any]:
        """The options that a message carries."""
        named = {"time_limit": self.time_limit, "soft_time_limit": self.soft_time_limit, "expires": self.expires}
        return {name: value for name, value in named.items() if value is not None}


NAMES = frozenset(field.name for field in fields(TaskOptions))


def options_of(options: Mapping[str, Any], path: str) -> TaskOptions:
    """The options that OPTIONS give the task at `path`. Raises ImproperlyConfigured for a name that is none."""
    found = replace(TaskOptions(), **_known({name: value for name, value in options.items() if name != PER_TASK}))
    for pattern, more in options.get(PER_TASK, {}).items():
        if fnmatchcase(path, pattern):
            found = replace(found, **_known(more))
    return found


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(options.keys() - NAMES)
    if unknown:
        raise ImproperlyConfigured(
            f"TASKS: there is no option {unknown[0]!r} of liteq's backend; there are {', '.join(sorted(NAMES))}"
        )
    return dict(options)


def problems(options: Mapping[str, Any]) -> list[str]:
    """The problems of OPTIONS, as sentences."""
    found: list[str] = []
    for path in ("", *options.get(PER_TASK, {})):
        try:
            made = options_of({**options, PER_TASK: {"*": options[PER_TASK][path]}} if path else options, path)
            made.exceptions()
            if isinstance(made.unique, str):
                import_string(made.unique)
        except (ImproperlyConfigured, ImportError, TypeError) as exc:
            found.append(str(exc))
            continue
        if made.time_limit and made.soft_time_limit and made.soft_time_limit > made.time_limit:
            found.append(f"soft_time_limit ({made.soft_time_limit} s) is over time_limit ({made.time_limit} s)")
    return found
