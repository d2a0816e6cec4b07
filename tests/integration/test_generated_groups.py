"""Groups and chords' headers that a generator makes: nothing is asked for twice, and what is slow is sent in parts."""

from __future__ import annotations

import json

import pytest

from liteq import AsyncResult, GroupResult, LiteQ, chain, chord, group
from liteq.exceptions import ChordError
from liteq.sending import parts
from liteq.serialization import encode
from liteq.states import State
from liteq.testing import FakeClock, drain


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def app(tmp_path, clock):
    app = LiteQ("gen", broker=f"sqlite:///{tmp_path}/q.db", clock=clock, set_as_current=False)
    app.seen = []

    @app.task(name="note")
    def note(n):
        app.seen.append(n)
        return n

    @app.task(name="total")
    def total(numbers):
        return sum(numbers)

    @app.task(name="told")
    def told(*_):
        app.seen.append("error")

    yield app
    app.close()


@pytest.fixture
def in_parts(monkeypatch):
    """Every task of a generator is a part of its own."""
    monkeypatch.setattr(parts, "PART_ROWS", 1)


def notes(app, n):
    return (app.tasks["note"].s(i) for i in range(n))


# -- the value ---------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Canvas: groups", "A generator is not asked before its group or chord is sent, and asked once")
def test_a_generator_is_not_asked_before_it_is_sent(app):
    asked = []

    def tasks():
        asked.append(True)
        yield app.tasks["note"].s(1)

    made = [group(tasks()), chord(tasks(), app.tasks["total"].s()), group(tasks()) | app.tasks["total"].s()]
    copies = [sig.clone() for sig in made]
    assert asked == []
    assert [len(sig.tasks) for sig in copies] == [1, 1, 1]
    assert len(asked) == 3


def test_the_length_may_be_asked_for_in_the_middle_of_a_loop(app):
    g = group(notes(app, 4))
    assert [(task.args, len(g.tasks)) for task in g.tasks] == [((i,), 4) for i in range(4)]


def test_what_is_generated_is_generated_once_for_all_who_look(app):
    g = group(notes(app, 3))
    assert list(g.tasks) == list(g.tasks) == list(g.clone().tasks)
    assert g.tasks[-1].args == (2,)
    assert json.loads(encode(g, what="g"))["kwargs"]["tasks"][2]["args"] == [2]


def test_stamps_and_immutability_reach_what_is_still_to_come(app):
    asked = []

    def tasks():
        for n in range(2):
            asked.append(n)
            yield app.tasks["note"].s(n)

    g = group(tasks())
    g.stamp(tenant="t1")
    g.set_immutable(True)
    assert asked == []
    assert [(task.options["tenant"], task.immutable) for task in g.tasks] == [("t1", True)] * 2


def test_a_generator_that_raised_never_looks_like_a_shorter_one(app):
    def broken():
        yield app.tasks["note"].s(1)
        raise LookupError("no more")

    g = group(broken())
    for _ in range(2):
        with pytest.raises(LookupError):
            g.delay()
    assert app.storage.reader.counts() == []


def test_what_is_no_signature_is_refused_when_it_comes(app):
    with pytest.raises(TypeError, match="takes signatures"):
        group(n for n in (1, 2)).delay()


# -- in parts ----------------------------------------------------------------------------------------------------------


def test_a_quick_generator_is_sent_in_one_transaction(app):
    def tasks():
        for n in range(50):
            assert app.storage.reader.counts() == []
            yield app.tasks["note"].s(n)

    assert isinstance(group(tasks()).delay(), GroupResult)
    assert [count.n for count in app.storage.reader.counts()] == [50]


@pytest.mark.celery("Canvas: groups", "The first tasks of a generator run while it makes the others")
def test_the_first_tasks_run_while_the_others_are_generated(app, in_parts):
    def tasks():
        for n in range(4):
            assert app.seen == list(range(n))
            yield app.tasks["note"].s(n)
            drain(app)  # after the part has been sent

    result = chord(tasks(), app.tasks["total"].s()).delay()
    drain(app)
    assert result.get(timeout=1) == 6
    assert [child.get(timeout=1) for child in result.parent] == [0, 1, 2, 3]


def test_nothing_is_left_of_how_it_was_sent(app, in_parts):
    result = group(notes(app, 3)).delay()
    assert sum(count.n for count in app.storage.reader.counts()) == 3
    drain(app)
    assert result.get(timeout=1) == [0, 1, 2]
    record = app.storage.reader.find_group(result.id)
    assert (record.size, record.remaining, record.failed) == (3, 0, 0)


def test_chains_groups_and_chords_are_generated_too(app, in_parts):
    note, total = app.tasks["note"], app.tasks["total"]

    def tasks():
        yield chain(note.s(1), note.s())
        yield group(note.s(2), note.s(3))
        yield chord([note.s(4), note.s(5)], total.s())

    result = (group(tasks()) | total.s() | note.s()).delay()
    drain(app)
    assert result.get(timeout=1) == 15


def test_a_generator_that_raises_half_way_leaves_what_was_sent_and_no_body(app, in_parts):
    def broken():
        yield app.tasks["note"].s(1)
        raise LookupError("no more")

    with pytest.raises(LookupError):
        chord(broken(), app.tasks["total"].s()).delay()
    drain(app)
    assert app.seen == [1]
    assert [(count.state, count.n) for count in app.storage.reader.counts()] == [(State.SUCCEEDED, 1)]


def test_a_sender_that_vanishes_half_way_leaves_a_group_that_ends(app, clock, in_parts):
    kept = []

    def endless():
        yield app.tasks["note"].s(1)
        kept.extend(app.storage.reader.messages(State.SCHEDULED))
        raise SystemExit  # caught below; what the sender would have tidied up is not done

    with pytest.MonkeyPatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(parts.GroupStream, "abort", lambda self: None)
        group(endless()).delay()
    drain(app)
    (hold,) = kept
    gid = hold.group_id
    assert app.storage.reader.find_group(gid).remaining == 1
    clock.advance(seconds=parts.PATIENCE_S + 1)
    drain(app)
    assert app.storage.reader.find_group(gid).remaining == 0
    with pytest.raises(ChordError, match="not sent as a whole"):
        AsyncResult(hold.id, app=app).get(timeout=1)


def test_a_sender_that_comes_back_too_late_is_told(app, clock, in_parts):
    def slow():
        yield app.tasks["note"].s(1)
        clock.advance(seconds=parts.PATIENCE_S + 1)
        drain(app)
        yield app.tasks["note"].s(2)

    with pytest.raises(ValueError, match="was given up"):
        group(slow()).delay()


def test_inside_a_chain_a_generator_waits_for_its_turn_as_a_whole(app, in_parts):
    note, total = app.tasks["note"], app.tasks["total"]
    result = chain(note.si(9), group(note.si(n) for n in range(3)), total.s()).delay()
    drain(app)
    assert result.get(timeout=1) == 3


def test_the_body_of_a_large_group_gets_all_results(app):
    """Beyond what a claim reads, whoever executes the body reads them by itself."""
    app.task(name="large")(lambda n: "x" * n)
    app.task(name="lengths")(lambda values: [len(value) for value in values])
    body = chord([app.tasks["large"].s(200_000 + n) for n in range(3)], app.tasks["lengths"].s()).apply_async()
    drain(app)
    assert body.get(timeout=60) == [200_000, 200_001, 200_002]
