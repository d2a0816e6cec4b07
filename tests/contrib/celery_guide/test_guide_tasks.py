"""The guide's chapter on tasks."""

from __future__ import annotations

import functools
import logging
import sys

import pytest

from liteq import Celery, Task, current_task, shared_task
from liteq.exceptions import Ignore, MaxRetriesExceededError, Reject, SoftTimeLimitExceeded
from liteq.utils.log import get_task_logger

W = 60  # for one result, on a busy machine


# -- declaring -------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Tasks: declaring", "`@app.task`, with and without options")
def test_decorator(app):
    @app.task
    def plain(): ...

    @app.task(serializer="json", ignore_result=True)
    def optioned(): ...

    assert isinstance(plain, Task)
    assert optioned.ignore_result is True


@pytest.mark.celery("Tasks: declaring", "`@shared_task` needs no app, and belongs to each")
def test_shared_task():
    @shared_task(name="guide.shared")
    def shared(x):
        return x

    one, two = (Celery(name, broker="sqlite:///never.db", set_as_current=False) for name in ("one", "two"))
    assert "guide.shared" in one.tasks
    assert "guide.shared" in two.tasks
    assert shared(3) == 3


@pytest.mark.celery("Tasks: declaring", "The task decorator goes on top of others")
def test_other_decorators(app, run):
    def twice(function):
        @functools.wraps(function)
        def call(*args):
            return 2 * function(*args)

        return call

    @app.task(name="tasks.decorated")
    @twice
    def decorated(x):
        return x

    assert run(decorated, 4) == 8


@pytest.mark.celery("Tasks: declaring", "`bind=True`: the task is the first argument")
def test_bound(app, run):
    @app.task(name="tasks.bound", bind=True)
    def bound(self, x):
        return self.name, x, self.request.id is not None

    assert run(bound, 1) == ["tasks.bound", 1, True]


@pytest.mark.celery("Tasks: declaring", "`base=` is the class of the task")
def test_base(app):
    class Mine(Task):
        answer = 42

    @app.task(base=Mine, bind=True, name="tasks.base")
    def based(self):
        return self.answer

    assert isinstance(based, Mine)
    assert based() == 42


@pytest.mark.celery("Tasks: declaring", "`task_cls` in the body of a class of apps")
def test_task_cls_of_a_class():
    class Mine(Task):
        """A base class."""

    class Apps(Celery):
        task_cls = Mine

    app = Apps("x", broker="sqlite:///never.db", set_as_current=False)
    assert isinstance(app.task(name="tasks.of_a_class")(lambda: 1), Mine)
    assert Apps("x", task_cls=Task, broker="sqlite:///never.db", set_as_current=False).task_cls is Task
    assert Celery.task_cls is Task


def test_the_base_class_may_be_set_before_the_app_is_made():
    class Mine(Task):
        """A base class."""

    class Apps(Celery):
        def __init__(self, *args, **kwargs):
            self.Task = Mine
            super().__init__(*args, **kwargs)

    app = Apps("x", broker="sqlite:///never.db", set_as_current=False)
    assert isinstance(app.task(name="tasks.of_an_init")(lambda: 1), Mine)


@pytest.mark.celery("Tasks: declaring", "`Celery(task_cls=)` is the base of all tasks of an app, also by its path")
def test_task_cls():
    class Mine(Task):
        answer = 42

    app = Celery("x", task_cls=Mine, broker="sqlite:///never.db", set_as_current=False)
    assert app.task(name="tasks.plain1")(lambda: 1).answer == 42


@pytest.mark.celery("Tasks: names", "A task is named after its module and function")
def test_automatic_name(app):
    @app.task
    def named(): ...

    assert named.name == f"{__name__}.named"


@pytest.mark.celery("Tasks: names", "`name=` gives another one")
def test_name(app):
    assert app.task(name="sum-of-two-numbers")(lambda x, y: x + y).name == "sum-of-two-numbers"


@pytest.mark.celery("Tasks: names", "`gen_task_name` of an app's subclass changes the automatic names")
def test_gen_task_name():
    class Mine(Celery):
        def gen_task_name(self, name, module):
            return "short." + name

    app = Mine("x", broker="sqlite:///never.db", set_as_current=False)

    @app.task
    def one(): ...

    assert one.name == "short.one"


# -- request ---------------------------------------------------------------------------------------------------------


