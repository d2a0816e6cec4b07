"""`unique=` of tasks, calls, signatures, workflows and beat's entries, from the declaration to what runs."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from liteq import Debounce, LiteQ, Throttle, Unique, chain, group, signature
from liteq.beat import Beat
from liteq.exceptions import NotSerializable
from liteq.testing import FakeClock, drain, eager
from liteq.workflow import ctx


@pytest.fixture(params=["apsw", "stdlib"])
def app(request, tmp_path):
    broker = f"sqlite:///{tmp_path}/q.db"
    with LiteQ("shop", broker=broker, sqlite_driver=request.param, clock=FakeClock(), set_as_current=False) as app:
        app.ran = []
        yield app


def declare(app: LiteQ, unique: Any, **options: Any) -> Any:
    @app.task(name="edit", unique=unique, **options)
    def edit(page, text="", *, draft=False, **more):
        app.ran.append((page, text))
        return text

    return edit


# -- what makes two calls equal --------------------------------------------------------------------------------------

EQUAL = [
    (((1, "a"), {}), ((), {"text": "a", "page": 1})),
    (((1,), {}), ((1, ""), {"draft": False})),
    (((1,), {"tags": {"x": 1, "y": [2, {"b": 3, "c": 4}]}}), ((1,), {"tags": {"y": [2, {"c": 4, "b": 3}], "x": 1}})),
    (
        ((datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.50")), {}),
        ((datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.50")), {}),
    ),
    (((1, (2, 3)), {}), ((1, [2, 3]), {})),
]
DIFFERENT = [
    (((1, "a"), {}), ((1, "b"), {})),
    (((1,), {}), ((1,), {"draft": True})),
    (((1,), {"more": None}), ((1,), {})),
    ((("1",), {}), ((1,), {})),
    (((True,), {}), ((1,), {})),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_arguments_make_one_message(app, one, other):
    edit = declare(app, True)
    first, second = edit.apply_async(*one), edit.apply_async(*other)
    assert (first.duplicate, second.duplicate) == (False, True)
    assert second.id == first.id
    assert drain(app) == 1


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_arguments_make_another_message(app, one, other):
    edit = declare(app, True)
    assert edit.apply_async(*one).id != edit.apply_async(*other).id


def test_the_key_is_the_same_in_every_process(app):
    edit = declare(app, True)
    id_ = edit.delay(1, a=1, b="ü").id
    key = app.storage.reader.find(id_).unique_key
    code = """if True:
        from liteq import LiteQ
        app = LiteQ("shop", broker="memory://")
        @app.task(name="edit", unique=True)
        def edit(page, text="", *, draft=False, **more): ...
        print(ascii(app.publisher.message("edit", (), {"b": "\\u00fc", "page": 1, "a": 1}, message_id="m").unique_key))
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ascii(key)


BY = {
    "a name": "page",
    "names": ["page", "draft"],
    "a template": "page:{page}",
    "a function": lambda page, text="", **_: str(page),
}


@pytest.mark.parametrize("by", BY.values(), ids=BY)
def test_chosen_arguments_make_the_key(app, by):
    edit = declare(app, Unique(by))
    first = edit.delay(1, "a")
    assert edit.delay(1, "b").id == first.id
    assert edit.delay(page=2).id != first.id


def test_a_key_of_long_arguments_is_short_and_tells_them_apart(app):
    edit = declare(app, Unique("page"))
    first, other = edit.delay("x" * 300 + "a"), edit.delay("x" * 300 + "b")
    assert len(app.storage.reader.find(first.id).unique_key) <= 255
    assert not other.duplicate
    assert edit.delay("x" * 300 + "a").id == first.id


def test_a_function_that_returns_none_excludes_nothing(app):
    edit = declare(app, Unique(lambda page, text="": None))
    assert edit.delay(1).id != edit.delay(1).id


def test_no_sensitive_argument_stands_in_a_key(app):
    edit = declare(app, Unique("{page}"), sensitive=["page"])
    assert "4711" not in app.storage.reader.find(edit.delay("4711").id).unique_key


