"""RateLimited, and errors of HTTP that come with a Retry-After: what a task asks for by them."""

from __future__ import annotations

import email.message
import urllib.error
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from liteq import LiteQ, states
from liteq.clock import FakeClock
from liteq.context import Request
from liteq.exceptions import RateLimited
from liteq.execution.execute import execute
from liteq.message import DeadLetter, Limited, RetryAt
from liteq.policy.limited import LEAST_S, LONGEST_S, UNNAMED_S, Later, later_of
from liteq.worker.pool.prefork.wire import pack, unpack

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


class Answer(Exception):
    """An error as the libraries of HTTP make theirs."""

    def __init__(self, **attributes):
        super().__init__("no")
        self.__dict__.update(attributes)


def response(**attributes):
    return SimpleNamespace(**attributes)


def urllib_error(code, after):
    headers = email.message.Message()
    headers["retry-after"] = after
    return urllib.error.HTTPError("http://x", code, "no", headers, None)


@pytest.mark.parametrize(
    ("exc", "wait_s"),
    [
        (Answer(status_code=429, headers={"Retry-After": "30"}), 30),
        (Answer(status=503, headers={"retry-after": "1.5"}), 1.5),
        (Answer(code=529, headers={"RETRY-AFTER": "7"}), 7),
        (Answer(response=response(status_code=429, headers={"Retry-After": "30"})), 30),
        (Answer(status_code=429, response=response(headers={"Retry-After": "9"})), 9),
        (Answer(status=429, headers={"Retry-After": format_datetime(NOW + timedelta(minutes=2), usegmt=True)}), 120),
        (Answer(status=429, headers={"Retry-After": format_datetime(NOW - timedelta(minutes=2))}), LEAST_S),
        (Answer(status=503, headers={"Retry-After": "0"}), LEAST_S),
        (RateLimited("0"), LEAST_S),
        (Answer(status=429, headers={"Retry-After": "99999999"}), LONGEST_S),
        (Answer(status=429, headers={"Retry-After": b"3"}), 3),
    ],
)
def test_an_answer_that_says_when(exc, wait_s):
    assert later_of(exc, NOW_MS) == Later(pytest.approx(wait_s))


def test_the_errors_of_urllib():
    with urllib_error(503, "12") as error:
        assert later_of(error, NOW_MS) == Later(12)


class Rude(Exception):
    @property
    def status(self):
        raise RuntimeError("no such thing")


@pytest.mark.parametrize(
    "exc",
    [
        Answer(status_code=429), Answer(status_code=429, headers={}), Answer(status=500, headers={"Retry-After": "3"}),
        Answer(status=429, headers={"Retry-After": "soon"}), Answer(status=429, headers={"Retry-After": "nan"}),
        Answer(status=True, headers={"Retry-After": "3"}), Answer(headers={"Retry-After": "3"}), ValueError(429),
        Answer(status=429, headers=7), Rude(),
    ],
)  # fmt: skip
def test_any_other_error_is_one(exc):
    assert later_of(exc, NOW_MS) is None


@pytest.mark.parametrize(
    ("exc", "later"),
    [
        (RateLimited(), Later(UNNAMED_S, named=False)), (RateLimited(5), Later(5.0)),
        (RateLimited("7", "stripe"), Later(7.0, "stripe")),
        (RateLimited(NOW + timedelta(seconds=3)), Later(3.0)), (RateLimited("nonsense"), Later(UNNAMED_S, named=False)),
        (RateLimited(-5), Later(0.0)),
    ],
)  # fmt: skip
def test_a_task_says_it_itself(exc, later):
    assert later_of(exc, NOW_MS) == later


def test_a_key_is_a_text():
    with pytest.raises(TypeError, match="the key of a limit is a string, not 7"):
        RateLimited(3, 7)


# -- the outcome -----------------------------------------------------------------------------------------------------


@pytest.fixture
def app():
    with LiteQ("t", set_as_current=False, broker="sqlite:///unused.db", clock=FakeClock(NOW_MS)) as app:
        yield app


def outcome_of(app, exc, **options):
    @app.task(name="call", **options)
    def call():
        raise exc

    request = Request(id="1", args=[], kwargs={}, called_directly=False)
    return execute(call, request, [], {}, clock=app.clock).outcome


def test_it_is_no_failure_and_no_retry(app):
    outcome = outcome_of(app, RateLimited(30, "stripe"), max_retries=0)
    assert isinstance(outcome, Limited)
    assert (outcome.pause_ms, outcome.key) == (30_000, "stripe")
    assert b"RateLimited" in outcome.error


def test_the_word_of_the_server_goes_before_autoretry_for(app):
    busy = Answer(status=429, headers={"Retry-After": "30"})
    assert isinstance(outcome_of(app, busy, autoretry_for=(Answer,)), Limited)


def test_an_error_without_it_is_retried_or_fails_as_ever(app):
    assert isinstance(outcome_of(app, Answer(status=429), autoretry_for=(Answer,)), RetryAt)


def test_an_error_that_is_not_to_be_retried_fails(app):
    busy = Answer(status=429, headers={"Retry-After": "30"})
    options = {"autoretry_for": (Exception,), "dont_autoretry_for": (Answer,)}
    assert isinstance(outcome_of(app, busy, **options), DeadLetter)


def test_neither_hooks_nor_signals_take_it_for_a_retry(app):
    called = []

    class Base(app.Task):
        def on_retry(self, *args):
            called.append("on_retry")

        def on_failure(self, *args):
            called.append("on_failure")

        def after_return(self, *args):
            called.append("after_return")

    outcome_of(app, RateLimited(1), base=Base)
    assert called == []


def test_it_goes_over_a_pipe():
    outcome = Limited(30_000, "stripe", b"{}")
    kind, *fields = pack(outcome)
    assert unpack(kind, tuple(fields)) == outcome
    retry = RetryAt(5, keys='[null,"a"]')
    kind, *fields = pack(retry)
    assert unpack(kind, tuple(fields)) == retry


# -- eager -----------------------------------------------------------------------------------------------------------


def test_an_eager_call_tries_at_once_and_counts_nothing(app):
    seen = []

    @app.task(bind=True)
    def call(self):
        seen.append(self.request.retries)
        if len(seen) < 3:
            raise RateLimited(60)
        return "done"

    assert call.apply().get() == "done"
    assert seen == [0, 0, 0]


def test_an_eager_call_that_is_never_let_in_fails_after_ten_tries(app):
    tries = []

    @app.task
    def call():
        tries.append(1)
        raise RateLimited(60)

    result = call.apply()
    assert (result.state, len(tries)) == (states.FAILURE, 10)
    with pytest.raises(RateLimited):
        result.get()
    with pytest.raises(RateLimited):
        call.apply(throw=True)