@pytest.mark.celery(
    "Tasks: request", "id, args, kwargs, retries, root_id, parent_id, hostname, called_directly, is_eager"
)
def test_request(app, worker):
    @app.task(name="tasks.request", bind=True)
    def request(self, *args, **kwargs):
        r = self.request
        return [r.id, r.args, r.kwargs, r.retries, r.root_id, r.parent_id, r.hostname, r.called_directly, r.is_eager]

    result = request.delay(1, y=2)
    assert result.get(timeout=W) == [result.id, [1], {"y": 2}, 0, result.id, None, "guide@test", False, False]


@pytest.mark.celery("Tasks: request", "What a task sends has its id as parent_id and its root_id as root_id")
def test_lineage(app, worker):
    @app.task(name="tasks.child", bind=True)
    def child(self):
        return self.request.root_id, self.request.parent_id

    @app.task(name="tasks.parent")
    def parent():
        return child.delay().id

    result = parent.delay()
    assert app.AsyncResult(result.get(timeout=W)).get(timeout=W) == [result.id, result.id]


@pytest.mark.celery("Tasks: request", "delivery_info tells queue, priority and whether it was delivered again")
def test_delivery_info(app, worker):
    @app.task(name="tasks.delivery", bind=True)
    def delivery(self):
        return self.request.delivery_info

    info = delivery.apply_async(priority=3).get(timeout=W)
    assert (info["routing_key"], info["priority"], info["redelivered"]) == ("celery", 3, False)


@pytest.mark.celery(
    "Tasks: request", "eta, expires, timelimit, headers, reply_to, correlation_id, delivery_info are there"
)
def test_request_attributes(app, worker):
    @app.task(name="tasks.attributes", bind=True)
    def attributes(self):
        r = self.request
        return [r.eta is not None, r.expires is not None, list(r.timelimit), r.correlation_id == r.id, r.callbacks]

    sent = attributes.apply_async(countdown=0.01, expires=60, time_limit=9)
    assert sent.get(timeout=W) == [True, True, [9, None], True, None]


@pytest.mark.celery("Tasks: request", "`current_task` is the task that runs")
def test_current_task(app, run):
    assert run(app.task(name="tasks.current")(lambda: current_task.name)) == "tasks.current"


@pytest.mark.celery("Tasks: request", "Called as a function, a task has a request with `called_directly`")
def test_called_directly(app):
    @app.task(bind=True, name="tasks.direct")
    def direct(self):
        return self.request.called_directly, self.request.id

    assert direct() == (True, None)


# -- logging and arguments -------------------------------------------------------------------------------------------


@pytest.mark.celery("Tasks: logging", "`get_task_logger(__name__)` is below the logger of tasks")
def test_task_logger():
    logger = get_task_logger("guide.tasks.logger")
    assert logger.parent.name == "liteq.task"
    with pytest.raises(RuntimeError):
        get_task_logger("liteq.task")
    logging.getLogger("guide.tasks.logger").parent = logging.root


@pytest.mark.celery(
    "Tasks: logging", "`app.log.redirect_stdouts_to_logger(logger, level)`: what is printed is a line of that logger"
)
def test_redirected_output(fresh, capsys, caplog):
    logger = get_task_logger("guide.tasks.printed")

    @fresh.task(bind=True)
    def loud(self):
        before = sys.stdout, sys.stderr
        level = self.app.conf.worker_redirect_stdouts_level
        try:
            self.app.log.redirect_stdouts_to_logger(logger, level)
            print("printed")
            print("to stderr", file=sys.stderr)
        finally:
            sys.stdout, sys.stderr = before

    with caplog.at_level(logging.INFO):
        loud.apply(throw=True)
    print("mine again")
    lines = [record for record in caplog.records if record.name == logger.name]
    assert [(line.levelname, line.message) for line in lines] == [("WARNING", "printed"), ("WARNING", "to stderr")]
    assert capsys.readouterr().out == "mine again\n"
    logger.parent = logging.root


@pytest.mark.celery("Tasks: arguments", "Arguments are checked when a task is sent: TypeError")
def test_argument_checking(add):
    with pytest.raises(TypeError, match="missing a required argument: 'y'"):
        add.delay(8)
    with pytest.raises(TypeError):
        add.delay(1, 2, 3)


@pytest.mark.celery("Tasks: arguments", "`typing=False` turns the check off")
def test_typing(app, worker):
    @app.task(name="tasks.untyped", typing=False)
    def untyped(x, y): ...

    with pytest.raises(TypeError):
        untyped.delay(8).get(timeout=W)


