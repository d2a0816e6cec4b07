"""A child of the prefork pool as its parent sees it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from liteq.message import Cancel
from liteq.worker.pool.page import Page
from liteq.worker.pool.prefork.channel import Channel
from liteq.worker.pool.prefork.ends import reason
from liteq.worker.pool.prefork.handle import Handle


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Handle]:
    """A handle on this process, to which it sends no signal."""
    monkeypatch.setattr(os, "kill", lambda _pid, _signum: None)
    channel = Channel.open()
    channel.keep_ours()
    handle = Handle(os.getpid(), channel.ours, channel.permits_out, channel.permits_in, Page(shared=False))
    yield handle
    handle.close()


@pytest.mark.parametrize(("signum", "why"), [(signal.SIGTERM, "terminated"), (signal.SIGUSR1, "crash")])
def test_a_soft_limit_by_signal_is_no_reason_for_an_end_that_comes_later(child, signum, why):
    """Each later crash of that process was counted, and logged, as if somebody had asked for it."""
    child.terminate(7, signum, lambda _lease: Cancel())
    assert reason(child, -signal.SIGSEGV) == why
