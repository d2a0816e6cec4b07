"""A misspelt name is refused with the nearest one; a name that somebody asks for passes."""

from __future__ import annotations

import ast
import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

import liteq
from liteq import LiteQ, Task, chain, chord, group, signals
from liteq.app.schedules import OF_AN_ENTRY
from liteq.context import Request
from liteq.exceptions import ImproperlyConfigured
from liteq.sending.options import OF_A_CALL
from liteq.testing import drain
from liteq.utils.misspelt import Asked, nearest


@pytest.fixture
def app(tmp_path):
    with LiteQ("shop", broker=f"sqlite:///{tmp_path / 'q.db'}", durability="relaxed") as made:
        yield made


@pytest.fixture
def add(app):
    @app.task(name="shop.add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    return add


def waiting(app: LiteQ) -> int:
    return sum(count.n for count in app.storage.reader.counts())


# -- options of a call -----------------------------------------------------------------------------------------------

WAYS = {
    "apply_async": lambda app, add: add.apply_async((1, 2), count_down=5),
    "send_task": lambda app, add: app.send_task("shop.add", (1, 2), count_down=5),
    "apply": lambda app, add: add.apply((1, 2), count_down=5),
    "signature": lambda app, add: add.s(1, 2).apply_async(count_down=5),
    "set": lambda app, add: add.s(1, 2).set(count_down=5).delay(),
    "chain": lambda app, add: chain(add.s(1), add.s(2).set(count_down=5)).delay(),
    "group": lambda app, add: group(add.s(1), add.s(2)).apply_async(count_down=5),
    "chord": lambda app, add: chord([add.s(1)], add.si(2)).apply_async(count_down=5),
    "link": lambda app, add: add.apply_async((1,), link=add.s().set(count_down=5)),
    "many": lambda app, add: app.enqueue_many([add.s(1).set(count_down=5)]),
    "map": lambda app, add: add.map([1, 2]).apply_async(count_down=5),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_misspelt_option_is_refused_with_the_nearest_and_nothing_is_sent(app, add, way):
    with pytest.raises(TypeError, match=r"unknown option 'count_down' \(did you mean 'countdown'\?\).*unknown_options"):
        WAYS[way](app, add)
    assert waiting(app) == 0


@pytest.mark.parametrize("way", sorted(WAYS.keys() - {"many"}))
def test_it_is_refused_where_tasks_run_at_once_too(app, add, way):
    app.conf.task_always_eager = True
    with pytest.raises(TypeError, match="did you mean 'countdown'"):
        WAYS[way](app, add)


VERBS = {
    "send_many": (lambda app, add: add.send_many([1], chnk=3), "chnk", "chunk"),
    "send_many with a name": (lambda app, add: add.send_many([1], nmae="rows"), "nmae", "name"),
    "send_many, of one call": (lambda app, add: add.send_many([1], task_ids=["a"]), "task_ids", None),
    "asend_many": (lambda app, add: asyncio.run(add.asend_many([1], chnk=3)), "chnk", "chunk"),
    "enqueue_many": (lambda app, add: app.enqueue_many(add, argument=[(1,)]), "argument", "arguments"),
    "send_task": (lambda app, add: app.send_task("shop.other", kwarg={"x": 1}), "kwarg", "kwargs"),
    "apply_async": (lambda app, add: add.apply_async((1,), kwarg={"y": 1}), "kwarg", "kwargs"),
    "apply_async, of send_many": (lambda app, add: add.apply_async((1,), chunck=3), "chunck", None),
    "apply": (lambda app, add: add.apply((1,), kwarg={"y": 1}), "kwarg", "kwargs"),
    "signature": (lambda app, add: add.s(1).apply_async(kwarg={"y": 1}), "kwarg", "kwargs"),
    "map": (lambda app, add: add.map([1], countdwn=1), "countdwn", None),
    "chunks": (lambda app, add: add.chunks([(1,)], nn=1), "nn", "n"),
    "periodic": (lambda app, add: app.add_periodic_task(60, add.s(1), nmae="rows"), "nmae", "name"),
    "revoke": (lambda app, add: add.delay(1).revoke(terminat=True), "terminat", "terminate"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_nearest_name_is_one_that_the_verb_takes(app, add, verb):
    app.conf.task_default_queue  # noqa: B018 - read: from now on an entry of the schedule is checked at once
    call, wrong, near = VERBS[verb]
    with pytest.raises(TypeError, match=f"unknown option '{wrong}'") as raised:
        call(app, add)
    if near is None:
        assert not any(f"did you mean {other!r}" in str(raised.value) for other in ("task_id", "chunk", "countdown"))
    else:
        assert f"'{wrong}' (did you mean {near!r}?)" in str(raised.value)


def test_a_retry_is_told_the_names_of_a_retry(app):
    @app.task(name="shop.again", bind=True)
    def again(self: Any) -> None:
        self.retry(max_retrys=3)

    with pytest.raises(TypeError, match=r"'max_retrys' \(did you mean 'max_retries'\?\)"):
        again.apply(throw=True)


def test_each_of_several_has_its_nearest(add):
    with pytest.raises(TypeError, match=r"unknown options 'prioritty' \(.*'priority'\?\), 'quue' \(.*'queue'\?\)"):
        add.apply_async((1,), quue="mail", prioritty=3)


def test_a_name_that_looks_like_none_is_refused_as_well(add):
    with pytest.raises(TypeError, match="unknown option 'zzz';"):
        add.apply_async((1,), zzz=1)


def test_an_option_of_a_retry_is_refused(app):
    @app.task(bind=True)
    def again(self):
        raise self.retry(count_down=5)

    with pytest.raises(TypeError, match="did you mean 'countdown'"):
        again.apply().get()


@pytest.mark.parametrize("name", ["link", "link_error", "chain", "ignore_result", "unique_key", "tags", "log_keep"])
def test_a_retry_refuses_what_a_message_keeps(app, name):
    value = ["a tag"] if name == "tags" else True

    @app.task(bind=True)
    def again(self):
        if not self.request.retries:
            raise self.retry(countdown=0, **{name: value})

    with pytest.raises(TypeError, match=rf"a retry runs the same message again.*{name}="):
        again.apply().get()
    value = None
    assert again.apply().state == "SUCCESS"


@pytest.mark.parametrize(
    "options",
    [{"link": []}, {"link_error": ()}, {"tags": []}, {"idempotent": False}, {"ignore_result": False}],
)
def test_a_retry_takes_what_changes_nothing(app, options):
    @app.task(bind=True)
    def again(self):
        if not self.request.retries:
            raise self.retry(countdown=0, **options)

    assert again.apply(throw=True).state == "SUCCESS"


def test_a_retry_may_say_what_its_message_says(app):
    seen = []

    @app.task(bind=True, ignore_result=True)
    def again(self, ignore_result):
        seen.append(self.request.retries)
        if not self.request.retries:
            raise self.retry(countdown=0, ignore_result=ignore_result)

    again.delay(True)
    drain(app)
    assert seen == [0, 1]
    again.delay(False)
    drain(app)
    assert seen == [0, 1, 0]


@pytest.mark.parametrize("name", ["retry", "connection", "exchange_type", "MessageGroupId", "add_to_parent"])
def test_options_that_celery_takes_pass(app, add, name):
    add.apply_async((1,), **{name: None})
    assert waiting(app) == 1


def test_stamps_are_named_by_the_caller(app, add):
    add.apply_async((1,), stamped_headers=["tenant"], tenant="acme")
    assert waiting(app) == 1


def test_the_setting_gives_celery_s_silence(app, add, caplog):
    app.conf.unknown_options = "ignore"
    add.apply_async((1,), count_down=5)
    assert (waiting(app), caplog.text) == (1, "")


def test_the_setting_can_have_it_logged_alone(app, add, caplog):
    app.conf.unknown_options = "warn"
    with caplog.at_level(logging.WARNING, "liteq.app"):
        add.apply_async((1,), count_down=5)
    assert waiting(app) == 1
    assert "did you mean 'countdown'" in caplog.text


def test_the_log_tells_once_of_an_option_of_very_many_calls(app, add, caplog):
    app.conf.unknown_options = "warn"
    with caplog.at_level(logging.WARNING, "liteq.app"):
        add.send_many(range(3), chnk=2)
    assert waiting(app) == 3
    assert caplog.text.count("'chnk' (did you mean 'chunk'?)") == caplog.text.count("chnk") == 1


@pytest.mark.parametrize(
    ("send", "near"),
    [
        (lambda app, add: add.send_many([1], chnk=2), "chunk"),
        (lambda app, add: app.enqueue_many([add.s(1).set(count_down=5)]), "countdown"),
    ],
    ids=["send_many", "enqueue_many"],
)
def test_an_option_of_very_many_calls_is_refused_where_a_receiver_could_ask_for_it(app, add, send, near):
    """No receiver is called for them: with one connected, as tracers connect theirs, nothing was refused."""

    def ask(**_: Any) -> None:
        raise AssertionError("no receiver is called for these")

    signals.before_task_publish.connect(ask)
    try:
        with pytest.raises(TypeError, match=f"did you mean {near!r}"):
            send(app, add)
    finally:
        signals.before_task_publish.disconnect(ask)
    assert waiting(app) == 0


# -- names that somebody asks for ------------------------------------------------------------------------------------


def test_an_option_that_a_router_asks_for_passes(app, add):
    asked = []

    def by_tenant(name: str, args: Any, kwargs: Any, options: dict[str, Any], task: Any = None, **more: Any) -> Any:
        asked.append(options.get("tenant"))
        return {"queue": f"of-{options.get('tenant')}"}

    app.conf.task_routes = by_tenant
    sent = add.apply_async((1,), tenant="acme")
    assert app.storage.reader.find(sent.id).queue == "of-acme"
    with pytest.raises(TypeError, match="'count_down'"):
        add.apply_async((1,), tenant="acme", count_down=5)


def test_an_option_that_the_class_s_apply_async_asks_for_passes(app):
    class OfATenant(Task):
        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            headers = {"tenant": options.get("tenant")}
            return super().apply_async(args, kwargs, headers=headers, **options)

    @app.task(base=OfATenant)
    def greet(name: str) -> None: ...

    sent = greet.apply_async(("you",), tenant="acme")
    (greet.s("a") | greet.si("b").set(tenant="acme")).delay()
    assert sent.exists()
    with pytest.raises(TypeError, match="did you mean 'countdown'"):
        greet.apply_async(("you",), count_down=5)


def test_an_option_that_a_receiver_asks_for_passes(app, add):
    found = []

    @signals.before_task_publish.connect
    def note(properties: Any = None, **_: Any) -> None:
        found.append(properties.get("tenant"))

    try:
        add.apply_async((1,), tenant="acme")
        (add.s(1) | add.s(2)).apply_async(tenant="acme")
        with pytest.raises(TypeError, match="'count_down'"):
            add.apply_async((1,), count_down=5)
    finally:
        signals.before_task_publish.disconnect(note)
    assert found[:2] == ["acme", "acme"]
    assert waiting(app) == 3


def test_asking_is_any_way_of_reading():
    given = Asked({"a": 1, "b": 2, "c": 3})
    assert (given["a"], "b" in given, given.asked) == (1, True, {"a", "b"})
    assert dict(given) == {"a": 1, "b": 2, "c": 3}
    assert given.asked == {"a", "b", "c"}
    for read in (lambda d: {**d}, lambda d: list(d.items()), lambda d: d.copy(), list):
        read(whole := Asked(x=1))
        assert whole.asked == {"x"}


# -- tasks -----------------------------------------------------------------------------------------------------------


def test_a_misspelt_option_of_a_task_is_refused(app):
    with pytest.raises(TypeError, match=r"task 'shop.f': unknown option 'max_retrys' \(did you mean 'max_retries'\?\)"):
        app.task(name="shop.f", max_retrys=3)(lambda: None)
    assert "shop.f" not in app.tasks


def test_a_misspelt_option_of_a_shared_task_is_refused(app):
    from liteq import shared_task

    app.finalize()
    with pytest.raises(TypeError, match="did you mean 'acks_late'"):
        shared_task(name="shop.g", ack_late=True)(lambda: None)


@pytest.mark.parametrize("name", ["acks_on_failure", "acks_on_timeout", "retry_on_worker_lost"])
def test_options_of_a_task_that_celery_takes_pass(app, name):
    assert getattr(app.task(**{name: True})(lambda: None), name) is True
    assert getattr(app.task(name="plain")(lambda: None), name) == app.conf[f"task_{name}"]


def test_an_attribute_of_one_s_own_is_kept_on_the_task(app):
    @app.task(owner="billing", iterations=0)
    def f() -> None: ...

    assert (f.owner, f.iterations) == ("billing", 0)


def test_an_attribute_that_the_base_declares_is_no_typing_error(app):
    class Mine(Task):
        max_retrys = None

    app.conf.unknown_options = "ignore"
    app.task(name="one", base=Mine)(lambda: None)
    app.conf.unknown_options = "refuse"
    assert app.task(name="two", base=Mine, max_retrys=3)(lambda: None).max_retrys == 3


def test_a_misspelt_option_in_a_task_class_is_refused(app):
    class Import(Task):
        max_retrys = 3

        def run(self) -> None: ...

    with pytest.raises(TypeError, match=r"task class '.*Import'.*did you mean 'max_retries'"):
        app.register_task(Import())
    with pytest.raises(TypeError, match="did you mean 'max_retries'"):
        app.task(base=Import)(lambda: None)


def test_an_attribute_that_its_class_reads_is_no_misspelt_option(app):
    class Once(Task):
        abstract = True
        unique_on = None
        queues = ()

        def key(self):
            return [self.unique_on, [getattr(self, "track_start", None) for _ in self.queues]]

        @property
        def late(self):
            return self.ack_late

    assert app.task(name="one", base=Once, ack_late=5, track_start=2)(lambda: None).late == 5
    assert app.task(name="two", base=Once, unique_on=["x"], queues=[1])(lambda: None).key() == [["x"], [None]]
    with pytest.raises(TypeError, match="did you mean 'expires'"):
        app.task(base=Once, expires_in=3)(lambda: None)


def test_hooks_of_a_request_class_which_are_never_called_are_told(app, caplog):
    class Watched(Request):
        def on_timeout(self, soft, timeout): ...

        def on_failure(self, exc_info, **options): ...

    class Slow(Task):
        abstract = True
        Request = Watched

    for name in ("one", "two"):
        app.task(name=name, base=Slow)(lambda: None)
    (told,) = caplog.messages
    assert "Slow" in told
    assert "on_timeout(), on_failure() of its Request" in told


def test_annotations_are_looked_at_as_well(app, add):
    app.conf.task_annotations = {"shop.add": {"rate_limits": "1/s"}}
    with pytest.raises(TypeError, match="did you mean 'rate_limit'"):
        app.finalize()


# -- apps, settings, beat --------------------------------------------------------------------------------------------


def test_a_misspelt_keyword_of_an_app_is_refused():
    with pytest.raises(TypeError, match=r"LiteQ\(\): unknown option 'brokr' \(did you mean 'broker'\?\).*app.conf"):
        LiteQ("x", brokr="sqlite:///x.db", set_as_current=False)


def test_settings_under_both_of_their_names_are_keywords_of_an_app():
    assert LiteQ("x", task_acks_late=False, set_as_current=False).conf.task_acks_late is False
    assert LiteQ("x", CELERYD_CONCURRENCY=3, set_as_current=False).conf.worker_concurrency == 3


def test_a_misspelt_setting_is_named_and_others_are_kept(app, caplog):
    with caplog.at_level(logging.WARNING, "liteq.settings"):
        app.conf.update(task_ack_late=False, my_shop="here")
        assert app.conf.my_shop == "here"
    assert "'task_ack_late' is not a setting of liteq; did you mean 'task_acks_late'?" in caplog.text
    assert "my_shop" not in caplog.text


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"arg": (1,)}, r"'tick'.*'arg' \(did you mean 'args'\?\)"),
        ({"options": {"count_down": 5}}, "'tick'.*did you mean 'countdown'"),
        ({"schedule": 0}, "'tick' is to be sent every 0 s"),
        ({"schedule": -5.0}, "'tick' is to be sent every -5 s"),
        ({"schedule": liteq.schedules.schedule(0)}, "every 0 s"),
        ({"schedule": float("nan")}, "every nan s"),
        ({"schedule": True}, "seconds, a timedelta or crontab"),
    ],
)
def test_an_entry_of_beat_that_makes_no_sense_is_refused(app, add, entry, told):
    app.conf.beat_schedule = {"tick": {"task": "shop.add", "schedule": 5, **entry}}
    with pytest.raises(ImproperlyConfigured, match=told):
        app.schedules.configured()