def test_arguments_without_a_form_are_refused(app):
    app.conf.pickle_key = "k" * 40
    edit = declare(app, True, serializer="pickle")
    with pytest.raises(NotSerializable, match="makes a key"):
        edit.delay({1, 2})


REFUSED = {
    "a misspelt parameter": (lambda: Unique("pages"), ValueError, "did you mean 'page'"),
    "a misspelt field": (lambda: Debounce(5, by="{pagee}"), ValueError, "did you mean 'page'"),
    "no kind": (lambda: "yes", TypeError, r"True, False, or one of Unique"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_at_the_declaration(app, case):
    make, error, told = REFUSED[case]

    @app.task(name="plain")
    def plain(page): ...

    with pytest.raises(error, match=told):

        @app.task(name="wrong", unique=make())
        def wrong(page): ...


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Unique(states="unstartd"), "did you mean 'unstarted'"),
        (lambda: Unique(on_conflict="kep"), "did you mean 'keep'"),
        (lambda: Unique(witin=3), "did you mean 'within'"),
        (lambda: Unique(within=0), "longer than 0"),
        (lambda: Debounce(0), "longer than 0$"),
        (lambda: Debounce(10, max_wait=5), "max_wait is at least wait"),
        (lambda: Throttle("often"), "with a unit"),
        (lambda: Unique(by=3), "names of parameters"),
    ],
)
def test_values_that_are_none_are_refused(make, told):
    with pytest.raises((TypeError, ValueError), match=told):
        make()


# -- of a call -------------------------------------------------------------------------------------------------------


def test_a_call_says_it_for_itself(app):
    edit = declare(app, None)
    first = edit.apply_async((1,), unique=True)
    assert edit.apply_async((1,), unique=True).id == first.id
    assert edit.delay(1).id != first.id


def test_a_call_says_no(app):
    edit = declare(app, True)
    assert edit.delay(1).id != edit.apply_async((1,), unique=False).id
    assert (
        edit.apply_async((1,), unique=False, unique_key="k").id
        == edit.apply_async((2,), unique=False, unique_key="k").id
    )


@pytest.mark.parametrize("options", [{"unique_key": "k"}, {"unique_key": "k", "unique": Unique()}])
def test_two_keys_are_refused(app, options):
    with pytest.raises(ValueError, match="not both"):
        declare(app, True).apply_async((1,), **options)


@pytest.mark.parametrize("options", [{"countdown": 3}, {"eta": datetime(2026, 5, 1, tzinfo=UTC)}])
def test_a_debounced_call_has_no_time_of_its_own(app, options):
    with pytest.raises(ValueError, match="leave out countdown and eta"):
        declare(app, Debounce(5)).apply_async((1,), **options)


def test_a_task_that_is_known_by_its_name_alone(app):
    one = app.send_task("elsewhere", (1,), unique=Debounce(5))
    assert app.send_task("elsewhere", (2,), unique=Debounce(5)).id == one.id


def test_an_id_of_ones_own_is_idempotent_too(app):
    edit = declare(app, True)
    first = edit.apply_async((1,), task_id="mine", idempotent=True)
    assert edit.apply_async((1,), task_id="mine", idempotent=True).id == first.id
    assert edit.apply_async((1,), task_id="other", idempotent=True).id == first.id
    drain(app)
    assert edit.apply_async((1,), task_id="mine", idempotent=True).get() == ""
    assert app.ran == [(1, "")]


def test_here_and_now_nothing_is_excluded(app):
    edit = declare(app, Debounce(5))
    with eager(app):
        assert edit.delay(1, "a").get() == "a"
        assert edit.delay(1, "b").duplicate is False


# -- debounce and throttle -------------------------------------------------------------------------------------------


