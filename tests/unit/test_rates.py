"""Rates as Celery writes them, and the bucket that keeps one."""

from __future__ import annotations

import pytest

from liteq.policy.rates import Bucket, per_second


@pytest.mark.parametrize(
    ("rate", "tasks_a_second"),
    [
        ("10/s", 10), ("90/m", 1.5), ("36/h", 0.01), ("86400/d", 1), ("0.5/s", 0.5), ("7", 7), (7, 7), (2.5, 2.5),
        (None, 0), (0, 0), ("", 0), ("0/m", 0),
    ],
)  # fmt: skip
def test_notation(rate, tasks_a_second):
    assert per_second(rate) == pytest.approx(tasks_a_second)


@pytest.mark.parametrize("rate", ["ten/s", "10/w", "10/", "/s", -1, "-3/m", "nan", "inf/s", True, [10]])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match="is no rate: write"):
        per_second(rate)


def taken(bucket: Bucket, until: float, step: float) -> int:
    n, now = 0, 0.0
    while now < until:
        tokens = bucket.tokens(now)
        if tokens:
            bucket.take(tokens, now)
            n += tokens
        now += step
    return n


@pytest.mark.parametrize("rate", [0.5, 3, 10, 100, 5000])
@pytest.mark.parametrize("step", [0.001, 0.01, 0.037])
def test_no_more_than_its_rate_and_one_burst(rate, step):
    bucket = Bucket(rate)
    n = taken(bucket, 20.0, step)
    assert n <= 20 * rate + bucket.burst
    assert n >= 20 / (1 / rate + step)  # as often as it is asked


def test_a_slow_rate_has_no_burst_as_in_celery():
    bucket = Bucket(10)
    assert bucket.tokens(1000.0) == 1
    bucket.take(1, 1000.0)
    assert bucket.tokens(1000.05) == 0
    assert bucket.wait_s(1000.05) == pytest.approx(0.05)
    assert bucket.tokens(1000.1) == 1


def test_a_clock_that_was_set_back_does_not_stop_it():
    bucket = Bucket(10)
    bucket.take(1, 5000.0)
    assert bucket.wait_s(1000.0) == pytest.approx(0.1)
