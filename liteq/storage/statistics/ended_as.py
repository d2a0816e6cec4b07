"""The outcome of one attempt, as the statistics name it."""

from __future__ import annotations

from liteq.message import Ack, Cancel, DeadLetter, Flag, Lease, Outcome, Release, Replace, RetryAt
from liteq.serialization import decode_error

__all__ = ["ACKNOWLEDGED", "ended_as"]

ACKNOWLEDGED = ("succeeded", "")


def ended_as(lease: Lease, outcome: Outcome, max_crashes: int) -> tuple[str, str] | None:
    """The outcome of one attempt as the statistics name it, and the exception's name or ""; None for what is no end."""
    match outcome:
        case Ack() | Replace():
            return ACKNOWLEDGED
        case RetryAt(error=error):
            return "retried", _exception(outcome.cause, error)
        case DeadLetter(error):
            name = _exception(outcome.cause, error)
            return ("rejected", "") if name == "Reject" else ("failed", name)
        case Release(crashed=True, error=error):
            again = lease.crashes + 1 < max_crashes and not lease.flags & Flag.EARLY_ACK
            return "crashed" if again else "failed", _exception(None, error)
        case Release(error=error) if error is not None:
            return "rejected", ""
        case Cancel(error):
            return "expired" if error is not None and decode_error(error).message == "expired" else "cancelled", ""
    return None


def _exception(cause: tuple[str, ...] | None, error: bytes | None) -> str:
    if cause is not None:
        return cause[1]
    return "" if error is None else decode_error(error).type
