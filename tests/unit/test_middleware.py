"""`app.middleware`: code around each call that is sent and each execution, the first outermost."""

from __future__ import annotations

import asyncio
import contextvars
from datetime import timedelta

import pytest

from liteq import LiteQ, Middleware, chain, chord, group, signals
from liteq.beat import Beat
from liteq.exceptions import Ignore, Retry
from liteq.middleware import Call, Execution
from liteq.testing import drain
from liteq.workflow import ctx

tenant = contextvars.ContextVar("tenant", default="nobody")


class Noting(Middleware):
    def __init__(self, name: str, notes: list[object]) -> None:
        self.name, self.notes = name, notes

    def on_publish(self, call, send):
        self.notes.append((self.name, "publish", call.task))
        sent = send(call)
        self.notes.append((self.name, "sent", call.task))
        return sent

    def on_execute(self, execution, run):
        self.notes.append((self.name, "execute", execution.name))
        try:
            return run(execution)
        finally:
            self.notes.append((self.name, "executed", execution.name))


class Tenancy(Middleware):
    """The recipe of the docs: the tenant of the sender is that of the task."""

    def on_publish(self, call, send):
        call.headers["tenant"] = tenant.get()
        return send(call)

    def on_execute(self, execution, run):
        token = tenant.set(execution.headers["tenant"])
        try:
            return run(execution)
        finally:
            tenant.reset(token)


@pytest.fixture(autouse=True)
def no_tenant():
    token = tenant.set("nobody")
    yield
    tenant.reset(token)


@pytest.fixture
def app(tmp_path):
    with LiteQ("middle", broker=f"sqlite:///{tmp_path}/q.db") as made:

        @made.task(name="tenant")
        def tenant_now(*_given: object, **_named: object) -> str:
            return tenant.get()

        @made.task(name="tenant_async")
        async def tenant_async() -> str:
            return tenant.get()

        @made.task(name="double")
        def double(x: int) -> int:
            return 2 * x

        yield made


def got(app: LiteQ, result):
    drain(app)
    return result.get(timeout=0)


def test_the_first_is_outermost(app):
    notes: list[object] = []
    for name in "ab":
        app.middleware.add(Noting(name, notes))
    assert got(app, app.tasks["double"].delay(1)) == 2
    sent = [("a", "publish"), ("b", "publish"), ("b", "sent"), ("a", "sent")]
    run = [("a", "execute"), ("b", "execute"), ("b", "executed"), ("a", "executed")]
    assert [one[:2] for one in notes] == sent + run


