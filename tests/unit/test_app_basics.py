"""The app: names, settings, registry, routes; no file is opened here."""

from __future__ import annotations

import asyncio
import logging
import sys
import types
from datetime import UTC
from functools import wraps
from uuid import UUID

import pytest

from liteq import Celery, LiteQ, Task, context, current_app, shared_task, uuid
from liteq.context import Request
from liteq.exceptions import AlreadyRegistered, ImproperlyConfigured, NotRegistered
from liteq.message import Flag
from liteq.schedules import schedule
from liteq.sending.compile import compile_signature
from liteq.serialization import decode
from liteq.testing import eager


@pytest.fixture
def app():
    return LiteQ("proj", broker="sqlite:///never-opened.db")


def message_of(app, task, args=(), **options):
    return app.publisher.message(task.name, args, {}, options, message_id="id")


def test_a_task_is_named_after_its_module_and_function(app):
    @app.task
    def add(x, y):
        return x + y

    assert add.name == f"{__name__}.add"
    assert app.tasks[add.name] is add
    assert add(2, 3) == 5


def test_a_script_s_tasks_are_named_after_the_app(app):
    assert app.gen_task_name("add", "__main__") == "proj.add"


def test_an_id_for_a_call_is_made_as_with_celery(app):
    assert len({uuid() for _ in range(3)}) == 3
    assert len(str(UUID(uuid()))) == 36


def test_two_functions_cannot_be_one_task_but_a_module_may_be_loaded_twice(app):
    def make():
        @app.task(name="the-one")
        def one():
            return 1

        return one

    make()
    again = make()
    assert app.tasks["the-one"] is again
    with pytest.raises(AlreadyRegistered):
        app.task(name="the-one")(lambda: 2)


def test_a_module_may_be_imported_under_two_names(app, tmp_path, monkeypatch):
    """As `shop.tasks` and as `tasks`, or as `__main__` too: its tasks have their names by `name=`."""
    code = "def decorate(app):\n    app.task(name='the-one')(one)\n\n\ndef one():\n    return __name__\n"
    for name in ("twice_imported", "imported_twice"):
        exec(compile(code, tmp_path / "tasks.py", "exec"), loaded := {"__name__": name})
        loaded["decorate"](app)
    assert app.tasks["the-one"]() == "imported_twice"


@pytest.mark.celery(
    "Tasks: names", "Two functions that want one name", differs="AlreadyRegistered; Celery warns and takes the first"
)
def test_another_function_of_that_name_is_refused(app):
    app.task(name="the-one")(len)
    with pytest.raises(AlreadyRegistered, match="give one of them a `name=`"):
        app.task(name="the-one")(sum)


def test_functions_that_are_made_in_two_others_may_have_one_name(app):
    """Two tests of a module each make a task `add`, with the one app of their package."""

    def one():
        @app.task(name="made.add")
        def add(x, y):
            return x + y

    one()
    assert app.tasks["made.add"](2, 3) == 5
    other_test(app)
    assert app.tasks["made.add"](2, 3) == 6


def other_test(app):
    @app.task(name="made.add")
    def add(x, y):
        return x * y


def test_a_base_class_that_is_assigned_is_that_of_tasks_decorated_before(app):
    """As factories of Flask do it: `celery.Task = ContextTask`, with an application context around each call."""

    class Own(Task):
        abstract = True

    @app.task
    def add(x, y):
        return x + y

    @app.task(base=Own)
    def own():
        return 1

    @app.task(bind=True, max_retries=7)
    def bound(self):
        return self.max_retries, self.greeting

    assert add.apply((2, 3)).get() == 5
    calls = []

    class ContextTask(app.Task):
        def __init__(self):
            self.greeting = "hello"

        def __call__(self, *args, **kwargs):
            calls.append(self.name)
            return self.run(*args, **kwargs)

    app.Task = ContextTask
    assert app.tasks[add.name] is add
    assert isinstance(add, ContextTask)
    assert (add.apply((2, 3)).get(), bound.apply().get(), own.apply().get()) == (5, (7, "hello"), 1)
    assert calls == [add.name, bound.name]
    assert isinstance(app.task(name="later")(lambda: 1), ContextTask)


