"""Guarantees of Celery's tasks on a liteq file that no other test here shows; the table is in README.md."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.states import State

from .shop import HERE, NEEDS_CELERY, Shop

pytestmark = [pytest.mark.timeout(400), *NEEDS_CELERY]  # the first of two counts
LONG_S = 120.0

SENDERS, EACH = 20, 10
SENDER = """
import sys
kind, first, senders, each = sys.argv[1], *map(int, sys.argv[2:])
if kind == "gevent":
    from gevent import monkey
    monkey.patch_all()
import threading
from app_of_shop import app

ready = threading.Barrier(senders)

def send(n):
    ready.wait()
    for k in range(each):
        app.send_task("shop.add", (n, k), task_id=f"{n}-{k}")

running = [threading.Thread(target=send, args=(first + n,)) for n in range(senders)]
for one in running: one.start()
for one in running: one.join()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, visibility_timeout=2, max_deliveries=4)
    shop.within_s = LONG_S
    yield shop
    shop.close()


def test_the_body_behind_a_member_that_is_lost_fails_and_its_errbacks_are_told(shop: Shop) -> None:
    """Its members are acknowledged before they run, as is Celery's default; on Redis the chord would wait for ever."""
    from celery import chain, chord

    began, told, all_of_it = (str(shop.folder / name) for name in ("began", "told", "all"))
    worker = shop.start(children=1)
    last = shop.sig("body", str(shop.folder / "ran")).on_error(shop.sig("told_id", told))
    last = last.on_error(shop.sig("told_all", all_of_it))
    inner = chord([shop.sig("early", began, str(shop.folder / "never"))], last, app=shop.app)
    rest = chain(inner, shop.sig("same"), app=shop.app).delay()
    shop.wait(lambda: shop.lines("began"))
    shop.kill(worker)
    shop.start(children=1)
    shop.wait(lambda: rest.state == "FAILURE")
    body = rest.parent
    assert body.state == "FAILURE"
    shop.wait(lambda: shop.lines("told") and shop.lines("all"))
    assert shop.lines("told") == [body.id]
    assert [line.split()[:2] for line in shop.lines("all")] == [[body.id, "ChordError"]]
    assert (len(shop.lines("began")), shop.lines("ran")) == (1, [])


def test_poison_runs_as_often_as_it_may_and_is_replayed_from_the_dead_letters(shop: Shop) -> None:
    shop.start(children=1)
    runs = shop.folder / "poison"
    poison = shop.send("late_killed", str(runs), 100, link_error=shop.sig("told", str(shop.folder / "told")))
    shop.wait(lambda: shop.record(poison.id).state is State.DEAD)
    assert 2 <= len(shop.lines("poison")) <= 5
    shop.wait(lambda: shop.lines("told"))
    assert shop.lines("told") == [f"{poison.id} WorkerLostError {runs}"]
    broker = ("-b", f"sqlite:///{shop.path}")
    assert poison.id in shop.command("liteq", *broker, "dead", "list")
    runs.write_text("\n" * 101)  # now it survives
    shop.command("liteq", *broker, "dead", "requeue", poison.id)
    shop.wait(lambda: shop.record(poison.id).state is State.SUCCEEDED)
    assert poison.get(timeout=LONG_S) == "survived"


def test_what_follows_a_task_that_ran_twice_is_sent_once(shop: Shop) -> None:
    began, go, rest, linked = (shop.folder / name for name in ("began", "go", "rest", "linked"))
    worker = shop.start(children=1)
    behind = [shop.sig("counted", str(rest), 1, immutable=True, task_id="rest")]
    link = shop.sig("counted", str(linked), 1, immutable=True, task_id="linked")
    twice = shop.send("held", str(began), str(go), chain=behind, link=link)
    shop.wait(lambda: shop.lines("began"))
    go.touch()  # it goes on, and is killed with its worker in its end or close to it
    shop.kill(worker)
    shop.start()
    assert twice.get(timeout=LONG_S) == "done"
    ends = [shop.app.AsyncResult(id_) for id_ in ("rest", "linked")]
    assert [one.get(timeout=LONG_S) for one in ends] == [1, 1]
    assert (shop.lines("rest"), shop.lines("linked")) == (["1"], ["1"])
    counts = {count.state: count.n for count in shop.liteq.storage.reader.counts()}
    assert counts == {State.SUCCEEDED: 3}, "nothing is there twice"