def test_only_the_last_of_many_edits_runs(app):
    edit = declare(app, Debounce(5, max_wait="1m", by="page"))
    results = []
    for text in "abc":
        results.append(edit.delay(1, text))
        app.clock.advance(4)
    edit.delay(2, "other page")
    drain(app, until_ms=app.clock.now_ms() + 60_000)
    assert app.ran == [(1, "c"), (2, "other page")]
    assert [result.get() for result in results] == ["c", "c", "c"]
    assert [result.duplicate for result in results] == [False, True, True]


def test_an_edit_while_one_runs_is_not_lost(app):
    @app.task(name="save", unique=Debounce(5))
    def save(text):
        app.ran.append(text)
        if text == "a":
            save.delay("b")

    save.delay("a")
    drain(app, until_ms=app.clock.now_ms() + 60_000)
    assert app.ran == ["a", "b"]


def test_never_twice_in_five_minutes(app):
    edit = declare(app, Throttle("5m", by="{page}"))
    for _ in range(10):
        edit.delay(1, str(app.clock.now_ms()))
        drain(app)
        app.clock.advance(60)
    assert len(app.ran) == 2


def test_the_last_of_a_period_runs_too(app):
    edit = declare(app, Throttle(timedelta(minutes=5), trailing=True))
    edit.delay(1, "a")
    drain(app)
    for text in "bcd":
        edit.delay(1, text)
    drain(app, until_ms=app.clock.now_ms() + 3_600_000)
    assert app.ran == [(1, "a"), (1, "d")]


# -- signatures, canvases, many --------------------------------------------------------------------------------------


def test_a_signature_carries_it_through_json(app):
    edit = declare(app, None)
    sig = edit.s(1).set(unique=Debounce("5s", max_wait=60, by=["page"]))
    again = signature(app.content.read(app.content.write(dict(sig), None, None, what="it", owner=None), None), app=app)
    assert again.options["unique"] == Debounce(5, 60, ("page",))
    assert sig.apply_async().id == again.apply_async().id


def test_a_function_does_not_travel():
    with pytest.raises(TypeError, match="cannot travel"):
        Unique(lambda: "k").document()


def test_a_part_of_a_canvas_follows_the_one_that_stands(app):
    edit = declare(app, Unique("page"))
    alone = edit.delay(1, "a")
    both = group(edit.s(1, "b"), edit.s(2, "c")).apply_async()
    drain(app)
    assert both.get() == ["a", "c"]
    assert [one.duplicate for one in both.results] == [True, False]
    assert alone.get() == "a"


def test_a_link_that_takes_a_result_has_no_key_of_it(app):
    @app.task(name="both", unique=True)
    def both(before, after=None):
        app.ran.append((before, after))

    edit = declare(app, None)
    for text in "ab":
        chain(edit.s(1, text), both.s(after=1)).apply_async()
    drain(app)
    assert [one for one in app.ran if one[1] == 1] == [("a", 1), ("b", 1)]


def test_a_link_has_a_key_of_what_it_has(app):
    @app.task(name="both", unique=Unique("after"))
    def both(before, after=None):
        app.ran.append((before, after))

    edit = declare(app, None)
    for text in "ab":
        chain(edit.s(1, text), both.s(after=1)).apply_async()
    drain(app)
    assert [one for one in app.ran if one[1] == 1] == [("a", 1)]


def test_many_in_one_commit(app):
    edit = declare(app, Unique("page", on_conflict="replace"))
    ids = app.enqueue_many(edit, [(n % 3, str(n)) for n in range(9)])
    assert len(ids) == 9
    assert len(set(ids)) == 3
    drain(app)
    assert sorted(app.ran) == [(0, "6"), (1, "7"), (2, "8")]


def test_many_signatures_keep_what_stands(app):
    edit = declare(app, True)
    app.enqueue_many(edit.s(n % 2) for n in range(6))
    assert drain(app) == 2


def test_a_stream_of_calls_skips_what_stands(app):
    edit = declare(app, Unique("page"))
    sent = edit.send_many(((n % 3, str(n)) for n in range(9)), chunk=4)
    assert (sent.count, sent.skipped) == (3, 6)
    drain(app)
    assert app.ran == [(0, "0"), (1, "1"), (2, "2")]


