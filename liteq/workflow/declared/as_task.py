"""The attributes that a workflow has because it is among the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liteq.context import App

__all__ = ["AsATask"]


class AsATask:
    """The attributes of a task, as the rooms that send, route and show tasks read them."""

    is_workflow = True
    typing = True
    checks_by_count = abstract = False
    exchange = routing_key = expires = time_limit = soft_time_limit = rate_limit = global_rate_limit = None
    rate_key = None
    serializer = "json"
    compression = None
    ignore_result = track_started = store_errors_even_if_ignored = store_eager_result = pydantic = trail = False
    acks_late = send_events = acks_on_failure_or_timeout = True
    reject_on_worker_lost = None
    autoretry_for: tuple[Any, ...] = ()
    throws: tuple[Any, ...] = ()
    max_retries = 0
    default_retry_delay = 0
    resultrepr_maxsize = 1024
    overrides_sending = False
    type = "regular"

    def forget_plan(self) -> None:
        """Nothing is derived from its settings."""

    def takes_failure(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> bool:
        """As an errback it is called with the id of the failed message."""
        return False

    def on_bound(self, app: App) -> None:
        """Called when it is bound to an app."""
