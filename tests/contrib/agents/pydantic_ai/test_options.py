"""Options of the capabilities that are none: refused where they are made, with the nearest name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from liteq_pydantic_ai import Approvals, LiteQDurability


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LiteQDurability(retry=5), "did you mean 'retries'"),
        (lambda: LiteQDurability(retries=-1), "from 0, not -1"),
        (lambda: LiteQDurability(memo="soon"), "a number with a unit"),
        (lambda: LiteQDurability(parallel="paralel"), "parallel is one of parallel, sequential"),
        (lambda: LiteQDurability(stall=1), "a number from 2"),
        (lambda: Approvals(timeot="2d"), "did you mean 'timeout'"),
        (lambda: Approvals(timeout="soon"), "the timeout of Approvals is a number with a unit"),
        (lambda: Approvals(remind=0), "the remind of Approvals must be longer than 0"),
        (lambda: Approvals(default="no"), "default is True, False or None"),
    ],
)
def test_an_option_that_is_none_is_refused(make: Callable[[], Any], said: str):
    with pytest.raises((TypeError, ValueError), match=said):
        make()
