"""The results of chains that are longer than Python's stack."""

from __future__ import annotations

import pickle

import pytest

from liteq import LiteQ, chain
from liteq.result import AsyncResult, GroupResult, result_from_tuple
from liteq.result.record import line_as_tuple
from liteq.testing import drain

LONG = 5_000


@pytest.fixture
def app(tmp_path):
    app = LiteQ("long", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    yield app
    app.close()


def line(app, n=LONG):
    result = None
    for i in range(n):
        group = i % 2
        result = (
            GroupResult(f"g{i}", [AsyncResult(f"m{i}", app=app)], parent=result, app=app)
            if group
            else AsyncResult(f"r{i}", app=app, parent=result)
        )
    return result


def ids(result):
    return [one.id for one in result.line()]


def test_a_long_chain_is_described_and_made_again(app):
    result = line(app)
    assert ids(result_from_tuple(result.as_tuple(), app)) == ids(result)


def test_a_long_chain_is_pickled(app):
    app.set_current()
    result = line(app)
    assert ids(pickle.loads(pickle.dumps(result))) == ids(result)


def test_a_long_chain_is_forgotten(app):
    @app.task(name="add")
    def add(x, y):
        return x + y

    first, last = "r0", f"r{LONG}"
    for id_ in (first, last):
        add.apply_async((1, 2), task_id=id_)
    drain(app)
    assert set(app.storage.reader.find_many([first, last])) == {first, last}
    line(app, LONG + 1).forget()  # a group forgets its members alone, as in Celery
    assert app.storage.reader.find_many([first, last]) == {}


def test_a_task_returns_a_long_chain(app):
    """With its last steps: the rest is nested too deep to be stored."""

    @app.task(name="add")
    def add(x, y):
        return x + y

    @app.task(name="sends")
    def sends():
        return chain(add.s(0, 0), *[add.s(1)] * 1_000).apply_async(countdown=3600)

    result = sends.delay()
    drain(app)
    tree = result_from_tuple(result.get(timeout=1), app)
    assert len(tree.line()) > 20
    assert app.storage.reader.find(tree.id) is not None


def test_only_the_nearest_parents_are_described(app):
    assert line_as_tuple(line(app, 5), parents=1) == (("r4", (("g3", None), [(("m3", None), None)])), None)
