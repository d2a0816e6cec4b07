"""Options of a call that make no sense: refused where they are said, with what they should be."""

from __future__ import annotations

from datetime import timedelta

import pytest

from liteq import LiteQ, chain
from liteq.worker.limits import SoftLimit

NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture
def app():
    app = LiteQ("proj", broker="sqlite:///queue.db")
    yield app
    app.close()


@pytest.mark.parametrize("seconds", [NAN, INFINITY, -INFINITY, 1e300, timedelta.max])
@pytest.mark.parametrize("option", ["countdown", "expires"])
def test_a_time_that_there_is_not(app, option, seconds):
    @app.task
    def add(x, y):
        return x + y

    for send in (add.apply_async, lambda args, **options: chain(add.s(*args), add.si(1, 2).set(**options)).delay()):
        with pytest.raises(ValueError, match="a number of seconds, a thousand years at most"):
            send((1, 2), **{option: seconds})


@pytest.mark.parametrize(
    ("limit", "error"), [("60", TypeError), (True, TypeError), (-1, ValueError), (NAN, ValueError)]
)
@pytest.mark.parametrize("option", ["time_limit", "soft_time_limit"])
def test_a_time_limit_that_is_none(app, option, limit, error):
    """It would fail, or kill, the task each time it runs."""

    @app.task
    def add(x, y):
        return x + y

    with pytest.raises(error, match=f"^{option} is a number of seconds"):
        add.apply_async((1, 2), **{option: limit})


def test_the_longest_soft_limit_is_one_that_the_timer_takes():
    with SoftLimit(1_000 * 366 * 86_400):
        pass
