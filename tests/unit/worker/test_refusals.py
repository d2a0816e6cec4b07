"""Reports of a storage that refuses: the same trouble is told once, however many outcomes wait for it."""

from __future__ import annotations

import logging

import pytest

from liteq.exceptions import StorageUnavailable
from liteq.utils.lines import Repeated
from liteq.worker.apart import refusal


def test_a_worker_that_is_to_leave_tells_once_why_it_stays(caplog: pytest.LogCaptureFixture) -> None:
    report, trouble = Repeated(logging.getLogger("liteq.refusals")).report, StorageUnavailable("the server is away")
    for keep in (12, 11, 1):
        report(logging.ERROR, refusal(trouble, keep=keep))
    (line,) = caplog.messages
    assert "12 outcomes wait" in line
    assert line.endswith("the server is away")