WAYS = {
    "delay": lambda task: task.delay(),
    "with an option": lambda task: task.apply_async(priority=3),
    "a header": lambda task: task.apply_async(headers={"mine": 1}),
    "by name": lambda task: task.app.send_task("tenant"),
    "a signature": lambda task: task.s().delay(),
    "a linked one": lambda task: task.apply_async(link=task.si()),
    "a chain": lambda task: chain(task.si(), task.si()).delay(),
    "a group": lambda task: group(task.s(), task.s()).delay(),
    "a chord": lambda task: chord([task.s(), task.s()])(task.si()),
    "in bulk": lambda task: task.app.AsyncResult(task.app.enqueue_many(task, [(), ()])[1]),
    "signatures in bulk": lambda task: task.app.AsyncResult(
        task.app.enqueue_many([task.s(), task.s(1) | task.si()])[1]
    ),
    "async": lambda task: asyncio.run(task.adelay()),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_send_goes_through_it(app, way):
    app.middleware.add(Tenancy())
    tenant.set("acme")
    result = WAYS[way](app.tasks["tenant"])
    tenant.set("another")
    value = got(app, result)
    assert set(value if isinstance(value, list) else [value]) == {"acme"}


def test_the_parts_of_a_canvas_all_go_through_it(app):
    notes: list[object] = []
    app.middleware.add(Noting("a", notes))
    chord([app.tasks["double"].s(1), app.tasks["double"].s(2)])(app.tasks["tenant"].si())
    assert [one[2] for one in notes if one[1] == "publish"] == ["double", "double", "tenant"]


def test_an_entry_of_beat_goes_through_it(app):
    app.middleware.add(Tenancy())
    tenant.set("acme")
    app.conf.beat_schedule = {"often": {"task": "tenant", "schedule": timedelta(seconds=1)}}
    Beat(app).turn()
    result = app.schedules.run_now("often")
    assert got(app, result) == "acme"


def test_one_that_beat_sends_when_it_is_due_too(tmp_path):
    from liteq.clock import FakeClock

    clock = FakeClock()
    with LiteQ("beats", broker=f"sqlite:///{tmp_path}/q.db", clock=clock) as app:
        app.task(name="noted")(lambda: None)
        app.conf.beat_schedule = {"often": {"task": "noted", "schedule": 10.0}}
        notes: list[object] = []
        app.middleware.add(Noting("a", notes))
        beat = Beat(app)
        beat.turn()
        clock.advance(seconds=11)
        beat.turn()
        assert ("a", "publish", "noted") in notes


@pytest.mark.parametrize("name", ["tenant", "tenant_async"])
def test_what_it_sets_holds_in_sync_and_async_tasks(app, name):
    app.middleware.add(Tenancy())
    tenant.set("acme")
    sent = app.tasks[name].delay()
    tenant.set("another")
    assert got(app, sent) == "acme"


def test_hooks_and_signals_of_the_task_are_inside(app):
    app.middleware.add(Tenancy())
    seen = []

    def after(**_named):
        seen.append(tenant.get())

    class Hooked(app.Task):
        def on_success(self, retval, task_id, args, kwargs):
            seen.append(tenant.get())

    app.task(name="hooked", base=Hooked)(lambda: None)
    signals.task_postrun.connect(after)
    try:
        tenant.set("acme")
        app.tasks["hooked"].delay()
        tenant.set("another")
        drain(app)
    finally:
        signals.task_postrun.disconnect(after)
    assert seen == ["acme", "acme"]


def test_a_call_may_be_changed(app):
    class Changing(Middleware):
        def on_publish(self, call, send):
            call.args = (call.args[0] + 1,)
            call.options["queue"] = "other"
            return send(call)

    app.middleware.add(Changing())
    result = app.tasks["double"].delay(1)
    record = app.storage.reader.find(result.id)
    assert record is not None
    assert record.queue == "other"
    drain(app, queues=["other"])
    assert result.get(timeout=0) == 4
    given = {"queue": "mine"}
    app.tasks["double"].s(5).set(**given).delay()
    assert given == {"queue": "mine"}


def test_another_task_may_be_called(app):
    class Redirecting(Middleware):
        def on_publish(self, call, send):
            call.task, call.args = "tenant", ()
            return send(call)

    app.middleware.add(Redirecting())
    assert got(app, app.tasks["double"].delay(1)) == "nobody"
    assert got(app, app.tasks["double"].s(1).delay()) == "nobody"


class Refusing(Middleware):
    def on_publish(self, call, send):
        if call.args == (13,):
            raise PermissionError("not 13")
        return send(call)


@pytest.mark.parametrize(
    "send",
    [
        lambda double: double.delay(13),
        lambda double: group(double.s(1), double.s(13)).delay(),
        lambda double: double.app.enqueue_many(double, [(1,), (13,)]),
        lambda double: asyncio.run(double.adelay(13)),
    ],
)
def test_what_is_raised_refuses_the_sending_as_a_whole(app, send):
    app.middleware.add(Refusing())
    with pytest.raises(PermissionError, match="not 13"):
        send(app.tasks["double"])
    assert drain(app) == 0


def test_one_that_forgets_to_send_is_told_so(app):
    class Forgetful(Middleware):
        def on_publish(self, call, send):
            return None

    class Doubling(Middleware):
        def on_publish(self, call, send):
            send(call)
            return send(call)

    app.middleware.add(forgetful := Forgetful())
    with pytest.raises(RuntimeError, match=r"did not call send\(\) for the call of 'double'"):
        app.tasks["double"].delay(1)
    app.middleware.remove(forgetful)
    app.middleware.add(Doubling())
    with pytest.raises(RuntimeError, match=r"called send\(\) twice"):
        app.tasks["double"].delay(1)


# -- executing -------------------------------------------------------------------------------------------------------


def test_what_it_returns_is_the_result(app):
    class Adding(Middleware):
        def on_execute(self, execution, run):
            return run(execution) + 1

    app.middleware.add(Adding())
    assert got(app, app.tasks["double"].delay(4)) == 9
    assert app.tasks["double"].apply((4,)).get() == 9


def test_what_it_raises_is_the_task_s(app):
    class Failing(Middleware):
        before = after = False

        def on_execute(self, execution, run):
            if self.before:
                raise ConnectionError("no tenant")
            value = run(execution)
            if self.after:
                raise ConnectionError("no commit")
            return value

    app.middleware.add(failing := Failing())
    app.task(name="tried", autoretry_for=(ConnectionError,), max_retries=2, retry_backoff=False, default_retry_delay=0)(
        lambda: "done"
    )
    for failing.before, failing.after, text in ((True, False, "no tenant"), (False, True, "no commit")):
        result = app.tasks["tried"].delay()
        drain(app)
        assert (result.state, str(result.result)) == ("FAILURE", text)
        record = app.storage.reader.find(result.id)
        assert record is not None
        assert record.retries == 2


def test_it_may_turn_a_failure_into_a_result(app):
    class Forgiving(Middleware):
        def on_execute(self, execution, run):
            try:
                return run(execution)
            except ZeroDivisionError:
                return "infinite"

    app.middleware.add(Forgiving())
    app.task(name="divide")(lambda: 1 / 0)
    assert got(app, app.tasks["divide"].delay()) == "infinite"


def test_a_retry_and_ignore_pass_through_and_mean_what_they_say(app):
    seen = []

    class Watching(Middleware):
        def on_execute(self, execution, run):
            try:
                return run(execution)
            except Exception as exc:
                seen.append((execution.attempt, type(exc)))
                raise

    app.middleware.add(Watching())

    @app.task(bind=True, name="again", max_retries=1, default_retry_delay=0)
    def again(self):
        if self.request.retries == 0:
            raise self.retry()
        raise Ignore

    result = again.delay()
    drain(app)
    assert seen == [(1, Retry), (2, Ignore)]
    assert app.storage.reader.find(result.id).state == "cancelled"


def test_an_execution_tells_what_runs(app):
    seen: list[Execution] = []

    class Seeing(Middleware):
        def on_publish(self, call, send):
            assert isinstance(call, Call)
            call.headers["by"] = "me"
            return send(call)

        def on_execute(self, execution, run):
            seen.append(execution)
            return run(execution)

    app.middleware.add(Seeing())
    result = app.tasks["tenant"].delay(1, y=2)
    drain(app)
    assert seen == [Execution("task", "tenant", result.id, (1,), {"y": 2}, {"by": "me"}, 1)]
    with pytest.raises(AttributeError):
        seen[0].name = "other"  # type: ignore[misc]


# -- async -----------------------------------------------------------------------------------------------------------


def test_the_async_twins_are_awaited_in_the_event_loop(app):
    seen = []

    class Awaiting(Middleware):
        def on_publish(self, call, send):
            seen.append("on_publish")
            return send(call)

        def on_execute(self, execution, run):
            seen.append("on_execute")
            return run(execution)

        async def aon_publish(self, call, send):
            await asyncio.sleep(0)
            call.headers["tenant"] = "looked up"
            seen.append("aon_publish")
            return await send(call)

        async def aon_execute(self, execution, run):
            await asyncio.sleep(0)
            seen.append("aon_execute")
            tenant.set(execution.headers["tenant"])
            return (await run(execution)).upper()

    app.middleware.add(Awaiting())
    assert got(app, asyncio.run(app.tasks["tenant_async"].adelay())) == "LOOKED UP"
    assert seen == ["aon_publish", "aon_execute"]
    got(app, app.tasks["tenant"].delay())
    assert seen[2:] == ["on_publish", "on_execute"]


def test_one_without_twins_is_called_for_async_code_too(app):
    notes: list[object] = []

    class Passing(Middleware):
        async def aon_publish(self, call, send):
            notes.append("awaited")
            return await send(call)

    app.middleware.add(Passing())
    app.middleware.add(Noting("a", notes))
    got(app, asyncio.run(app.tasks["tenant_async"].adelay()))
    assert notes == ["awaited", ("a", "publish", "tenant_async"), ("a", "sent", "tenant_async"),
                     ("a", "execute", "tenant_async"), ("a", "executed", "tenant_async")]  # fmt: skip


# -- eager, workflows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["delay", "a chain", "a group", "in bulk"])
def test_eager_calls_go_through_it(app, way):
    app.conf.task_always_eager = True
    notes: list[object] = []
    app.middleware.add(Noting("a", notes))
    task = app.tasks["tenant"]
    if way == "in bulk":
        app.enqueue_many(task, [()])
    else:
        WAYS[way](task)
    kinds = [one[1] for one in notes]
    assert kinds[:2] == ["publish", "execute"]
    assert kinds.count("publish") == kinds.count("execute")


def test_runs_and_steps_of_workflows_go_through_it(app):
    seen: list[tuple[str, str, int]] = []

    class Seeing(Middleware):
        def on_publish(self, call, send):
            call.headers["tenant"] = "acme"
            return send(call)

        def on_execute(self, execution, run):
            seen.append((execution.kind, execution.name, execution.attempt))
            assert execution.headers == {"tenant": "acme"}
            return run(execution)

    app.middleware.add(Seeing())

    @app.step(name="flaky", retries=1, backoff=0)
    def flaky(x: int) -> int:
        if len(seen) < 3:
            raise ConnectionError
        return x

    @app.workflow(name="whole")
    def whole(x: int) -> int:
        return flaky(x) + ctx.call(app.tasks["double"], x)

    run = whole.start(3)
    drain(app)
    assert run.get(timeout=0) == 9
    assert seen[:3] == [("run", "whole", 1), ("step", "flaky", 1), ("step", "flaky", 2)]
    assert [one[:2] for one in seen[3:]] == [("task", "double"), ("run", "whole")]


def test_an_async_step_has_the_async_twin(app):
    seen = []

    class Awaiting(Middleware):
        async def aon_execute(self, execution, run):
            seen.append((execution.kind, execution.name))
            return await run(execution) + 1

    app.middleware.add(Awaiting())

    @app.step(name="slow")
    async def slow(x: int) -> int:
        return x

    @app.workflow(name="whole")
    async def whole(x: int) -> int:
        return await slow(x)

    run = whole.start(3)
    drain(app)
    assert run.get(timeout=0) == 4
    assert seen == [("step", "slow")]


# -- adding ----------------------------------------------------------------------------------------------------------


class AsyncPublish(Middleware):
    async def on_publish(self, call, send):
        return await send(call)


class SyncTwin(Middleware):
    def aon_execute(self, execution, run):
        return run(execution)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (Tenancy, r"added as an instance: app.middleware.add\(Tenancy\(\)\)"),
        (print, "an instance of a subclass of liteq.Middleware"),
        (AsyncPublish(), "AsyncPublish.on_publish is async.* name it aon_publish"),
        (SyncTwin(), "SyncTwin.aon_execute has to be async"),
    ],
)
def test_a_wrong_one_is_refused_at_once(app, wrong, text):
    with pytest.raises(TypeError, match=text):
        app.middleware.add(wrong)
    assert list(app.middleware) == []


