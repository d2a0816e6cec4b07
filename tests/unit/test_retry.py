"""When a failed task runs again by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from liteq.exceptions import Ignore, Reject, Retry
from liteq.policy.retry import RetryPolicy, backoff_s, decide, exhausted


@pytest.mark.parametrize(
    ("retries", "factor", "maximum", "delay"),
    [
        (0, 1, 600, 1),
        (1, 1, 600, 2),
        (3, 1, 600, 8),
        (3, 5, 600, 40),
        (20, 1, 600, 600),
        (3, 0, 600, 0),
        (10**9, 1, 9, 9),
    ],
)
def test_the_delay_doubles_up_to_its_maximum(retries, factor, maximum, delay):
    assert backoff_s(retries, factor=factor, maximum=maximum) == delay


def test_full_jitter_is_anything_from_nothing_to_the_delay():
    asked = []

    def middle(low, high):
        asked.append((low, high))
        return (low + high) / 2

    assert backoff_s(3, factor=1, maximum=600, full_jitter=True, random=middle) == 4
    assert asked == [(0, 8)]


@pytest.mark.parametrize(("retries", "most", "over"), [(0, 3, False), (2, 3, False), (3, 3, True), (0, 0, True)])
def test_the_first_run_is_not_a_retry(retries, most, over):
    assert exhausted(retries, most) is over


def test_none_means_for_ever():
    assert not exhausted(10**9, None)
    policy = RetryPolicy(max_retries=None, autoretry_for=(ValueError,), default_retry_delay=1)
    assert decide(ValueError(), retries=10**9, policy=policy) == 1


POLICY = RetryPolicy(autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,), default_retry_delay=7)


@pytest.mark.parametrize(
    ("exc", "retries", "delay"),
    [
        (OSError(), 0, 7),
        (ConnectionError(), 2, 7),
        (OSError(), 3, None),
        (FileNotFoundError(), 0, None),
        (ValueError(), 0, None),
    ],
)
def test_only_the_classes_named_are_retried_and_only_so_often(exc, retries, delay):
    assert decide(exc, retries=retries, policy=POLICY) == delay


@pytest.mark.parametrize("exc", [Ignore(), Reject(), Retry()])
def test_what_a_task_asks_of_its_worker_is_not_a_failure(exc):
    assert decide(exc, retries=0, policy=RetryPolicy(autoretry_for=(Exception,))) is None


def test_retry_kwargs_override_and_backoff_overrides_them():
    kwargs = {"max_retries": 5, "countdown": 2}
    policy = RetryPolicy(autoretry_for=(OSError,), retry_kwargs=kwargs)
    assert decide(OSError(), retries=4, policy=policy) == 2
    assert decide(OSError(), retries=5, policy=policy) is None
    policy = RetryPolicy(autoretry_for=(OSError,), retry_kwargs=kwargs, retry_backoff=True, retry_jitter=False)
    assert decide(OSError(), retries=4, policy=policy) == 16


@pytest.mark.parametrize(
    ("default", "kwargs", "delay"),
    [
        (None, {}, 0),
        (7, {"countdown": None}, 7),
        (7, {"countdown": timedelta(minutes=1)}, 60),
        (7, {"countdown": "2m"}, 120),
        ("30s", {}, 30),
    ],
)
def test_the_delay_of_a_retry_may_be_said_as_any_other(default, kwargs, delay):
    class Task:
        autoretry_for = (OSError,)
        default_retry_delay = default
        retry_kwargs = kwargs

    assert decide(OSError(), retries=0, policy=RetryPolicy.of(Task())) == delay


def test_max_retries_of_none_among_retry_kwargs_is_as_if_it_was_not_there():
    policy = RetryPolicy(autoretry_for=(OSError,), retry_kwargs={"max_retries": None, "countdown": 2})
    assert decide(OSError(), retries=2, policy=policy) == 2
    assert decide(OSError(), retries=3, policy=policy) is None


def test_a_policy_is_read_off_a_task():
    class Task:
        autoretry_for = [OSError]
        dont_autoretry_for = FileNotFoundError
        max_retries = None
        retry_kwargs = None

    policy = RetryPolicy.of(Task())
    assert policy == RetryPolicy(max_retries=None, autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,))
