"""When a failed task runs again: pure decisions. Celery's rules, and its names for them."""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from liteq.exceptions import TaskPredicate
from liteq.utils.durations import numeric_s
from liteq.utils.records import dataclass

__all__ = ["RetryPolicy", "backoff_s", "decide", "exhausted", "is_retried", "retry_options"]

ExceptionClasses = tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A task's options for `autoretry_for`; delays are in seconds, `max_retries` None means for ever."""

    max_retries: int | None = 3
    default_retry_delay: float = 180
    autoretry_for: ExceptionClasses = ()
    dont_autoretry_for: ExceptionClasses = ()
    retry_backoff: float = False  # True is a factor of one second
    retry_backoff_max: float = 600
    retry_jitter: bool = True
    retry_kwargs: Mapping[str, Any] = field(default_factory=dict)  # what these automatic ones call `retry()` with

    @classmethod
    def of(cls, task: Any) -> RetryPolicy:
        """The policy that the attributes of `task` spell out; a missing one has its default."""
        found = {name: getattr(task, name) for name in cls.__slots__ if hasattr(task, name)}
        for name in ("autoretry_for", "dont_autoretry_for"):
            classes = found.get(name) or ()
            found[name] = (classes,) if isinstance(classes, type) else tuple(classes)
        for name in ("default_retry_delay", "retry_backoff", "retry_backoff_max"):
            if not isinstance(found.get(name), (int, float, type(None))):  # True is one of the numbers
                found[name] = numeric_s(found[name], name)
        found["retry_kwargs"] = found.get("retry_kwargs") or {}
        return cls(**found)


def backoff_s(
    retries: int,
    *,
    factor: float,
    maximum: float,
    full_jitter: bool = False,
    random: Callable[[float, float], float] = _random.uniform,
) -> float:
    """Seconds before the next try, `retries` having been made: `factor * 2 ** retries`, at most `maximum`.

    With `full_jitter` anything from 0 up to that, so that tasks which failed together do not come back together.
    """
    delay = max(0.0, min(float(maximum), factor * 2.0 ** min(retries, 64)))  # 2**64 s is past any maximum
    return random(0.0, delay) if full_jitter else delay


def exhausted(retries: int, max_retries: int | None) -> bool:
    """True when a task that was retried `retries` times may not be once more."""
    return max_retries is not None and retries >= max_retries


def decide(
    exc: BaseException,
    *,
    retries: int,
    policy: RetryPolicy,
    random: Callable[[float, float], float] = _random.uniform,
) -> float | None:
    """Seconds to wait before a task that raised `exc` runs again by itself; None when it has failed for good."""
    asked = policy.retry_kwargs.get("max_retries")  # None there is as if nothing was said, as in Celery
    if not is_retried(exc, policy) or exhausted(retries, policy.max_retries if asked is None else asked):
        return None
    asked = retry_options(retries, policy=policy, random=random).get("countdown")
    return numeric_s((policy.default_retry_delay if asked is None else asked) or 0, "the countdown of a retry")


def is_retried(exc: BaseException, policy: RetryPolicy) -> bool:
    """Whether a task that raised `exc` is one that runs again by itself, some times."""
    unwanted: ExceptionClasses = (TaskPredicate, *policy.dont_autoretry_for)
    return isinstance(exc, policy.autoretry_for) and not isinstance(exc, unwanted)


def retry_options(
    retries: int, *, policy: RetryPolicy, random: Callable[[float, float], float] = _random.uniform
) -> dict[str, Any]:
    """The options that such a task would call `retry()` with: `retry_kwargs`, and a `countdown` where it backs off."""
    if not policy.retry_backoff:
        return dict(policy.retry_kwargs)
    countdown = backoff_s(
        retries,
        factor=max(1.0, float(policy.retry_backoff)),
        maximum=policy.retry_backoff_max,
        full_jitter=policy.retry_jitter,
        random=random,
    )
    return {**policy.retry_kwargs, "countdown": countdown}
