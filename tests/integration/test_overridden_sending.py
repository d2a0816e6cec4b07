"""Task classes with an `apply_async` of their own: it has its say wherever a task of theirs is sent."""

from __future__ import annotations

import pytest

from liteq import LiteQ, Task, chain, chord, group
from liteq.result import AsyncResult
from liteq.testing import start_worker

WAIT_S = 60


class TenantTask(Task):
    """Sends the tenant along, in a header."""

    abstract = True
    asked = 0

    def apply_async(self, args=None, kwargs=None, task_id=None, **options):
        type(self).asked += 1
        headers = {"tenant": "north", **(options.pop("headers", None) or {})}
        return super().apply_async(args, kwargs, task_id=task_id, headers=headers, **options)


class UserTask(Task):
    """Sends the user along, as an argument that the function does not see."""

    abstract = True
    typing = False

    def apply_async(self, args=None, kwargs=None, **options):
        return super().apply_async(args, {**(kwargs or {}), "_user": 7}, **options)

    def __call__(self, *args, **kwargs):
        user = kwargs.pop("_user", None)
        return [user, *super().__call__(*args, **kwargs)]


@pytest.fixture
def app(tmp_path):
    app = LiteQ("app", broker=f"sqlite:///{tmp_path}/q.db", durability="relaxed")
    yield app
    app.close()


@pytest.fixture
def tenant_of(app):
    @app.task(bind=True, base=TenantTask, name="tenant_of")
    def tenant_of(self, *args):
        return [self.request.get("tenant"), *args]

    return tenant_of


@pytest.fixture
def worker(app):
    with start_worker(app, pool="threads", concurrency=2) as worker:
        yield worker


def test_each_part_of_a_canvas_is_sent_as_its_class_wants_it(app, tenant_of, worker):
    @app.task(name="add")
    def add(x, y):
        return x + y

    def got(canvas):
        return canvas.apply_async().get(timeout=WAIT_S)

    assert got(tenant_of.s(1)) == ["north", 1]
    assert got(tenant_of.s(1).set(headers={"tenant": "south"})) == ["south", 1]
    assert got(app.signature("tenant_of", args=(1,))) == ["north", 1]
    assert got(group(tenant_of.s(1), tenant_of.s(2))) == [["north", 1], ["north", 2]]
    assert got(chain(add.s(1, 2), tenant_of.s(), tenant_of.si(5))) == ["north", 5]
    assert got(chord([tenant_of.s(1)], tenant_of.s())) == ["north", [["north", 1]]]
    sent = add.apply_async((1, 1), link=tenant_of.s())
    assert sent.get(timeout=WAIT_S) == 2
    assert sent.children[0].get(timeout=WAIT_S) == ["north", 2]


def test_it_is_asked_once_for_each_message(tenant_of):
    asked = type(tenant_of).asked
    tenant_of.delay(1)
    tenant_of.apply_async((1,), link=tenant_of.s())
    group(tenant_of.s(1), tenant_of.s(2)).apply_async()
    tenant_of.s(1).apply_async()
    assert type(tenant_of).asked == asked + 6


def test_arguments_that_it_adds_need_not_fit_the_function(app, worker):
    @app.task(base=UserTask, name="who")
    def who(*args):
        return list(args)

    assert who.delay(1).get(timeout=WAIT_S) == [7, 1]
    assert group(who.s(1), who.s(2))().get(timeout=WAIT_S) == [[7, 1], [7, 2]]


def test_callbacks_that_it_adds_run(app, worker, eventually):
    told = []

    class Watched(Task):
        abstract = True

        def apply_async(self, *args, **options):
            return super().apply_async(*args, **{"link_error": watch.si("failed"), **options})

    @app.task(name="watch")
    def watch(what):
        told.append(what)

    @app.task(base=Watched, name="fail")
    def fail():
        raise ValueError

    group(fail.s(), fail.s()).apply_async()
    eventually(lambda: told == ["failed", "failed"], within_s=WAIT_S)


def test_what_it_returns_is_what_a_signature_returns(app):
    class Once(Task):
        abstract = True

        def apply_async(self, args=None, kwargs=None, **options):
            return AsyncResult("the-first", app=self.app)

    @app.task(base=Once, name="once")
    def once(): ...

    assert once.s().delay().id == "the-first"
    assert not app.storage.reader.counts()
    with pytest.raises(TypeError, match=r"'once' did not call super\(\)\.apply_async"):
        group(once.s(), once.s()).apply_async()
    assert not app.storage.reader.counts()


def test_it_is_asked_when_beat_sends(app, tenant_of):
    app.schedules.add("by hand", 60, "tenant_of")
    sent = app.schedules.run_now("by hand")
    with start_worker(app, pool="threads"):
        assert sent.get(timeout=WAIT_S) == ["north"]


class JobResult(AsyncResult):
    """A result that knows the job it stands for."""

    @property
    def job(self):
        return f"job of {self.name}"


class JobTask(Task):
    """Its calls have results of its own class."""

    abstract = True

    def AsyncResult(self, task_id, **options):
        return JobResult(task_id, task_name=self.name, app=self.app, **options)


