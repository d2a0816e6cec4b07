"""The outcome of a task that met a limit outside: it is held, with its key, and no attempt is counted."""

from __future__ import annotations

import logging
from typing import Any

from liteq import states
from liteq.clock import Clock
from liteq.context import Request
from liteq.exceptions import RateLimited
from liteq.execution.hushed import quoted
from liteq.execution.plan import ExceptionInfo, Executed
from liteq.message import Limited
from liteq.policy.limited import later_of
from liteq.serialization import encode_error

__all__ = ["EAGER_TRIES", "held_back"]

logger = logging.getLogger("liteq.execution")

EAGER_TRIES = 10  # of a call that is run here: nobody waits, and an API that never yields would never let it end


def held_back(task: Any, request: Request, exc: Exception, clock: Clock) -> Executed | None:
    """The end of an execution that `exc` left with the wish to come later; None where it says no such thing.

    An error of a class in `dont_autoretry_for` is what the task says it is: a failure.
    """
    later = later_of(exc, clock.now_ms())
    if later is None:
        return None
    plan = task.plan.member
    if plan.policy is not None and not isinstance(exc, RateLimited) and isinstance(exc, plan.policy.dont_autoretry_for):
        return None
    whose = "" if later.key is None else f", and all of {later.key!r}"
    text = "Task %s[%s] waits for %.3g s%s: %.1000s"
    logger.info(text, task.name, request.id, later.wait_s, whose, quoted(exc), extra={"outcome": "limited"})
    einfo = ExceptionInfo(exc)
    error = encode_error(exc, einfo.traceback, max_traceback_bytes=plan.error_limit)
    return Executed(Limited(int(later.wait_s * 1000), later.key, error), states.RETRY, None, exc, einfo)