@pytest.mark.celery("Tasks: arguments", "`argsrepr=` and `kwargsrepr=` hide what is sensitive")
def test_argsrepr(app, worker):
    @app.task(name="tasks.charge", bind=True)
    def charge(self, account, card):
        return self.request.argsrepr, self.request.kwargsrepr, card

    sent = charge.apply_async((1, "1234"), argsrepr="(1, <card>)", kwargsrepr="{}")
    assert sent.get(timeout=W) == ["(1, <card>)", "{}", "1234"]


@pytest.mark.celery("Tasks: arguments", "`pydantic=True` validates models and dumps what is returned")
def test_pydantic(app, run):
    from pydantic import BaseModel

    class Argument(BaseModel):
        value: int

    def double(arg):
        return Argument(value=2 * arg.value)

    double.__annotations__ = {"arg": Argument, "return": Argument}
    task = app.task(name="tasks.pydantic", pydantic=True)(double)
    assert run(task, {"value": "4"}) == {"value": 8}


# -- retrying --------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Tasks: retrying", "`raise self.retry(exc=exc)` runs the same message again, with the same id")
def test_retry(app, worker):
    @app.task(name="tasks.retry", bind=True, default_retry_delay=0)
    def flaky(self):
        if self.request.retries < 2:
            raise self.retry(exc=OSError("not yet"))
        return self.request.id, self.request.retries

    result = flaky.delay()
    assert result.get(timeout=W) == [result.id, 2]


@pytest.mark.celery("Tasks: retrying", "`max_retries` is 3 by default; then the exception given as `exc` is raised")
def test_max_retries(app, worker):
    runs = []

    @app.task(name="tasks.max", bind=True, default_retry_delay=0)
    def hopeless(self):
        runs.append(self.request.retries)
        raise self.retry(exc=OSError("never"))

    with pytest.raises(OSError, match="never"):
        hopeless.delay().get(timeout=W)
    assert runs == [0, 1, 2, 3]


@pytest.mark.celery("Tasks: retrying", "Without `exc` it is MaxRetriesExceededError")
def test_max_retries_exceeded(app, worker):
    @app.task(name="tasks.exceeded", bind=True, max_retries=1)
    def hopeless(self, _x, y):
        raise self.retry(countdown=0)

    result = hopeless.delay(1, y=2)
    with pytest.raises(MaxRetriesExceededError) as raised:
        result.get(timeout=W)
    assert str(raised.value) == f"Can't retry tasks.exceeded[{result.id}] args:(1,) kwargs:{{'y': 2}}"


@pytest.mark.celery("Tasks: retrying", "`max_retries=None` retries for ever")
def test_retry_for_ever(app, worker):
    @app.task(name="tasks.ever", bind=True, max_retries=None)
    def stubborn(self):
        if self.request.retries < 6:
            raise self.retry(countdown=0)
        return self.request.retries

    assert stubborn.delay().get(timeout=W) == 6


@pytest.mark.celery("Tasks: retrying", "`countdown=` overrides `default_retry_delay`, which is 180 seconds")
def test_default_retry_delay(app):
    assert app.task(name="tasks.plain2")(lambda: 1).default_retry_delay == 180


@pytest.mark.celery("Tasks: retrying", "While it waits for its retry, the state is RETRY and the result the exception")
def test_retry_state(app, worker, eventually):
    @app.task(name="tasks.waiting", bind=True)
    def waiting(self):
        raise self.retry(exc=ValueError("later"), countdown=600)

    result = waiting.delay()
    eventually(lambda: result.state == "RETRY")
    assert isinstance(result.result, ValueError)
    result.revoke()


@pytest.mark.celery("Tasks: retrying", "Meanwhile its traceback ends with `Retry in 600s: ValueError('later')`")
def test_retry_traceback(app, worker, eventually):
    @app.task(name="tasks.told", autoretry_for=(ValueError,), default_retry_delay=600)
    def told():
        raise ValueError("later")

    result = told.delay()
    eventually(lambda: result.state == "RETRY")
    lines = result.traceback.splitlines()
    assert lines[-1].endswith(".Retry: Retry in 600s: ValueError('later')")
    assert "ValueError: later" in lines
    result.revoke()