def test_an_app_may_be_made_once_more_by_its_init_app(app):
    """As classes of apps do it for Flask: the app stands at the top of a module, and is given its settings later."""

    class Shop(Celery):
        def init_app(self, queue):
            before = self.Task

            class ContextTask(before):
                def __call__(self, *args, **kwargs):
                    return ["in context", before.__call__(self, *args, **kwargs)]

            super().__init__("shop", broker="sqlite:///shop.db", task_cls=ContextTask, task_default_queue=queue)

    shop = Shop()

    @shop.task(name="add")
    def add(x, y):
        return x + y

    class Import(Task):
        name = "import"

    shop.register_task(Import())
    shop.init_app("mail")
    assert (shop.main, shop.conf.task_default_queue) == ("shop", "mail")
    assert shop.tasks["add"] is add
    assert add.apply((2, 3)).get() == ["in context", 5]
    assert "import" in shop.tasks


def test_a_class_of_apps_may_ask_for_the_base_of_tasks_before_it_makes_itself(app):
    class Late(Celery):
        def __init__(self, name):
            self.base_before = self.Task
            super().__init__(name, broker="sqlite:///late.db")

    assert issubclass(Late("late").base_before, Task)


def test_an_unknown_task_names_its_nearest(app):
    @app.task(name="mail.send")
    def send(): ...

    with pytest.raises(NotRegistered, match=r"mail\.send"):
        app.tasks["mail.sent"]


def test_a_bound_task_gets_itself_and_a_class_may_be_the_base(app):
    class Base(Task):
        abstract = True
        colour = "red"

    @app.task(bind=True, base=Base, max_retries=7)
    def paint(self, wall):
        return self.colour, self.max_retries, wall

    assert paint("north") == ("red", 7, "north")


def test_a_task_class_is_registered_as_an_instance(app):
    class Import(Task):
        name = "import"
        ignore_result = True

        def run(self, path):
            return f"{self.name} {path}"

    task = app.register_task(Import())
    assert task("a.csv") == "import a.csv"
    assert message_of(app, task, ("a.csv",)).flags & Flag.IGNORE_RESULT


def test_shared_tasks_belong_to_every_app_those_made_later_too():
    first = LiteQ("first", broker="sqlite:///1.db")
    assert "everybody.s" not in first.tasks

    @shared_task(name="everybody.s")
    def everybody_s(x):
        return x + 1

    later = LiteQ("later", broker="sqlite:///2.db")
    assert "everybody.s" in first.tasks
    assert "everybody.s" in later.tasks
    assert everybody_s(1) == 2
    assert everybody_s.app is later
    first.set_current()
    assert everybody_s.app is first
    assert isinstance(everybody_s, Task)


def test_a_shared_task_is_found_under_the_name_that_its_app_gives_it():
    class Mine(LiteQ):
        def gen_task_name(self, name, module):
            return f"short.{name}"

    app = Mine("mine", broker="sqlite:///1.db")

    @shared_task
    def shortened(): ...

    assert shortened.name == "short.shortened"
    assert shortened.app is app


def test_a_task_that_one_app_has_of_another_is_found_there_by_a_third_as_it_was_decorated(tmp_path):
    class InContext(Task):
        pass

    url = f"sqlite:///{tmp_path}/q.db"
    factorys, modules, third = (LiteQ(name, broker=url, set_as_current=False) for name in "fmt")
    factorys.Task = InContext
    modules.task(name="of.modules")(lambda: 1)
    assert isinstance(factorys.tasks["of.modules"], InContext)
    assert not isinstance(third.tasks["of.modules"], InContext)
    factorys.Task = Task
    assert not isinstance(factorys.tasks["of.modules"], InContext)


