"""Each send of a canvas raises and has written nothing, or every part of it ends: with unique keys that are held, ids
that are there already, and replacements, at each place of a canvas.
"""

from __future__ import annotations

import pytest

from liteq import LiteQ, chain, chord, group
from liteq.exceptions import CanvasConflict
from liteq.message import Ack, WorkerIdentity, new_id
from liteq.states import UNFINISHED
from liteq.testing import FakeClock, drain

YEAR_MS = 366 * 86_400_000
COUNTERS = """
SELECT g.id, g.remaining, g.size, g.failed FROM liteq_groups AS g
 WHERE g.remaining <> (
        SELECT count(*) FROM liteq_messages AS m
         WHERE m.group_id = g.id AND m.state IN ('scheduled', 'blocked', 'pending', 'held', 'leased'))
     + (SELECT count(*) FROM liteq_groups AS c WHERE c.group_id = g.id AND c.remaining > 0)
    OR g.size <> (SELECT count(*) FROM liteq_messages AS m WHERE m.group_id = g.id)
     + (SELECT count(*) FROM liteq_groups AS c WHERE c.group_id = g.id)
"""


@pytest.fixture
def app(tmp_path):
    app = LiteQ("canvases", broker=f"sqlite:///{tmp_path}/q.db", clock=FakeClock(), set_as_current=False)
    app.ran = []

    @app.task(name="num")
    def num(n=1):
        app.ran.append(n)
        return n

    @app.task(name="total")
    def total(values):
        app.ran.append(values)
        return sum(values) if isinstance(values, list) else values

    @app.task(name="bad")
    def bad(*_):
        app.ran.append("bad")
        raise ValueError("no")

    @app.task(name="become", bind=True)
    def become(self, *_):
        raise self.replace(app.replacement(self))

    @app.task(name="grow", bind=True)
    def grow(self, *_):
        self.add_to_chord(app.replacement(self))
        return 0

    yield app
    app.close()


def claim(app):
    worker = app.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    (lease,) = app.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    return lease


def wrong(app):
    """The faults that are left once nothing is to be done: rows that still wait, counters that do not count."""
    drain(app, until_ms=app.clock.now_ms() + YEAR_MS)
    waiting = [(count.state.value, count.n) for count in app.storage.reader.counts() if count.state in UNFINISHED]
    with app.storage.driver.read() as tx:
        return waiting + tx.execute(COUNTERS)


def written(app):
    with app.storage.driver.read() as tx:
        messages = tx.execute("SELECT id, state, awaits, group_id, flags FROM liteq_messages ORDER BY seq")
        return messages, tx.execute("SELECT id, size, remaining FROM liteq_groups ORDER BY id")


def take(app, key="K", n=7):
    """Somebody else's message that holds `key`, and ends."""
    return app.tasks["num"].apply_async((n,), unique_key=key, countdown=60)


# -- a unique key that is held ---------------------------------------------------------------------------------------