@pytest.mark.celery("Tasks: retrying", "`retry(args=, kwargs=)` changes the arguments")
def test_retry_arguments(app, worker):
    @app.task(name="tasks.changed", bind=True)
    def changed(self, x, y=0):
        if not self.request.retries:
            raise self.retry(args=(x + 1,), kwargs={"y": 5}, countdown=0)
        return x, y

    assert changed.delay(1).get(timeout=W) == [2, 5]


@pytest.mark.celery("Tasks: retrying", "`autoretry_for=` retries by itself")
def test_autoretry(app, worker):
    runs = []

    @app.task(name="tasks.auto", autoretry_for=(OSError,), retry_kwargs={"max_retries": 2, "countdown": 0})
    def auto():
        runs.append(1)
        raise OSError("no")

    with pytest.raises(OSError):
        auto.delay().get(timeout=W)
    assert len(runs) == 3


@pytest.mark.celery("Tasks: retrying", "`dont_autoretry_for=` excepts from it")
def test_dont_autoretry(app, worker):
    runs = []

    @app.task(name="tasks.dont", autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,), retry_backoff=0)
    def dont():
        runs.append(1)
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError):
        dont.delay().get(timeout=W)
    assert len(runs) == 1


@pytest.mark.celery(
    "Tasks: retrying", "`retry_backoff`, `retry_backoff_max`, `retry_jitter`: 1, 2, 4, ... seconds, at most 600"
)
def test_backoff(app):
    from liteq.policy.retry import RetryPolicy, decide

    task = app.task(
        name="tasks.plain3", autoretry_for=(OSError,), retry_backoff=True, retry_jitter=False, max_retries=20
    )(lambda: 1)
    policy = RetryPolicy.of(task)
    assert [decide(OSError(), retries=n, policy=policy) for n in (0, 1, 2, 3, 15)] == [1, 2, 4, 8, 600]
    jittered = RetryPolicy.of(app.task(name="tasks.plain4", autoretry_for=(OSError,), retry_backoff=5)(lambda: 2))
    assert 0 <= decide(OSError(), retries=2, policy=jittered) <= 20


@pytest.mark.celery("Tasks: retrying", "Those options on a class are those of its tasks")
def test_retry_class(app, worker):
    class Patient(Task):
        autoretry_for = (TypeError,)
        max_retries = 2
        retry_backoff = 0
        retry_jitter = False
        default_retry_delay = 0

    runs = []

    @app.task(name="tasks.patient", base=Patient, bind=True)
    def patient(self):
        runs.append(1)
        raise TypeError("no")

    with pytest.raises(TypeError):
        patient.delay().get(timeout=W)
    assert len(runs) == 3


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Tasks: options", "`throws=`: expected exceptions are logged without a traceback, at INFO")
def test_throws(app, worker, caplog):
    @app.task(name="tasks.throws", throws=(KeyError,))
    def throws():
        raise KeyError("expected")

    with caplog.at_level(logging.INFO):
        throws.delay().get(timeout=W, propagate=False)
    lines = [record for record in caplog.records if "tasks.throws" in record.getMessage() and "raised" in record.msg]
    assert [(record.levelname, record.exc_info) for record in lines] == [("INFO", None)]


@pytest.mark.celery("Tasks: options", "`track_started=True` shows STARTED, with the worker's `hostname` in `info`")
def test_track_started(app, worker, eventually):
    import threading

    gate = threading.Event()
    started = app.task(name="tasks.started", track_started=True)(lambda: gate.wait(W))
    result = started.delay()
    eventually(lambda: result.state == "STARTED")
    assert result.info["hostname"] == result.worker == app.backend.get_task_meta(result.id)["result"]["hostname"]
    gate.set()
    result.get(timeout=W)


@pytest.mark.celery("Tasks: options", "`ignore_result=True` keeps no result")
def test_ignore_result(app, worker, eventually):
    ran = []
    quiet = app.task(name="tasks.quiet", ignore_result=True)(lambda: ran.append(1) or 1)
    result = quiet.delay()
    assert result.get() is None
    eventually(lambda: ran)
    assert app.AsyncResult(result.id).result is None


@pytest.mark.celery("Tasks: options", "`acks_late` acknowledges after the run",
                    differs="that is the default: a task whose worker died runs again")  # fmt: skip
def test_acks_late(app):
    from liteq.message import Flag

    late, early = app.task(name="tasks.plain5")(lambda: 1), app.task(name="tasks.plain6", acks_late=False)(lambda: 2)
    assert late.acks_late is True
    assert app.publisher.message(early.name, (), {}, message_id="1").flags & Flag.EARLY_ACK


