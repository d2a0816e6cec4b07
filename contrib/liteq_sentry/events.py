"""Events about tasks: what they tell of the task, and that they quote none of its sensitive arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sentry_sdk
from sentry_sdk.scope import should_send_default_pii
from sentry_sdk.utils import event_from_exception

from liteq.context import App
from liteq.context.display import redacted
from liteq.context.secrets import hider_of
from liteq.exceptions import SoftTimeLimitExceeded

__all__ = ["capture", "processor"]

FILTERED = "[Filtered]"  # as the SDK writes it


def processor(app: App, task: Any, request: Any) -> Callable[[Any, Any], Any]:
    """The function that adds to an event what is known of the execution in which it happened."""

    def process(event: Any, hint: Any) -> Any:
        hide = hider_of(request)
        tags = event.setdefault("tags", {})
        tags |= {"liteq_task_id": request.id, "liteq_task": task.name}
        args: Any = FILTERED
        kwargs: Any = FILTERED
        if should_send_default_pii():
            args, kwargs = redacted(app, task.name, request.args or (), request.kwargs or {})
        lease = request._lease
        event.setdefault("extra", {})["liteq-job"] = {
            "task_name": task.name, "task_id": request.id, "args": args, "kwargs": kwargs,
            "attempt": request.retries + 1, "crashes": request.crashes if lease is None else lease.crashes,
            "queue": None if lease is None else lease.queue, "root_id": request.root_id,
        }  # fmt: skip
        if isinstance((hint.get("exc_info") or (None, None))[1], SoftTimeLimitExceeded):
            event["fingerprint"] = ["liteq", "SoftTimeLimitExceeded", task.name]
        if hide is not None:
            for part in ("exception", "breadcrumbs", "logentry", "message"):
                if part in event:
                    event[part] = _hidden_in(event[part], hide)
        return event

    return process


def capture(exc: BaseException) -> None:
    """Report an error that nobody has handled."""
    event, hint = event_from_exception(
        exc, client_options=sentry_sdk.get_client().options, mechanism={"type": "liteq", "handled": False}
    )
    sentry_sdk.capture_event(event, hint=hint)


def _hidden_in(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {key: _hidden_in(one, hide) for key, one in value.items()}
    return [_hidden_in(one, hide) for one in value] if isinstance(value, (list, tuple)) else value