PLACES = {
    "a member of a header": lambda s, k, t: chord([s(1), k(2)], t()),
    "the body": lambda s, k, t: chord([s(1), s(2)], t().set(unique_key="K")),
    "a member of a group": lambda s, k, t: group(k(1), s(2)),
    "the first link": lambda s, k, t: chain(k(1), t()),
    "a link between": lambda s, k, t: chain(s(1), t().set(unique_key="K"), t()),
    "the last link": lambda s, k, t: chain(s(1), t().set(unique_key="K")),
    "a link before a chord": lambda s, k, t: chain(k(1), group(t(), t()), t()),
    "two members": lambda s, k, t: chord([k(1), k(2), s(3)], t()),
    "a chord in a chord": lambda s, k, t: chord([chord([k(1), s(2)], t().set(unique_key="K")), s(3)], t()),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_part_whose_key_is_held_ends_as_the_message_that_holds_it(app, place):
    take(app)
    s, total = app.tasks["num"].si, app.tasks["total"].s
    result = PLACES[place](s, lambda n: s(n).set(unique_key="K"), total).apply_async()
    assert wrong(app) == []
    assert result.successful()


def test_a_follower_has_the_result_of_what_it_follows(app):
    take(app, n=7)
    num, total = app.tasks["num"], app.tasks["total"]
    result = chord([num.si(1), num.si(2).set(unique_key="K")], total.s()).apply_async()
    assert wrong(app) == []
    assert result.get(timeout=1) == 8
    assert app.ran == [1, 7, [1, 7]]


def test_a_follower_fails_with_what_it_follows(app):
    app.tasks["bad"].apply_async(unique_key="K", countdown=60)
    result = chord([app.tasks["num"].si(1).set(unique_key="K")], app.tasks["total"].s()).apply_async()
    assert wrong(app) == []
    assert (result.state, result.parent[0].state) == ("FAILURE", "FAILURE")


@pytest.mark.parametrize("ignored", [True, False])
def test_what_is_followed_may_run_already(app, ignored):
    """A worker holds it under a lease that says nothing of a follower."""
    held = {}

    @app.task(name="holder", ignore_result=ignored)
    def holder():
        held["result"] = chord([app.tasks["num"].si(1).set(unique_key="K")], app.tasks["total"].si([3])).apply_async()
        return 5

    holder.apply_async(unique_key="K")
    assert wrong(app) == []
    assert held["result"].get(timeout=1, disable_sync_subtasks=False) == 3


def test_a_link_follows_too(app):
    take(app)
    app.tasks["num"].apply_async((1,), link=app.tasks["total"].s().set(unique_key="K"))
    assert wrong(app) == []
    assert app.ran == [1, 7]


def test_an_errback_takes_its_key_when_it_runs(app):
    """Until then it holds nothing: the first of two jobs, which ends well, does not swallow the second's alarm."""
    num, bad = app.tasks["num"], app.tasks["bad"]
    alarm = num.si("alarm").set(unique_key="alarm")
    num.apply_async((1,), countdown=5, link_error=alarm)
    bad.apply_async(countdown=9, link_error=alarm.clone())
    assert wrong(app) == []
    assert app.ran == [1, "bad", "alarm"]


def test_of_two_errbacks_with_one_key_one_runs(app):
    alarm = app.tasks["num"].si("alarm").set(unique_key="alarm", countdown=30)
    for _ in range(2):
        app.tasks["bad"].apply_async(link_error=alarm.clone())
    assert wrong(app) == []
    assert app.ran == ["bad", "bad", "alarm"]


def test_what_stands_behind_an_errback_holds_no_key_either(app):
    num = app.tasks["num"]
    errback = chain(num.si("errback"), num.si("behind").set(unique_key="K"), num.si("last"))
    num.apply_async((1,), countdown=5, link_error=errback)
    alone = num.apply_async((2,), unique_key="K", countdown=20)
    app.tasks["bad"].apply_async(countdown=9, link_error=errback.clone())
    assert wrong(app) == []
    assert alone.get(timeout=1) == 2
    assert app.ran == [1, "bad", "errback", 2, "last"]


def test_a_revoked_follower_leaves_what_it_follows_alone(app):
    holder = take(app)
    result = group(app.tasks["num"].si(1), app.tasks["num"].si(2).set(unique_key="K")).apply_async()
    result[1].revoke()
    assert wrong(app) == []
    assert (holder.get(timeout=1), result[1].state) == (7, "REVOKED")


# -- what a running task sends ---------------------------------------------------------------------------------------

SENT = {
    "its own signature": lambda app, task: app.tasks["num"].si("again").set(task_id=task.request.id),
    "its id on the last link": lambda app, task: chain(
        app.tasks["num"].si(1), app.tasks["num"].si("again").set(task_id=task.request.id)
    ),
    "its id on a group": lambda app, task: group(app.tasks["num"].si(1), app.tasks["num"].si("again")).set(
        task_id=task.request.id
    ),
    "its own key": lambda app, task: app.tasks["num"].si("again").set(unique_key="own"),
    "its own key on the first link": lambda app, task: chain(
        app.tasks["num"].si(1).set(unique_key="own"), app.tasks["num"].si("again")
    ),
    "the key of what comes after it": lambda app, task: app.tasks["num"].si("again").set(unique_key="after"),
    "the key of another": lambda app, task: app.tasks["num"].si("again").set(unique_key="K"),
}


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("where", ["alone", "in a header"])
def test_a_replacement_ends_whatever_ids_and_keys_it_has(app, sent, where):
    take(app)
    app.replacement = lambda task: SENT[sent](app, task)
    one = app.tasks["become"].s().set(unique_key="own")
    after = app.tasks["num"].si("after").set(unique_key="after")
    result = (chain(one, after) if where == "alone" else chord([one, app.tasks["num"].si(5)], after)).apply_async()
    assert wrong(app) == []
    assert result.get(timeout=1) == "after"
    assert ("again" in app.ran) != (sent == "the key of another")


def test_a_replacement_by_what_is_there_follows_it(app):
    standing = app.tasks["num"].apply_async((5,), task_id="standing", countdown=60)
    app.replacement = lambda task: app.tasks["num"].si(1).set(task_id="standing")
    result = chain(app.tasks["become"].s(), app.tasks["total"].s()).apply_async()
    assert wrong(app) == []
    assert (standing.get(timeout=1), result.get(timeout=1)) == (5, 5)


def test_a_replacement_that_waits_for_what_it_replaces_is_refused(app):
    """The task fails and says why: nothing of the replacement is written."""
    app.replacement = lambda task: app.tasks["num"].si(1).set(task_id="after")
    result = chain(app.tasks["become"].s(), app.tasks["num"].si(2).set(task_id="after")).apply_async()
    assert wrong(app) == []
    with pytest.raises(CanvasConflict, match="after"):
        result.parent.get(timeout=1)
    assert app.ran == []


@pytest.mark.parametrize("key", ["K", "body", "own"])
def test_what_is_added_to_a_chord_ends_whatever_its_key(app, key):
    take(app)
    app.replacement = lambda task: app.tasks["num"].si(2).set(unique_key=key)
    header = [app.tasks["grow"].s().set(unique_key="own"), app.tasks["num"].si(1)]
    result = chord(header, app.tasks["total"].s().set(unique_key="body")).apply_async()
    assert wrong(app) == []
    assert result.get(timeout=1) == {"K": 8, "body": 3, "own": 1}[key]


def test_a_member_that_is_added_twice_is_one(app):
    """A task that crashed after it had sent a member sends it again under its id."""

    def twice(task):
        app.replacement = lambda task: app.tasks["num"].si(2).set(task_id="extra")
        task.add_to_chord(app.replacement(task))
        return app.replacement(task)

    app.replacement = twice
    result = chord([app.tasks["grow"].s(), app.tasks["num"].si(1)], app.tasks["total"].s()).apply_async()
    assert wrong(app) == []
    assert result.get(timeout=1) == 3


def test_a_member_under_the_id_of_another_message_is_refused(app):
    app.tasks["num"].apply_async((9,), task_id="other", countdown=60)
    app.replacement = lambda task: app.tasks["num"].si(2).set(task_id="other")
    result = chord([app.tasks["grow"].s(), app.tasks["num"].si(1)], app.tasks["total"].s()).apply_async()
    assert wrong(app) == []
    with pytest.raises(CanvasConflict, match="other"):
        result.parent[0].get(timeout=1)


# -- parts without a task --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", ["one and none", "none and one", "one of nested ones"])
def test_a_group_that_is_a_chain_is_the_same_group_when_it_is_frozen(app, members):
    num, empty = app.tasks["num"], group([])
    tasks = {
        "one and none": [num.si(1), empty],
        "none and one": [empty, chain(num.si(1), countdown=1)],
        "one of nested ones": [group([empty, group([num.si(1)])])],
    }[members]
    canvas = chain(group(tasks), countdown=1)
    frozen = canvas.freeze()
    sent = canvas.apply_async()
    assert wrong(app) == []
    assert (sent.id, sent.get(timeout=1)) == (frozen.id, [1])


# -- ids that are there ----------------------------------------------------------------------------------------------


def frozen(app):
    num, total = app.tasks["num"], app.tasks["total"]
    canvas = chain(num.s(1), group(num.si(2), chord([num.si(3), num.si(4)], total.s())), total.s())
    canvas.freeze()
    return canvas


def test_a_canvas_that_is_sent_again_while_it_waits_is_the_standing_one(app):
    canvas = frozen(app)
    first = canvas.apply_async()
    before = written(app)
    assert canvas.apply_async() == first
    assert written(app) == before


def test_a_canvas_that_is_sent_again_half_done_is_the_standing_one(app):
    canvas = frozen(app)
    canvas.apply_async()
    app.storage.settle([(claim(app), Ack(b"1"))])
    before = written(app)
    canvas.apply_async()
    assert written(app) == before
    assert wrong(app) == []


def test_a_canvas_that_ran_runs_again(app):
    canvas = frozen(app)
    for _ in range(2):
        result = canvas.apply_async()
        assert wrong(app) == []
        assert result.get(timeout=1) == 9
    assert app.ran.count(1) == 2


def test_only_the_last_ones_id_given_the_rest_of_the_standing_one_is_found(app):
    """`chain.apply_async(task_id=...)` names its last step; what comes before it has other ids at each call."""
    num, total = app.tasks["num"], app.tasks["total"]
    first, second = (
        chain(num.s(1), num.si(2), total.s()).apply_async(task_id="nightly", countdown=60) for _ in range(2)
    )
    assert (second.id, second.parent.id, second.parent.parent.id) == (
        first.id, first.parent.id, first.parent.parent.id,
    )  # fmt: skip
    assert wrong(app) == []
    assert app.ran == [1, 2, 2]


def test_a_group_sent_again_under_its_id_is_the_standing_one(app):
    num = app.tasks["num"]
    first, second = (group(num.si(1), num.si(2)).apply_async(task_id="g", countdown=60) for _ in range(2))
    assert [r.id for r in second] == [r.id for r in first]
    assert wrong(app) == []
    assert sorted(app.ran) == [1, 2]


def test_a_group_that_ran_runs_again_with_members_of_its_own(app):
    num, total = app.tasks["num"], app.tasks["total"]
    for n in (1, 10):
        result = chord(group(num.si(n), num.si(n)).set(task_id="g"), total.s()).apply_async()
        assert wrong(app) == []
        assert result.get(timeout=1) == 2 * n


def between(app):
    """Canvases of which only a part is there."""
    num, total = app.tasks["num"], app.tasks["total"]
    there = num.si(2).set(task_id="there")
    return {
        "a link": chain(num.s(1), there, total.s()),
        "the last link": chain(num.s(1), there),
        "a member": chord([num.si(1), there], total.s()),
        "the body": chord([num.si(1)], total.s().set(task_id="there")),
        "a callback": num.s(1).set(link=[there]),
        "an errback": num.s(1).set(link_error=[there]),
        "a group's id": group(num.si(1), num.si(2)).set(task_id="there"),
        "a member of a group in a chain": chain(num.s(1), group(num.si(3), there)),
    }


BETWEEN = [
    "a link", "the last link", "a member", "the body", "a callback", "an errback", "a group's id",
    "a member of a group in a chain",
]  # fmt: skip


@pytest.mark.parametrize("place", BETWEEN)
def test_a_canvas_of_which_a_part_is_another_message_is_refused_by_name(app, place):
    app.tasks["num"].apply_async((9,), task_id="there", countdown=60)
    before = written(app)
    with pytest.raises(CanvasConflict, match="'there'"):
        between(app)[place].apply_async()
    assert written(app) == before
    assert wrong(app) == []


def test_a_message_under_the_id_of_a_group_is_refused(app):
    num = app.tasks["num"]
    group(num.si(1), num.si(2)).apply_async(task_id="g", countdown=60)
    before = written(app)
    with pytest.raises(CanvasConflict, match="'g'"):
        num.apply_async((1,), task_id="g")
    assert written(app) == before


def test_of_very_many_each_canvas_is_judged_alone(app):
    num, total = app.tasks["num"], app.tasks["total"]
    num.apply_async((1,), task_id="plain", countdown=60)
    take(app)
    ids = app.enqueue_many([
        num.s(2).set(task_id="plain"), num.s(3), chain(num.s(4), total.s().set(unique_key="K")),
        num.s(5).set(unique_key="K"),
    ])  # fmt: skip
    assert wrong(app) == []
    assert all(app.AsyncResult(id_).successful() for id_ in ids)
    assert sorted(map(str, app.ran)) == ["1", "3", "4", "7"]


def test_a_replacement_of_which_a_part_is_another_message_is_refused_and_nothing_of_it_is_left(app):
    num = app.tasks["num"]
    num.apply_async((9,), task_id="there", countdown=60)
    app.replacement = lambda task: chain(num.si(1), group(num.si(2), num.si(3)), num.si(4).set(task_id="there"))
    result = app.tasks["become"].apply_async()
    assert wrong(app) == []
    with pytest.raises(CanvasConflict, match="'there'"):
        result.get(timeout=1)
    messages, groups = written(app)
    assert (len(messages), groups, app.ran) == (2, [], [9])