def test_the_current_app_is_the_last_one_made_in_this_thread(app):
    assert current_app.main == "proj"
    assert context.get_current_app() is app
    assert Celery is LiteQ


def test_settings_come_from_an_object_by_namespace_when_one_is_first_read(app):
    settings = types.ModuleType("proj_settings_ns")
    settings.CELERY_TASK_DEFAULT_QUEUE = "mail"
    settings.TASK_DEFAULT_QUEUE = "not this"
    app.config_from_object("proj_settings_ns", namespace="CELERY")
    assert not app.configured  # the module need not exist yet
    sys.modules["proj_settings_ns"] = settings
    try:
        assert app.conf.task_default_queue == "mail"
    finally:
        del sys.modules["proj_settings_ns"]


def test_writing_a_setting_reads_none(app):
    app.config_from_object("no.such.module")
    app.conf.task_default_queue = "a"
    app.conf["timezone"] = "UTC"
    app.conf.update(task_ignore_result=True)
    assert not app.configured
    with pytest.raises(ImproperlyConfigured, match=r"no\.such\.module"):
        _ = app.conf.task_default_queue


def test_what_the_app_is_made_with_beats_its_settings_object():
    app = LiteQ("x", broker="sqlite:///a.db", config_source={"broker_url": "sqlite:///b.db", "task_default_queue": "q"})
    assert app.conf.broker_url == "sqlite:///a.db"
    assert app.conf.task_default_queue == "q"


def test_signals_of_the_app_are_sent_in_their_order(app):
    seen = []
    app.on_after_configure.connect(lambda sender, **_: seen.append("configured"), weak=False)
    app.on_after_finalize.connect(lambda sender, **_: seen.append("finalized"), weak=False)
    app.finalize()
    assert seen == ["configured", "finalized"]


@pytest.mark.parametrize("url", ["redis://localhost/0", "amqp://guest@localhost//", "sqs://"])
def test_another_broker_s_url_is_answered_with_what_to_write(url):
    with pytest.raises(ImproperlyConfigured, match=r"sqlite:///tasks\.db"):
        _ = LiteQ("x", broker=url).storage


def test_an_app_without_a_broker_says_so_when_it_sends():
    app = LiteQ("x")

    @app.task
    def noop(): ...

    with pytest.raises(ImproperlyConfigured, match="LITEQ_BROKER_URL"):
        noop.delay()


@pytest.mark.parametrize(
    ("routes", "queue"),
    [
        ({"feed.tasks.*": {"queue": "feeds"}}, "feeds"),
        ({"feed.tasks.fetch": "exact", "feed.*": "glob"}, "exact"),
        ([("feed.*", {"queue": "pairs"})], "pairs"),
        ([{"other.*": "no"}, {"feed.*": "second"}], "second"),
        (lambda name, args, kwargs, options, task=None, **kw: {"queue": f"by-{args[0]}"}, "by-7"),
        ({"other": "no"}, "celery"),
        ({"feed.tasks.*": {"routing_key": "key"}}, "key"),
    ],
)
def test_task_routes(app, routes, queue):
    app.conf.task_routes = routes

    @app.task(name="feed.tasks.fetch")
    def fetch(n): ...

    assert message_of(app, fetch, (7,)).queue == queue


def test_the_call_beats_the_task_and_the_task_beats_the_route(app):
    app.conf.task_routes = {"*": {"queue": "route", "priority": 1}}

    @app.task(name="t", queue="task", priority=2)
    def t(): ...

    assert (message_of(app, t).queue, message_of(app, t).priority) == ("task", 2)
    called = message_of(app, t, queue="call", priority=3)
    assert (called.queue, called.priority) == ("call", 3)