@pytest.mark.celery(
    "Tasks: options", "`rate_limit`, `time_limit`, `soft_time_limit`, `priority`, `queue`, `expires` of a task"
)
def test_options(app):
    task = app.task(
        name="tasks.plain7", rate_limit="10/m", time_limit=9, soft_time_limit=8, priority=4, queue="q", expires=60
    )(lambda: 1)
    message = app.publisher.message(task.name, (), {}, message_id="1")
    assert (task.rate_limit, task.time_limit, task.soft_time_limit) == ("10/m", 9, 8)
    assert (message.queue, message.priority) == ("q", 4)
    assert message.expires_ms is not None


# -- states ----------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Tasks: states", "`update_state(state=, meta=)` sets a state of one's own")
def test_custom_state(app, worker, eventually):
    import threading

    gate = threading.Event()

    @app.task(name="tasks.progress", bind=True)
    def progress(self):
        self.update_state(state="PROGRESS", meta={"current": 1, "total": 2})
        gate.wait(W)

    result = progress.delay()
    eventually(lambda: result.state == "PROGRESS")
    assert result.info == {"current": 1, "total": 2}
    gate.set()
    result.get(timeout=W)
    assert result.state == "SUCCESS"


@pytest.mark.celery("Tasks: states", "`Ignore` leaves the state to the task")
def test_ignore(app, worker, eventually):
    @app.task(name="tasks.ignore", bind=True)
    def ignored(self):
        self.update_state(state="MINE", meta={"why": "because"})
        raise Ignore

    result = ignored.delay()
    eventually(lambda: result.state == "MINE")
    assert result.info == {"why": "because"}


@pytest.mark.celery(
    "Tasks: states",
    "`get()` of a task that raised Ignore",
    differs="it has ended: None, or the meta of its state, at once; Celery waits for a result to be stored",
)
def test_get_after_ignore(app, worker, run):
    @app.task(name="tasks.handed_over", bind=True)
    def handed_over(self, state):
        if state is not None:
            self.update_state(state=state, meta={"by": "others"})
        raise Ignore

    assert run(handed_over, None) is None
    result = handed_over.delay("HANDED_OVER")
    assert result.get(timeout=W) == {"by": "others"}
    app.backend.store_result(result.id, "from outside", "SUCCESS")
    assert app.AsyncResult(result.id).get(timeout=W) == "from outside"


@pytest.mark.celery("Tasks: states", "`Reject(requeue=True)` puts the message back")
def test_reject_requeue(app, worker):
    runs = []

    @app.task(name="tasks.requeue")
    def requeue():
        runs.append(1)
        if len(runs) == 1:
            raise Reject("again", requeue=True)
        return len(runs)

    assert requeue.delay().get(timeout=W) == 2


@pytest.mark.celery("Tasks: states", "`Reject()` sends it to the dead letters")
def test_reject(app, worker, eventually):
    @app.task(name="tasks.reject")
    def reject():
        raise Reject("no", requeue=False)

    result = reject.delay()
    eventually(lambda: (record := app.storage.reader.find(result.id)) and record.state.value == "dead")


# -- exceptions ------------------------------------------------------------------------------------------------------


class OutOfStock(Exception):
    def __init__(self, item, left):
        super().__init__(item, left)
        self.item, self.left = item, left


@pytest.mark.celery("Tasks: exceptions", "An exception of one's own comes back as itself where its class is imported")
def test_own_exception(app, worker):
    @app.task(name="tasks.own")
    def own():
        raise OutOfStock("pen", 0)

    with pytest.raises(Exception) as caught:
        own.delay().get(timeout=W)
    assert type(caught.value).__name__ == "OutOfStock"
    assert caught.value.args == ("pen", 0)


@pytest.mark.celery("Tasks: exceptions", "SoftTimeLimitExceeded is an Exception that a task may catch")
def test_soft_limit_class():
    assert issubclass(SoftTimeLimitExceeded, Exception)


# -- classes and handlers --------------------------------------------------------------------------------------------


@pytest.mark.celery("Tasks: classes", "A task is made once in each process: `__init__` and attributes last")
def test_instantiation(app, worker):
    made = []

    class Database(Task):
        _db = None

        def __init__(self):
            made.append(1)

        @property
        def db(self):
            if self._db is None:
                self._db = object()
            return self._db

    @app.task(base=Database, bind=True, name="tasks.database")
    def database(self):
        return id(self.db)

    assert database.delay().get(timeout=W) == database.delay().get(timeout=W)
    assert len(made) == 1