def test_one_is_added_once(app):
    app.middleware.add(one := Tenancy())
    with pytest.raises(ValueError, match="already"):
        app.middleware.add(one)


def test_it_holds_for_tasks_that_have_been_sent_and_run_before(app):
    double = app.tasks["double"]
    assert got(app, double.delay(1)) == 2
    notes: list[object] = []
    app.middleware.add(one := Noting("a", notes))
    assert got(app, double.delay(1)) == 2
    assert len(notes) == 4
    app.middleware.remove(one)
    assert got(app, double.delay(1)) == 2
    assert len(notes) == 4


def test_without_any_a_plain_call_goes_its_short_way(app):
    double = app.tasks["double"]
    double.delay(1)
    assert app.publisher.plain["double"] is not None
    app.middleware.add(Tenancy())
    double.delay(1)
    assert app.publisher.plain["double"] is None
    assert double.plan.is_enclosed


# -- what it may rely on ---------------------------------------------------------------------------------------------


def test_what_it_sends_while_a_task_runs_has_the_task_as_its_parent(app):
    class Auditing(Middleware):
        def on_execute(self, execution, run):
            value = run(execution)
            if execution.name == "double":
                app.tasks["tenant"].apply_async(task_id="audit")
            return value

    app.middleware.add(Auditing())
    result = app.tasks["double"].delay(2)
    assert got(app, result) == 4
    record = app.storage.reader.find("audit")
    assert record is not None
    assert (record.parent_id, record.root_id) == (result.id, result.id)


