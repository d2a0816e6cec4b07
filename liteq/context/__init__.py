"""The surroundings of the code that runs now: the current app, the running task, its request."""

from __future__ import annotations

from liteq.context.app import App, Sender
from liteq.context.apps import (
    active_apps,
    announce_app,
    announce_finalized,
    connect_on_app_finalize,
    current_app,
    get_current_app,
    set_app_here,
    set_current_app,
    set_default_app,
    set_fallback_app,
    swap_apps,
)
from liteq.context.compat.graph import Following
from liteq.context.integration import Around, Integration, Integrations, RunCoroutine
from liteq.context.observing import Observer
from liteq.context.request import Request
from liteq.context.running import (
    LEAVING,
    Frame,
    RequestStack,
    allow_join_result,
    assert_will_not_block,
    current_frame,
    current_request,
    current_task,
    denied_join_result,
    enter,
    get_current_task,
    in_workflow_body,
    leave,
    pop,
    request_of,
    worker_request,
    worker_task,
    workflow_here,
)

__all__ = [
    "LEAVING",
    "App",
    "Around",
    "Frame",
    "Integration",
    "Integrations",
    "Observer",
    "Request",
    "RequestStack",
    "RunCoroutine",
    "Sender",
    "active_apps",
    "allow_join_result",
    "announce_app",
    "announce_finalized",
    "assert_will_not_block",
    "connect_on_app_finalize",
    "current_app",
    "current_frame",
    "current_request",
    "current_task",
    "denied_join_result",
    "enter",
    "get_current_app",
    "get_current_task",
    "in_workflow_body",
    "leave",
    "pop",
    "request_of",
    "set_app_here",
    "set_current_app",
    "set_default_app",
    "set_fallback_app",
    "swap_apps",
    "worker_request",
    "worker_task",
    "workflow_here",
]

Request.following = Following
