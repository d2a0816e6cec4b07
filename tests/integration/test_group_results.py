"""The results of groups: of those in groups, of restored and of eager ones, and of what is left of forgotten ones."""

from __future__ import annotations

import pytest

from liteq import LiteQ, group
from liteq.result import GroupResult, ResultSet
from liteq.testing import drain, eager


@pytest.fixture
def app(tmp_path):
    with LiteQ("it", broker=f"sqlite:///{tmp_path}/q.db") as app:
        app.task(name="add")(lambda x, y: x + y)
        yield app


def ended(app, canvas):
    result = canvas.delay()
    drain(app)
    return result


def nested(app):
    add = app.tasks["add"]
    return group(add.s(1, 2) | group(add.s(1), add.s(2)), add.s(5, 5))


def test_a_group_in_a_group_is_iterated_with_its_results(app):
    result = ended(app, nested(app))
    (inner, members), (_, meta) = result.iter_native(timeout=60)
    assert (inner, [member.get() for member in members], meta["result"]) == (result[0].id, [4, 5], 10)


def test_a_saved_group_is_restored_with_its_parents(app):
    add = app.tasks["add"]
    result = ended(app, add.s(1, 2) | group(add.s(1), add.s(2)))
    result.save()
    restored = GroupResult.restore(result.id, app=app)
    assert restored == result
    assert restored.parent.get(timeout=60) == 3


def test_a_group_of_which_nothing_is_left_is_unknown(app):
    """Also where groups stood in it, whose counters outlive their members."""
    result = ended(app, nested(app))
    result[0].forget()
    assert GroupResult.restore(result.id, app=app).get(timeout=60) == [10]
    result[1].forget()
    assert GroupResult.restore(result.id, app=app) is None


def test_results_of_eager_tasks_are_waited_for_together(app):
    app.set_current()
    with eager(app):
        results = ResultSet([app.tasks["add"].delay(1, n) for n in range(2)])
    assert results.get() == [1, 2]
    assert [meta["result"] for _, meta in results.iter_native()] == [1, 2]