def test_one_that_only_executes_leaves_plain_calls_their_short_way(app):
    class Timing(Middleware):
        def on_execute(self, execution, run):
            return run(execution)

    app.middleware.add(Timing())
    app.tasks["double"].delay(1)
    assert app.publisher.plain["double"] is not None


def test_an_async_step_that_was_sent_as_a_message_is_inside_of_on_execute(app):
    seen = []

    class Seeing(Middleware):
        def on_execute(self, execution, run):
            seen.append((execution.kind, execution.name))
            return run(execution)

    app.middleware.add(Seeing())

    @app.step(name="slow")
    async def slow(x: int) -> int:
        return x

    @app.workflow(name="whole")
    def whole(x: int) -> int:
        return ctx.call(slow, x)

    run = whole.start(3)
    drain(app)
    assert run.get(timeout=0) == 3
    assert seen == [("run", "whole"), ("step", "slow"), ("run", "whole")]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_batch_is_one_execution(app, is_async):
    seen = []

    class Seeing(Middleware):
        refuses = False

        def on_execute(self, execution, run):
            if self.refuses:
                raise ConnectionError("no tenant")
            seen.append((execution.kind, execution.name, len(execution.args[0])))
            return run(execution)

    app.middleware.add(seeing := Seeing())

    async def doubled_async(items):
        return [2 * item.args[0] for item in items]

    def doubled(items):
        return [2 * item.args[0] for item in items]

    task = app.task(name="doubled", batch=10)(doubled_async if is_async else doubled)
    results = [task.delay(n) for n in range(3)]
    drain(app)
    assert [result.get(timeout=0) for result in results] == [0, 2, 4]
    assert seen == [("task", "doubled", 3)]
    seeing.refuses = True
    results = [task.delay(n) for n in range(3)]
    drain(app)
    assert [str(result.result) for result in results] == ["no tenant"] * 3