@pytest.mark.parametrize("routes", [{"t": {"queue": "mail"}}, lambda name, *_, **__: {"queue": "mail", "priority": 3}])
def test_a_map_goes_the_way_of_its_task(app, routes):
    app.conf.task_routes = routes

    @app.task(name="t")
    def t(*args): ...

    @app.task(name="own", queue="own", priority=7)
    def own(*args): ...

    def queues(sig):
        return [message.queue for message in compile_signature(sig, app.publisher).batch.messages]

    assert queues(t.map([1, 2])) == queues(t.starmap([(1, 2)])) == ["mail"]
    assert queues(t.chunks([(n,) for n in range(4)], 2)) == ["mail", "mail"]
    assert queues(t.map([1]).set(queue="call")) == ["call"]
    (message,) = compile_signature(own.map([1]), app.publisher).batch.messages
    assert (message.queue, message.priority) == ("own", 7)


def test_a_map_of_an_async_task_awaits_each_call(app):
    @app.task(name="t")
    async def t(*numbers):
        await asyncio.sleep(0)
        return sum(numbers)

    assert t.map([1, 2]).apply().get() == [1, 2]
    assert t.starmap([(1, 2), (3, 4)]).apply().get() == [3, 7]


def test_a_call_may_go_the_way_of_another_task(app):
    app.conf.task_routes = {"other": {"queue": "mail", "time_limit": 5}}
    t = app.task(name="t")(lambda: None)
    sent = message_of(app, t, route_name="other")
    assert (sent.queue, sent.options) == ("mail", None)
    own = app.task(name="own", queue="own")(lambda: None)
    assert message_of(app, own, route_name="other").queue == "own"


def test_a_priority_of_zero_is_one(app):
    app.conf.task_default_priority = 5
    low, plain = app.task(name="low", priority=0)(lambda: None), app.task(name="plain")(lambda: None)
    assert (message_of(app, low).priority, message_of(app, plain).priority) == (0, 5)
    request = Request(id="id", args=(), kwargs={}, delivery_info={"priority": 0})
    assert plain.signature_from_request(request).options["priority"] == 0


def test_a_class_may_give_its_calls_names_for_the_log(app, caplog):
    class Named(Task):
        def shadow_name(self, args, kwargs, options):
            return f"load {args[0]}"

    @app.task(base=Named, name="load")
    def load(name): ...

    assert decode(message_of(app, load, ("a.csv",)).options) == {"shadow": "load a.csv"}
    assert decode(message_of(app, load, ("a.csv",), shadow="mine").options) == {"shadow": "mine"}
    caplog.set_level(logging.INFO, "liteq.execution")
    result = load.apply(("a.csv",), shadow="load it")
    assert any(text.startswith(f"Task load it[{result.id}] succeeded") for text in caplog.messages)


def test_a_changed_setting_or_attribute_counts_from_the_next_message_on(app):
    @app.task(name="t")
    def t(): ...

    assert message_of(app, t).queue == "celery"
    app.conf.task_default_queue = "other"
    assert message_of(app, t).queue == "other"
    t.queue = "own"
    t.ignore_result = True
    assert message_of(app, t).queue == "own"
    assert message_of(app, t).flags & Flag.IGNORE_RESULT


def test_annotations_change_tasks(app):
    app.conf.task_annotations = {"*": {"max_retries": 9}, "t": {"time_limit": 5}}

    @app.task(name="t")
    def t(): ...

    app.finalize()
    assert (t.max_retries, t.time_limit) == (9, 5)


def test_a_function_among_annotations_is_a_method_of_the_task(app):
    told = []

    def my_on_failure(self, exc, task_id, args, kwargs, einfo):
        told.append((self.name, args))

    app.conf.task_annotations = {"t": {"on_failure": my_on_failure, "rate_key": lambda n: f"n{n}"}}

    @app.task(name="t")
    def t(n):
        raise KeyError(n)

    app.finalize()
    assert t.apply((1,)).state == "FAILURE"
    assert told == [("t", [1])]
    assert t.rate_key(7) == "n7"