@pytest.mark.celery("Tasks: classes", "`app.register_task(MyTask())`: a class with `run`")
def test_class_based(app, run):
    class Add(Task):
        name = "tasks.class_based"

        def run(self, x, y):
            return x + y

    assert run(app.register_task(Add()), 1, 2) == 3


@pytest.mark.celery("Tasks: classes", "A class method of a task's class asks `cls.app` and `cls._get_app()`")
def test_class_methods(app, fresh):
    class Tenant(Task):
        @classmethod
        def place(cls):
            return cls.app.main, cls._get_app().conf.tenants

    app.conf.tenants, fresh.conf.tenants = "here", "there"
    assert Tenant.place() == ("guide", "here")  # of no task yet: the current app
    one = app.task(base=Tenant, name="tasks.one")(lambda: 1)
    two = fresh.task(base=Tenant, name="tasks.two")(lambda: 2)
    assert (one.place(), type(one).place()) == (("guide", "here"), ("guide", "here"))
    assert (two.place(), type(two).place()) == (("fresh", "there"), ("fresh", "there"))


@pytest.mark.celery("Tasks: handlers", "before_start, on_success and after_return, in this order, with their arguments")
def test_handlers_of_success(app, worker):
    calls = []

    class Watched(Task):
        def before_start(self, task_id, args, kwargs):
            calls.append(("before_start", task_id, list(args), kwargs))

        def on_success(self, retval, task_id, args, kwargs):
            calls.append(("on_success", retval, task_id))

        def after_return(self, status, retval, task_id, args, kwargs, einfo):
            calls.append(("after_return", status, retval, einfo))

    result = app.task(base=Watched, name="tasks.watched")(lambda x, y=0: x).delay(1, y=2)
    result.get(timeout=W)
    assert calls == [
        ("before_start", result.id, [1], {"y": 2}), ("on_success", 1, result.id), ("after_return", "SUCCESS", 1, None),
    ]  # fmt: skip


@pytest.mark.celery("Tasks: handlers", "on_failure gets the exception and its traceback as einfo")
def test_on_failure(app, worker):
    calls = []

    class Watched(Task):
        def on_failure(self, exc, task_id, args, kwargs, einfo):
            calls.append((type(exc), task_id, "ZeroDivisionError" in str(einfo)))

    result = app.task(base=Watched, name="tasks.failing")(lambda: 1 / 0).delay()
    result.get(timeout=W, propagate=False)
    assert calls == [(ZeroDivisionError, result.id, True)]


@pytest.mark.celery("Tasks: handlers", "on_retry is called before a retry, after_return is not")
def test_on_retry(app, worker):
    calls = []

    class Watched(Task):
        def on_retry(self, exc, task_id, args, kwargs, einfo):
            calls.append(("on_retry", str(exc)))

        def after_return(self, status, *args):
            calls.append(("after_return", status))

    @app.task(base=Watched, name="tasks.retrying", bind=True)
    def retrying(self):
        if not self.request.retries:
            raise self.retry(exc=OSError("once"), countdown=0)

    retrying.delay().get(timeout=W)
    assert calls == [("on_retry", "once"), ("after_return", "SUCCESS")]


@pytest.mark.celery("Tasks: handlers", "`__call__` of one's own is around the body")
def test_call_override(app, run):
    class Timed(Task):
        def __call__(self, *args, **kwargs):
            return ["around", super().__call__(*args, **kwargs)]

    assert run(app.task(base=Timed, name="tasks.timed")(lambda x: x), 3) == ["around", 3]


@pytest.mark.celery("Tasks: handlers", "`replace(sig)`: another task takes this one's place and id")
def test_replace(app, worker, add):
    @app.task(name="tasks.replace", bind=True)
    def replace(self, x):
        raise self.replace(add.s(x, 10))

    assert replace.delay(5).get(timeout=W) == 15


@pytest.mark.celery("Tasks: handlers", "`async def` tasks", differs="Celery has none")
def test_async(app, run):
    import asyncio

    @app.task(name="tasks.coroutine")
    async def coroutine(x):
        await asyncio.sleep(0)
        return x

    assert run(coroutine, 3) == 3