@pytest.mark.parametrize("name", [None, "the list"])
def test_send_many_goes_through_it_and_what_is_raised_refuses_its_chunk(app, name):
    seen = []

    @app.task(name="seen")
    def note(n: int) -> None:
        seen.append((n, tenant.get()))

    app.middleware.add(Tenancy())
    app.middleware.add(Refusing())
    tenant.set("acme")
    with pytest.raises(PermissionError, match="not 13"):
        note.send_many(range(10, 20), chunk=2, name=name)
    tenant.set("another")
    drain(app)
    assert seen == [(10, "acme"), (11, "acme")]


def test_a_run_sends_no_signals_of_tasks_and_middleware_is_around_it(app, connected):
    seen = []

    class Kinds(Middleware):
        def on_execute(self, execution, run):
            seen.append((execution.kind, execution.name))
            return run(execution)

    app.middleware.add(Kinds())

    @app.step(name="pay")
    def pay() -> int:
        return 1

    @app.workflow(name="order")
    def order() -> int:
        return pay() + int(ctx.wait_event("go"))

    of_task = ("task_prerun", "task_postrun", "task_success", "task_retry", "task_failure")
    told = {name: connected(getattr(signals, name)) for name in of_task}
    run = order.start()
    drain(app)
    run.send("go", 1)
    drain(app)
    assert run.result(0) == 2
    assert seen == [("run", "order"), ("step", "pay"), ("run", "order")]
    assert not any(told.values())
    app.tasks["double"].delay(1)
    drain(app)
    assert [name for name, calls in told.items() if calls] == ["task_prerun", "task_postrun", "task_success"]


@pytest.fixture
def connected():
    """`connected(signal)` is a list of what it sends from now on."""
    receivers = []

    def connect(signal):
        told = []

        def receive(**fields):
            told.append(fields)

        signal.connect(receive, weak=False)
        receivers.append((signal, receive))
        return told

    yield connect
    for signal, receive in receivers:
        signal.disconnect(receive)