def test_an_annotation_with_an_at_sign_wraps_the_method(app):
    calls = []

    def noted(function):
        @wraps(function)
        def inner(*args, **kwargs):
            calls.append((function.__name__, len(args)))
            return function(*args, **kwargs)

        return inner

    app.conf.task_annotations = {"*": {"@run": noted, "@on_success": noted}}

    @app.task(name="plain")
    def plain(n):
        return n + 1

    @app.task(name="bound", bind=True)
    def bound(self, n):
        return f"{self.name} {n}"

    app.finalize()
    assert plain.apply((1,)).get() == 2
    assert bound.apply((1,)).get() == "bound 1"
    # A hook of the task itself gets it first: `self, retval, task_id, args, kwargs`.
    assert calls == [("plain", 1), ("on_success", 5), ("bound", 2), ("on_success", 5)]
    bound.annotate()  # once more wraps it once, as in Celery
    assert bound.apply((1,)).get() == "bound 1"
    assert calls[4:] == [("bound", 2), ("on_success", 5)]


def test_an_annotation_that_python_would_not_look_for_is_refused(app):
    app.conf.task_annotations = {"t": {"__hash__": lambda self: 1}}
    app.task(name="t")(lambda: None)
    with pytest.raises(ImproperlyConfigured, match="`__call__`"):
        app.finalize()


@pytest.mark.parametrize("name", ["@__call__", "__call__"])
def test_the_call_of_a_task_is_annotated_at_its_class(app, name):
    """As in Celery, whose workers call the task where it has a `__call__` of its own."""
    calls = []

    def noted(inner):
        def call(self, *args):
            calls.append((self.name, args))
            return inner(self, *args)

        return call

    app.conf.task_annotations = {"t": {name: noted if name[0] == "@" else noted(lambda self, n: self.run(n))}}
    t = app.task(name="t")(lambda n: n + 1)
    other = app.task(name="other")(lambda n: n)
    app.finalize()
    assert (t.apply((1,)).get(), t(2), other.apply((3,)).get()) == (2, 3, 3)
    t.annotate()
    assert t.apply((4,)).get() == 5
    assert calls == [("t", (1,)), ("t", (2,)), ("t", (4,))]


def test_at_most_once_is_what_acks_late_false_means(app):
    @app.task(name="t", acks_late=False)
    def t(): ...

    assert message_of(app, t).flags & Flag.EARLY_ACK


def test_periodic_tasks_end_up_in_the_beat_schedule(app):
    @app.task(name="t")
    def t(x): ...

    app.add_periodic_task(10.0, t.s(1), name="every ten")
    assert app.conf.beat_schedule["every ten"]["task"] == "t"
    assert app.conf.beat_schedule["every ten"]["args"] == (1,)


def test_a_nameless_periodic_task_that_takes_the_place_of_another_is_told(app, caplog):
    @app.task(name="t")
    def t(x): ...

    app.add_periodic_task(10.0, t.s(1))
    app.add_periodic_task(10.0, t.s(1))
    app.add_periodic_task(20.0, t.s(2))
    assert not caplog.records
    app.add_periodic_task(20.0, t.s(1))
    assert "t(1) by 20.0 takes the place of the same call by 10.0" in caplog.text
    assert app.conf.beat_schedule["t(1)"]["schedule"] == 20.0


def test_the_time_of_the_app_and_of_its_schedules_is_in_its_zone(app):
    app.conf.timezone = "Asia/Tokyo"
    every = schedule(60, app=app)
    assert [str(one.tzinfo) for one in (app.now(), every.now())] == ["Asia/Tokyo"] * 2
    assert app.loader.now().tzinfo is UTC


def test_a_program_goes_on_after_a_command_that_it_ran(app, capsys, monkeypatch):
    assert app.start(["report"]) == 0
    assert "liteq" in (shown := capsys.readouterr().out)
    monkeypatch.setattr(sys, "argv", ["shop.py", "report"])  # the command of the program itself
    assert app.start() == 0
    assert capsys.readouterr().out == shown
    with pytest.raises(SystemExit, match="2"):
        app.start(["reprot"])


