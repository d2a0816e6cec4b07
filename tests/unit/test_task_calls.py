"""A task's body: how it is run, what it may ask for, what becomes of what it raises."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from types import SimpleNamespace
from unittest import mock

import pytest

from liteq import LiteQ, Middleware, Task, current_task, group, shared_task, signals
from liteq.context import Request
from liteq.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry
from liteq.execution.arguments import arguments
from liteq.execution.awaited import aexecute
from liteq.execution.execute import execute
from liteq.message import Ack, Cancel, DeadLetter, Flag, Lease, Release, RetryAt
from liteq.serialization import decode_error, encode, encode_error
from liteq.testing import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def app(clock):
    return LiteQ("proj", broker="sqlite:///never-opened.db", clock=clock)


def lease_of(task, *args, **fields):
    lease = Lease(
        seq=1, token=7, id="id-1", task=task.name, payload=encode([args, {}], what="arguments"), options=None,
        queue="celery", priority=0, due_ms=0, expires_ms=None, retries=0, crashes=0, flags=0, root_id=None,
        parent_id=None, group_id=None, awaits=None,
    )  # fmt: skip
    return lease._replace(**fields)


def run(task, *args, **lease_fields):
    lease = lease_of(task, *args, **lease_fields)
    args, kwargs = arguments(task, lease)
    return execute(task, Request.from_lease(lease, args, kwargs, "w@host"), args, kwargs, clock=task.app.clock)


def test_a_return_value_is_acknowledged_with_its_json(app):
    @app.task
    def add(x, y):
        return [x + y]

    assert run(add, 1, 2).outcome == Ack(b"[3]")


def test_an_ignored_result_is_kept_only_for_who_awaits_it(app):
    @app.task(ignore_result=True)
    def add(x, y):
        return x + y

    assert run(add, 1, 2).outcome == Ack(None)
    assert run(add, 1, 2, flags=Flag.LINKED).outcome == Ack(b"3")
    assert run(add, 1, 2, options=b'{"ignore_result":false}').outcome == Ack(b"3")


def test_the_request_tells_what_runs(app):
    @app.task(bind=True)
    def who(self):
        r = self.request
        assert current_task.name == self.name
        return [r.id, r.retries, r.hostname, r.called_directly, r.delivery_info["routing_key"], r.root_id, r.token]

    assert json.loads(run(who, retries=2).outcome.result) == ["id-1", 2, "w@host", False, "celery", "id-1", 7]
    assert who.request.called_directly
    assert not current_task


def test_headers_of_the_sender_are_attributes_of_the_request(app):
    @app.task(bind=True)
    def trace(self):
        return [self.request.trace_id, self.request.headers["trace_id"]]

    assert run(trace, options=b'{"headers":{"trace_id":"t1"}}').outcome == Ack(b'["t1","t1"]')


def test_retry_runs_again_after_the_delay(app, clock):
    @app.task(bind=True, default_retry_delay=30)
    def again(self):
        raise self.retry(exc=ValueError("not yet"))

    outcome = run(again).outcome
    assert isinstance(outcome, RetryAt)
    assert outcome.due_ms == clock.now_ms() + 30_000
    assert outcome.payload is None
    assert decode_error(outcome.error).type == "ValueError"


def test_retry_may_change_the_arguments_and_the_delay(app, clock):
    @app.task(bind=True)
    def again(self, n):
        self.retry(args=(n + 1,), countdown=0.5)

    outcome = run(again, 1).outcome
    assert outcome == RetryAt(clock.now_ms() + 500, outcome.error, b"[[2],{}]", delay_ms=500)


def test_one_retry_too_many_raises_its_exc_or_says_so(app):
    @app.task(bind=True, max_retries=1)
    def given(self):
        self.retry(exc=ValueError("final"))

    @app.task(bind=True, max_retries=1)
    def bare(self):
        self.retry()

    assert isinstance(run(given, retries=1).exc, ValueError)
    assert isinstance(run(bare, retries=1).exc, MaxRetriesExceededError)
    assert isinstance(run(bare, retries=0).exc, Retry)


def test_retry_without_throw_counts_when_the_task_returns(app):
    @app.task(bind=True)
    def polite(self):
        self.retry(throw=False, countdown=1)
        return "tidied up"

    assert isinstance(run(polite).outcome, RetryAt)


def test_retry_outside_of_an_execution_raises_what_went_wrong(app):
    @app.task(bind=True)
    def again(self):
        raise self.retry(exc=KeyError("k"))

    with pytest.raises(KeyError):
        again()


@pytest.mark.parametrize("decorator", ["task", "shared_task"])
def test_what_a_task_wraps_can_be_called_as_with_celery(app, decorator):
    make = app.task if decorator == "task" else shared_task

    @make(bind=True)
    def bound(self, x):
        return self.request.id, x

    @make
    def plain(x):
        return x

    assert plain.__wrapped__(3) == 3
    assert bound.__wrapped__(3) == (None, 3)
    assert bound.__wrapped__.__func__(SimpleNamespace(request=SimpleNamespace(id="faked")), 3) == ("faked", 3)
    assert [*inspect.signature(bound).parameters] == ["x"]
    again = make(bound, name=bound.name, bind=True)
    assert again.__wrapped__.__func__ is bound.__wrapped__.__func__


def test_autoretry_retries_what_it_names_and_nothing_else(app, clock):
    @app.task(autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,), max_retries=2, retry_backoff=2,
              retry_jitter=False)  # fmt: skip
    def fetch(kind):
        raise {"os": OSError, "file": FileNotFoundError, "key": KeyError}[kind]("x")

    assert run(fetch, "os", retries=1).outcome.due_ms == clock.now_ms() + 4_000
    assert isinstance(run(fetch, "file").outcome, DeadLetter)
    assert isinstance(run(fetch, "key").outcome, DeadLetter)
    exhausted = run(fetch, "os", retries=2)
    assert isinstance(exhausted.outcome, DeadLetter)
    assert type(exhausted.exc) is OSError


def test_autoretry_keeps_all_that_its_retry_kwargs_say(app, clock):
    @app.task(bind=True, autoretry_for=(OSError,), retry_kwargs={"queue": "slow", "priority": 3, "countdown": 7})
    def fetch(self, last=None):
        if last is not None:
            raise self.retry(exc=OSError("by hand"), max_retries=last)
        raise OSError("x")

    outcome = run(fetch).outcome
    assert outcome.due_ms == clock.now_ms() + 7_000
    assert (outcome.queue, outcome.priority) == ("slow", 3)
    assert isinstance(run(fetch, retries=3).outcome, DeadLetter)
    assert isinstance(run(fetch, 0).outcome, DeadLetter)  # what the body's own retry() said of the number holds


def test_a_result_that_cannot_be_stored_is_a_failure_and_never_retried(app):
    @app.task(autoretry_for=(Exception,))
    def odd():
        return object()

    outcome = run(odd).outcome
    assert isinstance(outcome, DeadLetter)
    assert "result" in decode_error(outcome.error).message


def test_a_result_over_the_limit_is_a_failure(app):
    app.conf.max_result_bytes = 1024

    @app.task
    def large():
        return "x" * 2000

    assert decode_error(run(large).outcome.error).type == "PayloadTooLarge"


def test_sys_exit_in_a_task_fails_the_task_alone(app):
    @app.task
    def leave():
        sys.exit(3)

    assert decode_error(run(leave).outcome.error).type == "SystemExit"


def test_ctrl_c_is_not_the_task_s(app):
    @app.task
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted)
    assert not current_task


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [(Ignore(), Cancel), (Reject("bad"), DeadLetter), (Reject("later", requeue=True), Release)],
)
def test_what_a_task_may_ask_of_its_worker(app, raised, outcome):
    @app.task
    def ask():
        raise raised

    assert isinstance(run(ask).outcome, outcome)


def test_the_traceback_begins_in_the_task(app):
    @app.task
    def fail():
        raise ValueError("here")

    frames = decode_error(run(fail).outcome.error).traceback
    assert "in fail" in frames
    assert "execution.py" not in frames


def test_async_tasks_share_one_loop_a_thread_and_see_their_request(app):
    @app.task(bind=True)
    async def where(self):
        await asyncio.sleep(0)
        return [id(asyncio.get_running_loop()), await asyncio.to_thread(lambda: self.request.id)]

    first, second = json.loads(run(where).outcome.result), json.loads(run(where).outcome.result)
    assert first == second
    assert first[1] == "id-1"


class RunsItself(Task):
    """As programs for Celery do, which knows no `async def`."""

    def __call__(self, *args, **kwargs):
        return asyncio.run(self.run(*args, **kwargs))


class Passes(Task):
    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)


@pytest.mark.parametrize("base", [RunsItself, Passes])
def test_an_async_task_of_a_class_with_a_call_of_its_own(app, base):
    @app.task(base=base)
    async def double(x):
        await asyncio.sleep(0)
        return x * 2

    assert run(double, 4).outcome == Ack(b"8")


class Awaits(Middleware):
    async def aon_execute(self, execution, run):
        return await run(execution)


@pytest.mark.parametrize("within", [[], [Awaits()]], ids=["alone", "in middleware"])
def test_an_async_task_whose_class_answers_without_it_on_a_shared_loop(app, within):
    for one in within:
        app.middleware.add(one)

    class Answers(Task):
        def __call__(self, *args, **kwargs):
            return 7

    @app.task(base=Answers)
    async def never():
        raise AssertionError

    request = Request.from_lease(lease_of(never), [], {}, "w@host")
    assert asyncio.run(aexecute(never, request, [], {}, clock=app.clock)).outcome == Ack(b"7")


def test_an_eager_call_inside_a_running_loop_works(app):
    @app.task
    async def double(x):
        await asyncio.sleep(0)
        return x * 2

    async def caller():
        return double.apply((4,)).get()

    assert asyncio.run(caller()) == 8


class Hooked(Task):
    abstract = True
    seen: list

    def before_start(self, task_id, args, kwargs):
        self.seen.append(("before", args))

    def on_success(self, retval, task_id, args, kwargs):
        self.seen.append(("success", retval))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        assert "ZeroDivisionError" in einfo.traceback
        self.seen.append(("failure", type(exc).__name__))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        self.seen.append(("retry", str(exc)))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        self.seen.append(("after", status))


def test_hooks_are_called_in_their_order(app):
    @app.task(base=Hooked, bind=True, seen=[])
    def div(self, x):
        if x is None:
            raise self.retry(exc=ValueError("again"))
        return 6 // x

    run(div, 3), run(div, 0), run(div, None)
    assert div.seen == [
        ("before", [3]), ("success", 2), ("after", "SUCCESS"),
        ("before", [0]), ("failure", "ZeroDivisionError"), ("after", "FAILURE"),
        ("before", [None]), ("retry", "again"),
    ]  # fmt: skip


def test_a_task_of_which_no_outcome_can_be_made_has_failed_as_any_other(app):
    """Its hooks are told: that it is in the log alone, nobody sees who watches for failures."""

    class Told(Task):
        abstract = True
        seen: list

        def on_failure(self, exc, task_id, args, kwargs, einfo):
            self.seen.append(type(exc).__name__)

    @app.task(base=Told, bind=True, seen=[])
    def asks(self, how):
        if how == "no time":
            raise self.retry(countdown=1e30)
        if how == "no arguments":
            raise self.retry(args=(object(),))
        return Unwritable()

    outcomes = [run(asks, how).outcome for how in ("no time", "no arguments", "no result")]
    assert [type(outcome) for outcome in outcomes] == [DeadLetter] * 3
    assert asks.seen == ["ValueError", "NotSerializable", "ZeroDivisionError"]
    assert asks.apply(("no time",)).state == "FAILURE"


class Unwritable:
    def __json__(self):
        return 1 / 0


@pytest.mark.parametrize("by_itself", [True, False], ids=["autoretry_for", "retry()"])
def test_the_einfo_of_a_retry_is_the_retry_and_what_it_came_of(app, by_itself):
    told = []

    class Watched(Task):
        def on_retry(self, exc, task_id, args, kwargs, einfo):
            told.append((type(exc), einfo.type, isinstance(einfo.exception, Retry), einfo.tb is not None))
            told.append("ValueError: bad" in einfo.traceback and "in fails" in str(einfo))

    @app.task(base=Watched, bind=True, autoretry_for=(ValueError,) if by_itself else ())
    def fails(self):
        try:
            raise ValueError("bad")
        except ValueError as exc:
            if by_itself:
                raise
            self.retry(exc=exc, countdown=1)

    outcome = run(fails).outcome
    assert told == [(ValueError, Retry, True, True), True]
    assert decode_error(outcome.error).type == "ValueError"


def test_a_hook_that_raises_changes_nothing(app, caplog):
    class Broken(Task):
        def on_success(self, *args):
            raise RuntimeError("hook")

    @app.task(base=Broken)
    def fine():
        return 1

    assert run(fine).outcome == Ack(b"1")
    assert "on_success" in caplog.text


def test_signals_surround_an_execution(app):
    seen = []

    def note(signal, sender, **named):
        seen.append((signal.name, sorted(named)))

    @app.task
    def fine():
        return 1

    listened = (signals.task_prerun, signals.task_success, signals.task_postrun, signals.task_failure)
    for signal in listened:
        signal.connect(note)
    try:
        run(fine)
    finally:
        for signal in listened:
            signal.disconnect(note)
    assert [name for name, _ in seen] == ["task_prerun", "task_success", "task_postrun"]
    assert seen[2][1] == ["args", "kwargs", "retval", "state", "task", "task_id"]


def test_a_link_gets_the_result_in_front_of_its_arguments(app):
    @app.task
    def show(*args):
        return list(args)

    assert run(show, "own", flags=Flag.TAKES_INPUT, input=b"41").outcome == Ack(b'[41,"own"]')


def test_errbacks_get_the_id_or_the_failure_by_their_signature(tmp_path):
    app = LiteQ("errbacks", broker=f"sqlite:///{tmp_path / 'q.db'}", set_as_current=False)  # it looks for the message
    error = encode_error(ValueError("broken"), "Traceback ...")

    @app.task
    def by_id(task_id):
        return task_id

    @app.task
    def by_failure(request, exc, traceback):
        return [request.id, repr(exc), traceback]

    fields = {"flags": Flag.TAKES_INPUT | Flag.ON_FAILURE, "input": error, "awaits": "failed-1"}
    assert run(by_id, **fields).outcome == Ack(b'"failed-1"')
    assert json.loads(run(by_failure, **fields).outcome.result) == ["failed-1", "ValueError('broken')", "Traceback ..."]


def test_an_eager_errback_gets_what_a_worker_gives_it(app):
    heard = []

    @app.task
    def fail():
        raise ValueError("broken")

    @app.task
    def by_id(task_id):
        heard.append(task_id)

    @app.task
    def by_failure(request, exc, traceback):
        heard.append((request.id, request.task, repr(exc), "ValueError: broken" in traceback))

    @app.task
    def silent(): ...

    failure = ("failed-1", fail.name, "ValueError('broken')", True)
    for errback, expected in (
        (by_id.s(), ["failed-1"]),
        (by_failure.s(), [failure]),
        (by_failure.s() | silent.si(), [failure]),
        (group(by_failure.s(), by_id.s()), [failure, "failed-1"]),
        (silent.si(), []),
    ):
        heard.clear()
        assert fail.apply(link_error=errback, task_id="failed-1").state == "FAILURE"
        assert heard == expected


def test_autoretry_goes_through_a_retry_of_the_class(app):
    calls = []

    class Counted(Task):
        abstract = True

        def retry(self, *args, **kwargs):
            calls.append(kwargs["countdown"])
            return super().retry(*args, **kwargs)

    options = {"autoretry_for": (ZeroDivisionError,), "retry_backoff": 2, "retry_jitter": False, "max_retries": 2}

    @app.task(base=Counted, **options)
    def divide():
        return 1 / 0

    assert isinstance(run(divide, retries=1).outcome, RetryAt)
    assert calls == [4]
    assert divide.apply().state == "FAILURE"
    assert calls == [4, 2, 4, 8]
    assert isinstance(divide.apply().result, ZeroDivisionError)


class Unprintable(Exception):
    def __repr__(self):
        raise RuntimeError("no text")

    __str__ = __repr__


def test_an_exception_that_cannot_be_printed_is_retried_and_then_shown(app, clock, caplog):
    @app.task(bind=True, max_retries=1)
    def fails(self):
        try:
            raise Unprintable
        except Unprintable as exc:
            raise self.retry(exc=exc, countdown=0) from None

    caplog.set_level("INFO")
    assert isinstance(run(fails).outcome, RetryAt)
    assert "Unprintable that cannot be printed" in caplog.messages[-1]
    ended = run(fails, retries=1).outcome
    assert decode_error(ended.error).message == "<Unprintable that cannot be printed>"
    assert "<Unprintable that cannot be printed>" in caplog.messages[-1]


def test_a_return_value_that_cannot_be_printed_is_a_success(app, caplog):
    class Odd(dict):
        def __repr__(self):
            raise RuntimeError("no text")

    @app.task
    def odd():
        return Odd(a=1)

    caplog.set_level("INFO")
    assert run(odd).outcome == Ack(b'{"a":1}')
    assert "Odd that cannot be printed" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("args", "kwargs", "fits"),
    [
        ((1,), {}, True),
        ((1, 2), {}, True),
        ((1,), {"y": 2}, True),
        ((), {"x": 1}, True),
        ((1,), {"flag": True}, True),
        ((), {}, False),
        ((1, 2, 3), {}, False),
        ((1,), {"x": 2}, False),
        ((1,), {"z": 2}, False),
        ((), {"y": 1}, False),
    ],
)
def test_arguments_are_checked_when_a_task_is_sent(app, args, kwargs, fits):
    @app.task
    def f(x, y=0, *, flag=False): ...

    if fits:
        f.check_arguments(args, kwargs)
    else:
        with pytest.raises(TypeError, match=r"\.f\(\)"):
            f.check_arguments(args, kwargs)


def test_a_misspelt_argument_is_told_with_the_nearest(app):
    @app.task
    def f(user_id): ...

    with pytest.raises(TypeError, match="missing a required argument: 'user_id'; it has no 'usr_id': did you mean"):
        f.delay(usr_id=1)


def test_the_task_itself_is_no_argument_of_a_bound_one(app):
    @app.task(bind=True)
    def f(self, x): ...

    f.check_arguments((1,), {})
    with pytest.raises(TypeError):
        f.check_arguments((1, 2), {})


def test_apply_goes_through_retries_and_returns_an_eager_result(app):
    @app.task(bind=True, max_retries=3)
    def third_time(self, n):
        if self.request.retries < 2:
            raise self.retry(args=(n + 1,), countdown=3600)
        return [n, self.request.is_eager]

    result = third_time.apply((0,))
    assert result.get() == [2, True]
    assert result.state == "SUCCESS"


def test_apply_keeps_the_failure_for_get_unless_it_is_to_throw(app):
    @app.task
    def fail():
        raise LookupError("no")

    result = fail.apply()
    assert result.failed()
    assert "LookupError" in result.traceback
    with pytest.raises(LookupError):
        result.get()
    with pytest.raises(LookupError):
        fail.apply(throw=True)


def test_a_class_with_a_call_of_its_own_runs_under_the_worker_s_request(app):
    class Counted(Task):
        calls = 0

        def __call__(self, *args, **kwargs):
            type(self).calls += 1
            return super().__call__(*args, **kwargs)

    @app.task(base=Counted, bind=True)
    def f(self):
        return self.request.id

    assert run(f).outcome == Ack(b'"id-1"')
    assert type(f).calls == 1


def test_what_a_test_has_patched_is_forgotten_at_its_end(app):
    told = []

    class Told(Task):
        abstract = True

        def on_success(self, retval, *args):
            told.append(retval)

    @app.task(base=Told, name="add")
    def add(x, y):
        return x + y

    with mock.patch.object(add, "run", return_value=99), mock.patch.object(add, "on_success") as on_success:
        assert add.apply((2, 3)).get() == 99
    assert on_success.called
    assert told == []
    assert add.apply((2, 3)).get() == 5
    assert told == [5]
