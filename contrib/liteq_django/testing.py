"""For tests of a Django project."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from liteq import testing
from liteq_django.outbox import OutboxStorage
from liteq_django.project import default_app
from liteq_django.transaction import inside_atomic

__all__ = ["drain"]


def drain(queues: Sequence[str] | None = None) -> int:
    """Run what was sent and is due, in this process and on the test's own connection; how many tasks.

    In a `TestCase`, whose transaction is never committed, this is how the tasks of the code under test get to run.
    It warns where they wait in the outbox for that commit.
    """
    done = testing.drain(default_app(), queues)
    if done == 0 and (n := _held_back()):
        warnings.warn(
            f"drain() ran nothing: what was sent waits in the outbox ({n} entries) for the commit of the test's "
            "transaction. Send it inside captureOnCommitCallbacks(execute=True), or have the queue of tests in their "
            "database: LITEQ = {'DATABASE': 'default'}",
            stacklevel=2,
        )
    return done


def _held_back() -> int:
    """The number of entries in the outbox that wait for the commit of this thread's transaction."""
    storage = default_app().storage
    if not isinstance(storage, OutboxStorage) or not inside_atomic(storage.using):
        return 0
    return len(storage.undelivered())
