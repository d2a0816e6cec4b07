"""A canvas that is evaluated in this process does what a worker would do with it."""

from __future__ import annotations

import pytest

from liteq import LiteQ, chain, chord, group
from liteq.testing import drain, eager


@pytest.fixture
def app(tmp_path):
    with LiteQ("it", broker=f"sqlite:///{tmp_path}/q.db") as app:
        app.called = []

        @app.task(name="add")
        def add(x, y=0):
            return x + y

        @app.task(name="fail")
        def fail():
            raise ValueError("broken")

        @app.task(name="note")
        def note(*args, name):
            app.called.append((name, *(arg for arg in args if isinstance(arg, int))))

        yield app


def notes(app, name):
    return app.tasks["note"].s(name=name)


def errbacks(app):
    """An errback of a group's member, and one of the chain that the group stands in."""
    add, fail = app.tasks["add"], app.tasks["fail"]
    members = group(fail.si().on_error(notes(app, "member's")), add.s(1))
    return chain(add.s(1), members, link_error=[notes(app, "chain's")])


def the_same_errback(app):
    fail = app.tasks["fail"]
    return chain(app.tasks["add"].s(1), fail.si().on_error(notes(app, "one")), link_error=[notes(app, "one")])


def immutable_chain(app):
    """A callback that takes no input, though it is a chain."""
    callback = chain(notes(app, "first"), notes(app, "second")).set(immutable=True)
    return app.tasks["add"].s(1).set(link=[callback])


def callback_of_a_body(app):
    """A callback of a chord whose body is a group: once, as of a group."""
    add = app.tasks["add"]
    return chord([add.s(1)], group(add.si(2), add.si(3)), link=[notes(app, "body's")])


def void_errback(app):
    return app.tasks["fail"].si().on_error(chain()).on_error(notes(app, "another"))


@pytest.mark.parametrize("canvas", [errbacks, the_same_errback, immutable_chain, callback_of_a_body, void_errback])
def test_callbacks_and_errbacks_are_those_of_a_worker(app, canvas):
    canvas(app).delay()
    drain(app)
    by_worker, app.called = sorted(app.called), []
    with eager(app, propagate=False):
        canvas(app).delay()
    assert sorted(app.called) == by_worker != []


def test_a_chord_without_a_body_is_refused_by_both(app):
    unfinished = chord([app.tasks["add"].s(1)])
    with pytest.raises(TypeError, match="has no body"):
        unfinished.delay()
    with eager(app), pytest.raises(TypeError, match="has no body"):
        unfinished.delay()