@pytest.mark.celery("Tasks: classes", "A class's own `AsyncResult` makes the results of its calls and signatures")
def test_a_class_makes_the_results_of_its_calls(app, worker):
    @app.task(base=JobTask, name="job")
    def job(*args):
        return list(args)

    results = [job.delay(1), job.apply_async((1,)), job.apply_async((1,), countdown=0), job.s(1).delay()]
    assert [(type(result), result.job, result.get(timeout=WAIT_S)) for result in results] == [
        (JobResult, "job of job", [1])
    ] * 4
    assert job.apply_async((1,), ignore_result=True).ignored
    assert chain(job.s(1), job.s(2)).delay().get(timeout=WAIT_S) == [[1], 2]
    assert group(job.s(1), job.s(2)).delay().get(timeout=WAIT_S) == [[1], [2]]


class TenantsApp(LiteQ):
    """Sends the tenant along with each task, by the method that Celery's tasks go through."""

    def send_task(self, name, args=None, kwargs=None, **options):
        headers = {"tenant": "east", **(options.pop("headers", None) or {})}
        return super().send_task(name, args, kwargs, headers=headers, **options)


@pytest.mark.celery("Calling", "The `send_task` of a class of apps has its say when a task of the app is sent")
def test_a_send_task_of_the_app_s_class_has_its_say_wherever_a_task_is_sent(tmp_path):
    app = TenantsApp("app", broker=f"sqlite:///{tmp_path}/q.db", durability="relaxed")

    @app.task(bind=True, name="tenant", ignore_result=False)
    def tenant(self, *args):
        return [self.request.get("tenant"), *args]

    class Result(AsyncResult): ...

    class Own(Task):
        abstract = True

        def AsyncResult(self, task_id, **kwargs):
            return Result(task_id, app=self.app, **kwargs)

    of_own = app.task(name="of_own", bind=True, base=Own)(lambda self: self.request.get("tenant"))
    with start_worker(app, pool="threads", concurrency=2):
        assert tenant.delay(1).get(timeout=WAIT_S) == ["east", 1]
        assert tenant.apply_async((1,), headers={"tenant": "west"}).get(timeout=WAIT_S) == ["west", 1]
        assert tenant.s(1).apply_async(task_id="mine").id == "mine"
        assert chain(tenant.s(1), tenant.si(2)).apply_async().get(timeout=WAIT_S) == ["east", 2]
        assert group(tenant.s(1), tenant.s(2)).apply_async().get(timeout=WAIT_S) == [["east", 1], ["east", 2]]
        assert chord([tenant.s(1)], tenant.s()).apply_async().get(timeout=WAIT_S) == ["east", [["east", 1]]]
        assert app.send_task("tenant", (3,)).get(timeout=WAIT_S) == ["east", 3]
        own = of_own.delay()
        assert (type(own), own.get(timeout=WAIT_S)) == (Result, "east")
    app.conf.task_always_eager = True  # as in Celery, where nothing is sent then
    assert tenant.delay(1).get() == [None, 1]
    app.close()


def test_a_send_task_that_a_test_has_put_in_its_place_is_called(app, tenant_of, monkeypatch):
    plain = app.task(name="plain")(lambda x: x)
    plain.delay(1)
    called = []
    monkeypatch.setattr(app, "send_task", lambda name, args, kwargs, **options: called.append((name, args, kwargs)))
    plain.delay(2)
    plain.apply_async((3,), countdown=5)
    tenant_of.delay(4)
    assert called == [("plain", (2,), {}), ("plain", (3,), None), ("tenant_of", (4,), {})]
    assert app.storage.reader.waiting(["celery"], limit=9) == 1


def test_a_send_task_that_is_put_back_is_liteq_s_own(app):
    own = app.send_task
    app.send_task = print
    assert app.sender.goes_through_app
    app.send_task = own
    assert not app.sender.goes_through_app


class Wrapper:
    """As those of the library wrapt: a method that is another object at each look."""

    def __init__(self, own, told):
        self.own, self.told = own, told

    def __get__(self, app, cls):
        return lambda *args, **options: self.told.append(args[0]) or self.own(app, *args, **options)


@pytest.mark.parametrize("kind", [LiteQ, type("Shop", (LiteQ,), {})])
def test_nor_is_a_wrapper_that_is_a_descriptor_of_its_own(kind, tmp_path, monkeypatch):
    wrapped = []
    monkeypatch.setattr(LiteQ, "send_task", Wrapper(LiteQ.send_task, wrapped))
    with kind("shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False) as app:
        app.task(name="plain")(lambda x: x).delay(1)
        assert not wrapped
        app.send_task("plain", (2,))
        assert wrapped == ["plain"]


def test_what_a_library_wraps_around_liteq_s_own_is_not_gone_through(app, monkeypatch):
    """Sentry's integration wraps `apply_async` too: a call that went through both would have two spans."""
    wrapped = []
    own = LiteQ.send_task
    monkeypatch.setattr(LiteQ, "send_task", lambda *args, **options: wrapped.append(args[1]) or own(*args, **options))
    plain = app.task(name="plain")(lambda x: x)
    plain.delay(1)
    assert not wrapped
    app.send_task("plain", (2,))
    assert wrapped == ["plain"]
    assert app.storage.reader.waiting(["celery"], limit=9) == 2