def test_autodiscovery_waits_until_tasks_are_imported(app, monkeypatch):
    package, tasks = types.ModuleType("shop_pkg"), types.ModuleType("shop_pkg.tasks")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "shop_pkg", package)
    monkeypatch.setitem(sys.modules, "shop_pkg.tasks", tasks)
    asked = []
    app.autodiscover_tasks(lambda: asked.append(1) or ["shop_pkg", "shop_pkg.apps.ShopConfig"])
    assert not asked
    app.import_tasks()
    assert asked


def test_autodiscovery_that_is_given_no_package_looks_in_those_of_the_framework(app, monkeypatch):
    asked = []
    monkeypatch.setattr(type(app.integrations), "packages", lambda self: asked.append(1) or [])
    for none in (None, [], ()):  # as in Celery: an empty list is none given
        app.autodiscover_tasks(none, force=True)
    assert len(asked) == 3


def test_a_package_that_there_is_not_is_told_when_its_tasks_are_looked_for(app):
    with pytest.raises(ModuleNotFoundError, match="no package 'not_there'"):
        app.autodiscover_tasks(["not_there"], force=True)


def test_eager_tasks_raise_where_they_are_sent(app):
    @app.task(name="t")
    def t(x):
        return 1 / x

    with eager(app):
        assert t.delay(2).get() == 0.5
        with pytest.raises(ZeroDivisionError):
            t.delay(0)
    assert app.conf.task_always_eager is False


def test_eager_arguments_take_the_same_way_as_real_ones(app):
    @app.task(name="t")
    def t(x):
        return type(x).__name__

    with eager(app):
        assert t.delay((1, 2)).get() == "list"


def test_an_eager_request_has_the_stamps_and_options_of_its_call(app):
    seen = []

    @app.task(name="look", bind=True)
    def look(self):
        seen.append((self.request.stamps, self.request.stamped_headers, self.request.delivery_info["priority"]))

    stamped = look.s().set(priority=5)
    stamped.stamp(order=7)
    stamped.apply()
    with eager(app):
        stamped.apply_async()
        look.apply_async(priority=5)
    assert seen == [({"order": [7]}, ["order"], 5), ({"order": [7]}, ["order"], 5), (None, None, 5)]


def test_a_task_has_its_function_s_name(app):
    @app.task(name="somewhere.else")
    def counted():
        pass

    assert (counted.__name__, counted.name) == ("counted", "somewhere.else")


@pytest.mark.parametrize(("args", "kwargs"), [("text", {}), ([], "text"), ([], [1])])
def test_arguments_that_are_no_list_or_no_dict_are_refused(app, args, kwargs):
    @app.task(name="t", typing=False)
    def t(*args, **kwargs):
        pass

    with pytest.raises(TypeError, match="args are a list or a tuple"):
        t.apply_async(args, kwargs)


def test_retry_takes_the_class_of_an_exception(app):
    @app.task(name="t", bind=True, max_retries=1)
    def t(self):
        raise self.retry(exc=ConnectionError, countdown=0)

    with pytest.raises(ConnectionError):
        t.apply().get()


@pytest.mark.parametrize(
    ("args", "kwargs", "again", "seen"),
    [
        ((1, 2, 3), {}, {"kwargs": {"y": 7}}, (1, 7, (3,))),
        ((1,), {"y": 2}, {"args": (5,)}, (5, 2, ())),
        ((1, 2), {}, {"kwargs": {"y": 7}}, (1, 7, ())),
    ],
)
def test_a_retry_keeps_what_it_is_not_told_anew(app, args, kwargs, again, seen):
    @app.task(name="t", bind=True)
    def t(self, x, /, y, *rest):
        if not self.request.retries:
            raise self.retry(countdown=0, **again)
        return x, y, rest

    assert t.apply(args, kwargs).get() == seen