def test_every_key_that_an_entry_may_have_is_taken(app, add):
    app.conf.beat_schedule = {"tick": {**dict.fromkeys(OF_AN_ENTRY), "task": "shop.add", "schedule": 5}}
    assert len(app.schedules.configured()) == 1


def test_an_option_of_a_periodic_task_is_refused_where_it_is_added(app, add):
    assert app.conf.broker_url
    with pytest.raises(TypeError, match="did you mean 'countdown'"):
        app.add_periodic_task(5, add.s(1), count_down=5)
    with pytest.raises(ImproperlyConfigured, match="every 0 s"):
        app.add_periodic_task(0, add.s(1), name="tick")
    with pytest.raises(ImproperlyConfigured, match="did you mean 'countdown'"):
        app.schedules.add("tick", 5, add, count_down=5)


# -- functions that take no options ----------------------------------------------------------------------------------


def test_a_misspelt_timeout_of_a_result_is_refused(app, add):
    result = add.delay(1)
    for wait in (result.get, liteq.ResultSet([result]).get, liteq.ResultSet([result]).join):
        with pytest.raises(TypeError, match=r"unknown option 'timout' \(did you mean 'timeout'\?\)"):
            wait(timout=1)


async def _aget(result: Any) -> None:
    await result.aget(timout=1)


