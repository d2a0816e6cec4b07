"""The form of messages between a worker's parent and its children: length-prefixed frames of marshalled tuples.

`marshal` is the fastest codec for tuples of bytes, strings and numbers, and both ends are one interpreter: a child is
a fork of its parent. Nothing that a user or another process wrote is ever unmarshalled, only frames of our own pipe.
"""

from __future__ import annotations

import marshal
from operator import attrgetter
from typing import Any, assert_never

from liteq.execution.together import Each
from liteq.message import (
    Ack,
    Cancel,
    ContinueAsNew,
    DeadLetter,
    Limited,
    Outcome,
    Park,
    Release,
    Replace,
    RetryAt,
    StepRow,
    Suspend,
)
from liteq.serialization.batch import dump_batch, load_batch

__all__ = ["LEFT_BEHIND", "RETIRING", "STARTED", "STOPPED", "Frames", "frame", "pack", "unpack"]

HEAD = 4  # bytes of a frame's length, little-endian

ACK, RETRY, DEAD, RELEASE, CANCEL, REPLACE, STARTED, LEFT_BEHIND, SUSPEND, CONTINUE, PARK, LIMITED, EACH = range(13)
RETRY_VALUES = attrgetter(*RetryAt.__match_args__)
RETIRING, STOPPED = 13, 14  # of a child that begins no more, and of a task that was stopped as the parent has asked


def frame(value: Any) -> bytes:
    """`value` as one frame."""
    body = marshal.dumps(value)
    return len(body).to_bytes(HEAD, "little") + body


class Frames:
    """The frames in a stream of bytes that arrives in pieces of any size."""

    def __init__(self) -> None:
        self._rest = bytearray()  # of a frame of which the end has not come

    def feed(self, data: bytes | bytearray | memoryview) -> list[Any]:
        """The values of the frames that `data` completes. They hold nothing of `data`."""
        rest = self._rest
        if rest:
            rest += data
            values, at = _values(memoryview(rest))
            del rest[:at]
        else:  # most frames come whole, and are read where they are
            values, at = _values(memoryview(data))
            rest += data[at:]
        return values


def _values(view: memoryview) -> tuple[list[Any], int]:
    """The values of the whole frames at the beginning of `view`, and where they end."""
    values, at, end = [], 0, len(view)
    with view:
        while end - at >= HEAD:
            start = at + HEAD
            size = int.from_bytes(view[at:start], "little")
            if end - start < size:
                break
            values.append(marshal.loads(view[start : start + size]))
            at = start + size
    return values, at


def pack(outcome: Outcome) -> tuple[Any, ...]:
    """`outcome` as a tuple of plain values."""
    if isinstance(outcome, Ack):  # nearly all: quicker than by a pattern
        return (ACK, outcome.result)
    match outcome:
        case RetryAt():
            return (RETRY, *RETRY_VALUES(outcome))
        case DeadLetter(error, cause):
            return (DEAD, error, cause)
        case Each():
            return (EACH, [pack(one) for one in outcome.outcomes])
        case Release(crashed, error, pause_ms, options, elsewhere):
            return (RELEASE, crashed, error, pause_ms, options, elsewhere)
        case Cancel(error):
            return (CANCEL, error)
        case Replace(batch, awaits):
            return (REPLACE, dump_batch(batch), awaits)
        case Suspend(rows, due_ms, need, seen, fragile, marks):
            return (SUSPEND, [tuple(row) for row in rows], due_ms, need, tuple(seen), fragile, marks)
        case ContinueAsNew(payload):
            return (CONTINUE, payload)
        case Park(state, error, fingerprint, progressed):
            return (PARK, state, error, fingerprint, progressed)
        case Limited(pause_ms, key, error):
            return (LIMITED, pause_ms, key, error)
        case _:
            assert_never(outcome)


def unpack(kind: int, fields: tuple[Any, ...]) -> Outcome:
    """The outcome that `pack` made a tuple of: `kind` is its first element, `fields` the rest."""
    if kind == ACK:
        return Ack(*fields)
    if kind == RETRY:
        return RetryAt(*fields)
    if kind == DEAD:
        return DeadLetter(*fields)
    if kind == RELEASE:
        return Release(*fields)
    if kind == STOPPED:
        return Release()
    if kind == CANCEL:
        return Cancel(*fields)
    if kind == SUSPEND:
        rows, *rest = fields
        return Suspend([StepRow._make(row) for row in rows], *rest)
    if kind == CONTINUE:
        return ContinueAsNew(*fields)
    if kind == PARK:
        return Park(*fields)
    if kind == LIMITED:
        return Limited(*fields)
    if kind == EACH:
        return Each([unpack(one, tuple(rest)) for one, *rest in fields[0]])
    batch, awaits = fields
    return Replace(load_batch(batch), awaits)