# -- beat ------------------------------------------------------------------------------------------------------------


def test_beat_sends_what_is_not_there_already(app):
    edit = declare(app, Unique("page"))
    app.conf.beat_schedule = {"often": {"task": "edit", "schedule": 10, "args": (1, "beat")}}
    beat = Beat(app)
    beat.start()
    alone = edit.delay(1, "alone")
    app.clock.advance(10)
    beat.tick()
    assert app.storage.schedules.find("often").last_id == alone.id
    assert drain(app) == 1
    app.clock.advance(10)
    beat.tick()
    drain(app)
    assert [text for _, text in app.ran] == ["alone", "beat"]


def test_an_entry_may_say_it(app):
    declare(app, None)
    options = {"unique": Throttle("1h")}
    app.conf.beat_schedule = {"often": {"task": "edit", "schedule": 10, "args": (1,), "options": options}}
    beat = Beat(app)
    beat.start()
    for _ in range(5):
        app.clock.advance(10)
        beat.tick()
        drain(app)
    assert len(app.ran) == 1


# -- workflows -------------------------------------------------------------------------------------------------------


def test_a_start_has_the_run_that_stands(app):
    @app.workflow(name="order", unique=Unique("shop"))
    def order(shop, number):
        app.ran.append((shop, number))
        return number

    first, second = order.start("a", 1), order.start("a", 2)
    assert (second.id, first.duplicate, second.duplicate) == (first.id, False, True)
    assert order.start("b", 3).id != first.id
    drain(app)
    assert (second.result(), app.ran) == (1, [("a", 1), ("b", 3)])
    assert order.start("a", 4).duplicate is False


@pytest.mark.parametrize(
    "start",
    [
        lambda order, n, unique: order.options(unique=unique).start("a", n).id,
        lambda order, n, unique: order.apply_async(("a", n), unique=unique).id,
        lambda order, n, unique: order.options(unique=unique).apply_async(("a", n), priority=3).id,
        lambda order, n, unique: order.options(unique=unique).s("a", n).apply_async().id,
    ],
    ids=["options", "apply_async", "both", "signature"],
)
def test_a_start_has_a_uniqueness_of_its_own(app, start):
    @app.workflow(name="order", unique=True)
    def order(shop, number): ...

    by_shop = Unique("shop")
    assert start(order, 1, by_shop) == start(order, 2, by_shop)
    assert start(order, 3, None) == start(order, 3, None)
    assert start(order, 4, False) != start(order, 4, False)


def test_a_start_may_replace_one_that_has_not_begun(app):
    @app.workflow(name="order", unique=Debounce(5))
    def order(number):
        return number

    first = order.start(1)
    assert order.start(2).id == first.id
    drain(app, until_ms=app.clock.now_ms() + 10_000)
    assert first.result() == 2


def test_what_a_body_calls_follows_the_one_that_stands(app):
    edit = declare(app, Unique("page"))

    @app.workflow(name="calls")
    def calls():
        return ctx.call(edit, 1, "from the body")

    alone = edit.apply_async((1, "alone"), countdown=30)
    run = calls.start()
    drain(app, until_ms=app.clock.now_ms() + 60_000)
    assert (alone.get(), run.result()) == ("alone", "alone")


def test_what_a_body_sends_follows_it_too(app):
    edit = declare(app, Unique("page"))

    @app.workflow(name="order", unique=True)
    def order(number):
        return number

    @app.workflow(name="sends")
    def sends():
        return [edit.delay(1, "b").id, order.start(1).id]

    edit.apply_async((1, "a"), countdown=30)
    order.start(1)
    run = sends.start()
    drain(app, until_ms=app.clock.now_ms() + 60_000)
    sent, started = run.result()
    assert app.AsyncResult(sent).get() == "a"
    assert app.AsyncResult(sent).duplicate
    assert app.Run(started).result() == 1
