"""The fork server as its worker sees it."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterator

import pytest

from liteq.worker.pool.prefork.server import KILLED, ForkServer


@pytest.fixture
def high_descriptor() -> Iterator[int]:
    """One above 1,023, as a worker of some hundred processes has them; it is readable, as that of an ended process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_048:
        pytest.skip("no process here may have so many descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_048), hard))
    reading, writing = os.pipe()
    os.close(writing)
    high = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, 1_500)
    yield high
    os.close(high)
    os.close(reading)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_end_of_a_child_is_asked_for_by_any_descriptor(high_descriptor):
    assert ForkServer(-1, "here").status_of(1, high_descriptor) == KILLED
