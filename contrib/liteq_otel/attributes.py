"""The attributes of spans, by the messaging conventions of OpenTelemetry and, below `liteq.`, of liteq's own."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.semconv._incubating.attributes import messaging_attributes as names
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE

from liteq.message import (
    Ack,
    Cancel,
    ContinueAsNew,
    DeadLetter,
    Flag,
    Lease,
    Limited,
    Message,
    Release,
    Replace,
    RetryAt,
    Suspend,
)

__all__ = ["ERROR_TYPE", "OUTCOMES", "STEP", "common", "names", "of_message", "with_older"]

SYSTEM = "liteq"
RUN_ID, WORKFLOW, STEP = "liteq.workflow.run_id", "liteq.workflow.name", "liteq.workflow.declared.step"
OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"

OUTCOMES: dict[type[Any], str] = {  # the values of `liteq.outcome`; a parked run's is its state
    Ack: "succeeded",
    RetryAt: "retried",
    DeadLetter: "failed",
    Release: "released",
    Limited: "limited",
    Cancel: "cancelled",
    Replace: "replaced",
    Suspend: "waits",
    ContinueAsNew: "begins anew",
}


def common(operation: str, kind: str, queue: str | None) -> dict[str, Any]:
    """The attributes that spans and metrics share; `kind` is the operation in the convention's words."""
    found = {names.MESSAGING_SYSTEM: SYSTEM, names.MESSAGING_OPERATION_NAME: operation}
    found[names.MESSAGING_OPERATION_TYPE] = kind
    if queue is not None:
        found[names.MESSAGING_DESTINATION_NAME] = queue
    return found


def of_message(message: Message | Lease) -> dict[str, Any]:
    """The attributes of a message, sent or claimed."""
    found: dict[str, Any] = {
        names.MESSAGING_MESSAGE_ID: message.id,
        names.MESSAGING_MESSAGE_CONVERSATION_ID: message.root_id or message.id,
        names.MESSAGING_MESSAGE_BODY_SIZE: len(message.payload),
        "liteq.task.name": message.task,
        "liteq.priority": message.priority,
    }
    if message.group_id is not None:
        found["liteq.group.id"] = message.group_id
    if message.flags & Flag.STEP:
        found |= {RUN_ID: message.parent_id or message.id, STEP: message.task}
    elif message.flags & Flag.RUN:
        found |= {RUN_ID: message.id, WORKFLOW: message.task}
    return found


def with_older(found: dict[str, Any]) -> dict[str, Any]:
    """`found`, and with OTEL_SEMCONV_STABILITY_OPT_IN=messaging/dup the names of the conventions before them too.

    These are those that OpenTelemetry's instrumentation of Celery writes, so that boards made for it go on.
    """
    if "messaging/dup" not in (one.strip() for one in os.environ.get(OPT_IN, "").split(",")):
        return found
    kind = found[names.MESSAGING_OPERATION_TYPE]
    older = {names.MESSAGING_OPERATION: "publish" if kind == "send" else kind, "messaging.destination_kind": "queue"}
    if names.MESSAGING_DESTINATION_NAME in found:
        older["messaging.destination"] = found[names.MESSAGING_DESTINATION_NAME]
    if names.MESSAGING_MESSAGE_ID in found:
        older["messaging.message_id"] = found[names.MESSAGING_MESSAGE_ID]
    return {**found, **older}
