"""Set apart, so that they hold up no other: outcomes that the storage refuses, messages that cannot be opened."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from liteq.exceptions import StorageError
from liteq.message import DeadLetter, Lease, Outcome, Ran, Release
from liteq.serialization import encode_error
from liteq.serialization.sealing import unopened
from liteq.serialization.tags import SEAL
from liteq.storage.claiming.turn import passes
from liteq.storage.storage import Storage

__all__ = ["put_off_unopened", "refusal", "settle_apart"]

logger = logging.getLogger("liteq.worker")

UNOPENED_MS = 10_000  # until a message that could not be opened is offered again, to any worker


def refusal(exc: Exception, *, keep: int) -> str:
    """A sentence about a storage that refuses; `keep`: how many outcomes a worker that is to leave has yet to store."""
    if not keep:
        return f"the queue cannot be used at the moment, trying again: {exc}"
    wait = "1 outcome waits" if keep == 1 else f"{keep} outcomes wait"
    return (  # the number, which differs each time, is behind what the log knows a report by (utils/lines.py)
        "this worker leaves when its outcomes are stored; SIGQUIT ends it at once, and what has ended runs again; "
        f"{wait}: the queue cannot be used at the moment: {exc}"
    )


def settle_apart(
    storage: Storage, outcomes: Sequence[tuple[Lease, Outcome]], ran: Mapping[int, Ran]
) -> list[tuple[Lease, Outcome]]:
    """Settle `outcomes` one by one. One that is to blame becomes a dead letter that says why.

    Returns those that cannot be stored now. `ran` as of `Storage.turn`.
    """
    left = []
    for lease, outcome in outcomes:
        try:
            storage.settle([(lease, outcome)], ran=ran)
        except Exception as exc:
            if passes(exc):
                left.append((lease, outcome))
                continue
            try:
                storage.settle([(lease, DeadLetter(encode_error(exc)))])
            except StorageError:
                left.append((lease, outcome))
            except Exception:  # the row itself is to blame: the loop buries it when it meets it
                logger.exception("the outcome of %s[%s] cannot be stored", lease.task, lease.id)
    return left


def put_off_unopened(leases: list[Lease]) -> list[tuple[Lease, Outcome]]:
    """Those of `leases` that are still sealed (storage/sealed.py), each with its way back into the queue.

    This worker lacks their key, or the codec. They wait, whole and uncounted, for one that has it, or gets it.
    """
    found = [(one, value) for one in leases if (value := _sealed_of(one)) is not None]
    if found:
        text = "%s[%s]%s put off for %g s: %s"
        first, value = found[0]
        more = f" and {len(found) - 1} more are" if len(found) > 1 else " is"
        logger.error(text, first.task, first.id, more, UNOPENED_MS / 1000, unopened(value))
    return [(one, Release(pause_ms=UNOPENED_MS, options=one.options, elsewhere=True)) for one, _ in found]


def _sealed_of(lease: Lease) -> bytes | None:
    """The first value of `lease` that is still sealed."""
    values = (lease.payload, lease.options, lease.input)
    return next((value for value in values if value is not None and value.startswith(SEAL)), None)
