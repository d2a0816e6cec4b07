"""For tests of a Django project."""

from __future__ import annotations

from collections.abc import Sequence

from liteq import testing
from liteq_django.project import default_app

__all__ = ["drain"]


def drain(queues: Sequence[str] | None = None) -> int:
    """Run what was sent and is due, in this process and on the test's own connection; how many tasks.

    In a `TestCase`, whose transaction is never committed, this is how the tasks of the code under test get to run.
    """
    return testing.drain(default_app(), queues)