def test_a_task_that_is_killed_while_it_replaces_itself_by_a_group_runs_again(shop: Shop) -> None:
    """It ends when all of the group is sent: else its result would wait for members that nobody sends."""
    shop.start(children=1)
    replaced = shop.send("killed_by_group", 3, str(shop.folder / "ran"))
    assert replaced.get(timeout=LONG_S) == [0, 1, 2]
    assert shop.lines("ran") == ["ran", "ran"]


def test_a_chord_in_a_chord_is_whole_wherever_the_task_that_sends_it_is_killed(shop: Shop) -> None:
    """Its group, its body and its members are several writes: what is missing of them comes with the next run."""
    from celery import chain, chord

    shop.start(children=1)
    same, sent = shop.sig("same"), []
    for nth in range(1, 4):
        first = shop.sig("killed_at_its_end", nth, nth, str(shop.folder / f"ran-{nth}"))
        inner = chain(first, chord([same, shop.sig("same", 5, immutable=True)], same, app=shop.app), app=shop.app)
        sent.append(chord([shop.sig("same", 0), inner], same, app=shop.app).delay())
    assert [one.get(timeout=LONG_S) for one in sent] == [[0, [nth, 5]] for nth in range(1, 4)]
    assert [len(shop.lines(f"ran-{nth}")) for nth in range(1, 3)] == [2, 2]


@pytest.mark.parametrize("kind", ["gevent", "threads"])
def test_twenty_senders_and_a_second_process_all_get_through(shop: Shop, kind: str) -> None:
    """A greenlet that waited natively for the write gate would stop the one that has it, and with it everybody."""
    if kind == "gevent":
        pytest.importorskip("gevent", reason="gevent is not installed: pip install gevent")
    shop.liteq.storage.migrate()
    command = [sys.executable, "-c", SENDER]
    started = [
        subprocess.Popen([*command, kind, "0", str(SENDERS), str(EACH)], env=shop.env, cwd=HERE),
        subprocess.Popen([*command, "plain", str(SENDERS), "1", str(EACH)], env=shop.env, cwd=HERE),
    ]
    try:
        assert [one.wait(timeout=LONG_S) for one in started] == [0, 0]
    finally:
        for one in started:
            one.kill()
    ids = [f"{n}-{k}" for n in range(SENDERS + 1) for k in range(EACH)]
    assert shop.liteq.storage.reader.find_many(ids).keys() == set(ids)


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_a_worker_works_while_its_own_tasks_and_others_send(shop: Shop, pool: str) -> None:
    if pool == "gevent":
        pytest.importorskip("gevent", reason="gevent is not installed: pip install gevent")
    shop.start(pool=pool, children=SENDERS)
    sent = [shop.send("sends", n, EACH) for n in range(SENDERS)]
    mine: list[str] = []

    def send() -> None:
        mine.extend(shop.send("add", n, n, task_id=f"mine-{n}").id for n in range(EACH))

    beside = threading.Thread(target=send)
    beside.start()
    assert [one.get(timeout=LONG_S) for one in sent] == [EACH] * SENDERS
    beside.join(timeout=LONG_S)
    ids = [f"{n}-{k}" for n in range(SENDERS) for k in range(EACH)] + mine
    assert len(mine) == EACH
    find = shop.liteq.storage.reader.find_many
    shop.wait(lambda: [row.state for row in find(ids).values()] == [State.SUCCEEDED] * len(ids))
