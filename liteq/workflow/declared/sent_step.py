"""The options of one call of a step that is sent: a part of its message, and of the step where it runs."""

from __future__ import annotations

from typing import Any

from liteq.exceptions import NotSerializable, WorkflowError
from liteq.serialization import decode, encode
from liteq.workflow.declared.step import KEEP, Step

__all__ = ["as_sent", "to_send"]

SENT = "step"  # among the options of a message
OF_THE_ROW = frozenset({"key", "queue", "priority"})  # they are there already


def to_send(step: Step[Any, Any]) -> bytes | None:
    """The options that `step` has beside those of its declaration, as JSON for a message; None where it has none.

    Raises WorkflowError for one that is a function, which stays in this process.
    """
    own = {
        name: value
        for name, value in step.given.items()
        if name not in OF_THE_ROW and step.declared.get(name, KEEP) is not value
    }
    if not own:
        return None
    own |= {"timeout": step.timeout_s} if own.get("timeout") is not None else {}
    own |= {"backoff": step.backoff} if "backoff" in own else {}
    for name, value in own.items():
        try:
            encode(value, what=name)
        except NotSerializable:
            raise WorkflowError(
                f"{step.what}: {name}={value!r} cannot go with it to another process: give it to @app.step, or call "
                "the step in the body instead of sending it"
            ) from None
    return encode({SENT: own}, what="the options of a step")


def as_sent(step: Step[Any, Any], options: bytes) -> Step[Any, Any]:
    """`step` with the options that a message of it brings."""
    own = decode(options).get(SENT)
    if own is None:
        return step
    if isinstance(own.get("backoff"), list):
        own["backoff"] = tuple(own["backoff"])
    return step.having(own)