def test_and_one_that_is_awaited(app, add):
    import asyncio

    result = add.delay(1)
    for one in (result, liteq.ResultSet([result])):
        with pytest.raises(TypeError, match="did you mean 'timeout'"):
            asyncio.run(_aget(one))


def test_a_misspelt_option_of_a_worker_is_refused(app):
    from liteq.worker import Worker

    with pytest.raises(TypeError, match="did you mean 'concurrency'"):
        Worker(app, concurency=2)
    with pytest.raises(TypeError, match="did you mean 'concurrency'"):
        app.Worker(concurency=2)


def test_revoking_with_a_misspelt_option_is_refused(app):
    with pytest.raises(TypeError, match="did you mean 'terminate'"):
        app.control.revoke("some-id", terminat=True)


def test_an_option_given_to_delay_says_where_it_belongs(add):
    with pytest.raises(TypeError, match=r"countdown.*apply_async"):
        add.delay(1, countdown=5)


# -- one table -------------------------------------------------------------------------------------------------------


def test_every_option_that_the_sending_side_reads_is_in_the_table():
    rooms = Path(liteq.__file__).parent
    read = set()
    for path in [*(rooms / "sending").glob("*.py"), rooms / "execution/eager.py", rooms / "canvas/signature.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Name(id="options") | ast.Attribute(attr="options"), attr="get" | "pop"
                    ),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    read.add(name)
                case ast.Subscript(value=ast.Name(id="options"), slice=ast.Constant(value=str(name))):
                    read.add(name)
    assert {"countdown", "queue", "link", "unique_key"} <= read
    assert read - {"immutable"} <= OF_A_CALL  # a signature's own: a call has no use for it


def test_the_nearest_is_none_where_nothing_looks_alike():
    assert nearest("Count_Down", OF_A_CALL) == "countdown"
    assert nearest("zzz", OF_A_CALL) is None


def test_a_misspelt_option_of_a_workflow_is_refused_by_the_name_of_its_class(app):
    @app.workflow
    def ship(order):
        return order

    @app.step
    def pack(order):
        return order

    with pytest.raises(TypeError, match=r"^Workflow\.options\(\): unknown option 'ide' \(did you mean 'id'\?\)"):
        ship.options(ide="x")
    with pytest.raises(TypeError, match=r"^Step\.options\(\): unknown option 'retrys' \(did you mean 'retries'\?\)"):
        pack.options(retrys=3)


def test_a_text_that_is_no_time_names_the_option(add):
    with pytest.raises(ValueError, match=r"^expires \(a time in ISO format or a span\) is a number .* not 'never'"):
        add.apply_async((1, 2), expires="never")
