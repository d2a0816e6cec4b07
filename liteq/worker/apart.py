"""A batch of outcomes that the storage has refused: each by itself, so that a bad one holds up no other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from liteq.exceptions import StorageError
from liteq.message import DeadLetter, Lease, Outcome, Ran
from liteq.serialization import encode_error
from liteq.storage.storage import Storage
from liteq.storage.turn import passes

__all__ = ["settle_apart"]

logger = logging.getLogger("liteq.worker")


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
