"""Chords of Celery's on a liteq file: groups that count their members, whoever runs them, and a body behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq.states import State
from liteq.storage.groups.append_members import GIVE_UP

from ...faults.sizes import size
from .shop import NEEDS_CELERY, Shop

pytestmark = NEEDS_CELERY
MEMBERS = size("CHORD_MEMBERS", 24, 120)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    shop.start()
    yield shop
    shop.close()


def chord(shop: Shop, header: Any, body: Any) -> Any:
    from celery import chord

    return chord(header, body, app=shop.app)


def chain(shop: Shop, *steps: Any) -> Any:
    from celery import chain

    return chain(*steps, app=shop.app)


def group(shop: Shop, *members: Any) -> Any:
    from celery import group

    return group(*members, app=shop.app)


def test_the_body_takes_the_results_in_the_order_of_the_header_and_nothing_looks_for_them(shop: Shop) -> None:
    sent = chord(shop, [shop.sig("add", n, n) for n in range(5)], shop.sig("same")).delay()
    assert sent.get(timeout=60) == [0, 2, 4, 6, 8]
    assert b"that is awaited" not in shop.record(sent.id).options  # the text of its arguments has no word of ours
    assert shop.liteq.storage.reader.find_group(sent.parent.id).remaining == 0
    assert "chord_unlock[" not in shop.log()
    assert chord(shop, [shop.sig("add", 1, 1)], shop.sig("add", 2, 3, immutable=True)).delay().get(timeout=60) == 5


def test_chords_in_chords_and_chains_and_groups_in_them(shop: Shop) -> None:
    add, same = shop.sig("add", 1), shop.sig("same")
    inner = chord(shop, [shop.sig("add", 1, 1), shop.sig("add", 2, 2)], same)
    deeper = chord(shop, [inner, shop.sig("same", 7)], same)
    assert chord(shop, [deeper, shop.sig("same", 9)], same).delay().get(timeout=60) == [[[2, 4], 7], 9]
    ends_in_group = chain(shop, shop.sig("add", 1, 1), group(shop, add, shop.sig("add", 2)))
    sent = chord(shop, [ends_in_group, chain(shop, shop.sig("add", 5, 5), add)], same).delay()
    assert sent.get(timeout=60) == [[3, 4], 11]
    first, second = group(shop, shop.sig("same", 1), shop.sig("same", 2)), group(shop, same, same)
    assert chain(shop, first, second).delay().get(timeout=60) == [[1, 2], [1, 2]]
    steps = chain(shop, shop.sig("same", 3), group(shop, add, shop.sig("add", 2)), same, shop.sig("same"))
    assert steps.delay().get(timeout=60) == [4, 5]
    body = chord(shop, [same, same], same)
    assert chord(shop, [shop.sig("same", 1)], body).delay().get(timeout=60) == [[1], [1]]


def test_a_task_that_replaces_itself_stays_a_member_and_what_is_behind_it_stays(shop: Shop) -> None:
    assert shop.send("by_group", 3).get(timeout=60) == [0, 1, 2]
    assert shop.send("by_chain", 3).get(timeout=60) == 5
    header = [shop.sig("by_group", 2), shop.sig("by_chain", 3), shop.sig("same", 1)]
    assert chord(shop, header, shop.sig("same")).delay().get(timeout=60) == [[0, 1], 5, 1]
    steps = chain(shop, shop.sig("by_chain", 1), shop.sig("add", 10), shop.sig("add", 100))
    assert steps.delay().get(timeout=60) == 113


def test_a_chord_takes_one_more_task_and_a_generator_s(shop: Shop) -> None:
    sent = chord(shop, [shop.sig("one_more"), shop.sig("same", 2)], shop.sig("same")).delay()
    assert sent.get(timeout=60) == ["one", 2, "more"]
    sent = chord(shop, (shop.sig("same", n) for n in range(3)), shop.sig("same")).delay()
    assert sent.get(timeout=60) == [0, 1, 2]


@pytest.mark.parametrize("header", ["list", "generator"])
def test_signatures_of_a_chord_may_be_compressed(shop: Shop, header: str) -> None:
    """Nobody looks into a compressed member, and what waits is written uncompressed."""

    def small(name: str, *args: Any) -> Any:
        return shop.sig(name, *args).set(compression="zlib")

    members = [small("add", 1, 1), small("add", 2, 2), shop.sig("add", 3, 3)]
    sent = chord(shop, members if header == "list" else iter(members), small("same")).delay()
    assert sent.get(timeout=60) == [2, 4, 6]
    inner = chain(shop, small("same", 5), group(shop, small("add", 1), shop.sig("add", 2)), small("same"))
    assert chord(shop, [inner, small("same", 9)], shop.sig("same")).delay().get(timeout=60) == [[6, 7], 9]


def test_a_chord_that_is_sent_again_runs_again(shop: Shop) -> None:
    ran = shop.folder / "again"
    sig = chord(shop, [shop.sig("same", 1)], shop.sig("body", str(ran)))
    sig.freeze()
    for times in (1, 2):
        assert sig.apply_async().get(timeout=60) == [1]
        shop.wait(lambda: len(shop.lines("again")) == times)


def test_a_header_is_written_at_once_and_not_at_all_where_it_breaks_off(tmp_path: Path) -> None:
    from celery.signals import before_task_publish
    from kombu.exceptions import EncodeError

    shop = Shop(tmp_path)
    try:
        waiting = []

        def look(**_: Any) -> None:
            waiting.append(shop.liteq.storage.reader.waiting(["celery"], limit=100))

        before_task_publish.connect(look, weak=False)
        try:
            sent = chord(shop, [shop.sig("same", n) for n in range(20)], shop.sig("same")).delay()
        finally:
            before_task_publish.disconnect(look)
        assert set(waiting[:-1]) == {0}
        assert shop.liteq.storage.reader.waiting(["celery"], limit=100) == 20
        with pytest.raises(EncodeError):
            chord(
                shop, [shop.sig("same", 1), shop.sig("same", object()), shop.sig("same", 3)], shop.sig("same")
            ).delay()
        assert shop.liteq.storage.reader.waiting(["celery"], limit=100) == 20
        with pytest.raises(EncodeError):
            chord(shop, [shop.sig("same", 1), shop.sig("same", object())], shop.sig("same")).delay()
        shop.send("same", 5)
        assert shop.liteq.storage.reader.waiting(["celery"], limit=100) == 21, "it closes no chord that broke off"
        again = chord(shop, [shop.sig("same", n) for n in range(3)], shop.sig("same")).delay()
        shop.start()
        assert (sent.get(timeout=60), again.get(timeout=60)) == (list(range(20)), [0, 1, 2])
    finally:
        shop.close()


def test_a_chord_whose_last_member_is_a_chord_that_cannot_be_opened_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from liteq.exceptions import StorageError
    from liteq.storage.facades.groups import Groups

    shop = Shop(tmp_path)
    opens, opened = Groups.open, list[Any]()

    def open_or_fail(self: Groups, batch: Any, *args: Any, **options: Any) -> bool:
        opened.append(batch)
        if len(opened) == 2:
            raise StorageError("the disk is away")
        return opens(self, batch, *args, **options)

    monkeypatch.setattr(Groups, "open", open_or_fail)
    try:
        inner = chord(shop, [shop.sig("same", 2)], shop.sig("same"))
        outer = chord(shop, [shop.sig("same", 1), inner], shop.sig("same"))
        with pytest.raises(StorageError):
            outer.clone().delay()
        shop.send("same", 5)
        reader = shop.liteq.storage.reader
        assert (len(opened), reader.waiting(["celery"], limit=100)) == (2, 2), "the first member, and the next message"
        assert [one.task for one in reader.messages(State.SCHEDULED)] == [GIVE_UP], "that closes no chord"
        sent = outer.clone().delay()
        shop.start()
        assert sent.get(timeout=60) == [1, [2]]
    finally:
        shop.close()


@pytest.mark.parametrize("fails", [1, 2])  # kombu tries once more: the members before the last, then the last
def test_a_header_whose_writing_is_tried_again_is_whole(
    shop: Shop, fails: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from liteq.exceptions import StorageError
    from liteq.storage.facades.groups import Groups

    enter, calls = Groups.enter, list[int]()

    def enter_or_fail(self: Groups, batch: Any, **options: Any) -> list[str]:
        calls.append(len(batch.messages))
        if len(calls) == fails:
            raise StorageError("the disk is away")
        return enter(self, batch, **options)

    monkeypatch.setattr(Groups, "enter", enter_or_fail)
    sent = chord(shop, [shop.sig("same", n) for n in range(4)], shop.sig("same")).delay()
    assert sent.get(timeout=60) == [0, 1, 2, 3]
    assert calls == ([3, 3, 1] if fails == 1 else [3, 1, 1])


def test_a_failing_header_fails_the_body_and_calls_each_errback_once(shop: Shop) -> None:
    from celery.exceptions import ChordError

    ids, all_of_it = str(shop.folder / "ids"), str(shop.folder / "all")

    def told(sig: Any) -> Any:
        return sig.on_error(shop.sig("told_id", ids)).on_error(shop.sig("told_all", all_of_it))

    inner = chord(shop, [shop.sig("boom"), shop.sig("same", 1)], told(shop.sig("same")))
    outer = chord(shop, [inner, shop.sig("same", 2)], told(shop.sig("same"))).delay()
    with pytest.raises((ChordError, KeyError), match="no such crate"):  # that of its parent, if it is seen first
        outer.get(timeout=60)
    broken = chord(shop, [shop.sig("same", 1)], told(shop.sig("boom"))).delay()
    with pytest.raises(KeyError):
        broken.get(timeout=60)
    rest = chain(shop, group(shop, shop.sig("boom"), shop.sig("same", 1)), shop.sig("same"), shop.sig("same")).delay()
    with pytest.raises((ChordError, KeyError)):
        rest.get(timeout=60)
    shop.wait(lambda: len(shop.lines("ids")) == 3 and len(shop.lines("all")) == 3)
    assert sorted(shop.lines("ids")) == sorted(line.split()[0] for line in shop.lines("all"))
    assert sorted(line.split(" ", 1)[1] for line in shop.lines("all")) == [
        "ChordError True", "ChordError True", "KeyError True",
    ]  # fmt: skip
    assert {outer.id, broken.id} < set(shop.lines("ids"))


def test_a_failure_asks_for_that_of_a_parent_first(shop: Shop) -> None:
    """The header's failure and the body's come at once: Celery raises the former, which its own backends show first."""
    sent = chord(shop, [shop.sig("boom"), shop.sig("same", 1)], shop.sig("same")).delay()
    shop.wait(lambda: shop.app.AsyncResult(sent.id).state == "FAILURE")
    asked: list[str] = []
    found = shop.app.backend.wait_for(sent.id, timeout=40, on_interval=lambda: asked.append("parent"))
    assert (type(found["result"]).__name__, asked) == ("ChordError", ["parent"])
    with pytest.raises(KeyError, match="no such crate"):
        sent.get(timeout=40)


def test_the_tasks_of_a_body_that_is_a_group_fail_with_the_error_of_the_header(shop: Shop) -> None:
    tasks = [shop.sig("same").on_error(shop.sig("told_all", str(shop.folder / "of-group"))) for _ in range(2)]
    sent = chord(shop, [shop.sig("boom"), shop.sig("same", 1)], group(shop, *tasks)).delay()
    ids = [one.id for one in sent.results]
    shop.wait(lambda: all(shop.app.AsyncResult(id_).state == "FAILURE" for id_ in ids))
    assert [type(shop.app.AsyncResult(id_).result).__name__ for id_ in ids] == ["KeyError"] * 2
    shop.wait(lambda: len(shop.lines("of-group")) == 2)
    assert sorted(shop.lines("of-group")) == sorted(f"{id_} KeyError True" for id_ in ids)


@pytest.mark.parametrize("broken", ["header", "body"])
def test_an_errback_of_a_chain_with_groups_in_it_is_called_once(shop: Shop, broken: str) -> None:
    """Links behind the one that broke have failed with it, and tell nobody once more."""
    told = f"chain-{broken}"
    fails = shop.sig("boom", immutable=True)
    first = shop.sig("boom", "?") if broken == "body" else shop.sig("same")
    rest = chain(shop, first, group(shop, shop.sig("same"), shop.sig("same")), shop.sig("same"))
    rest.link_error(shop.sig("told_id", str(shop.folder / told)))
    header = [shop.sig("same", 1, immutable=True), *([fails] if broken == "header" else [])]
    sent = chord(shop, [shop.sig("same", 1)], chain(shop, shop.sig("same"), chord(shop, header, rest))).delay()
    shop.wait(lambda: sent.state == "FAILURE" and shop.lines(told))
    waiting = {State.PENDING, State.SCHEDULED, State.LEASED, State.BLOCKED}
    shop.wait(lambda: not any(shop.liteq.storage.reader.messages(state) for state in waiting))
    assert len(shop.lines(told)) == 1


def test_a_chord_fails_whose_member_breaks_before_the_chord_at_its_end(shop: Shop) -> None:
    inner = chain(shop, shop.sig("boom"), chord(shop, [shop.sig("same"), shop.sig("same")], shop.sig("same")))
    sent = chord(shop, [inner, shop.sig("same", 2)], shop.sig("same")).delay()
    shop.wait(lambda: shop.app.AsyncResult(sent.id).state == "FAILURE")


def test_what_follows_a_body_that_is_a_group_runs_once(shop: Shop) -> None:
    """Celery gives it to each task of the group, under the same ids."""
    second = chord(shop, [shop.sig("same"), shop.sig("same")], shop.sig("body", str(shop.folder / "once")))
    first = chord(shop, [shop.sig("same", 1)], group(shop, shop.sig("same"), shop.sig("same")))
    sent = chain(shop, first, second).delay()
    assert sent.get(timeout=40) == [[1], [1]]
    assert shop.lines("once") == ["2"]


def test_a_worker_of_celery_s_gives_up_a_group_whose_sender_has_died(shop: Shop) -> None:
    from liteq.message import Batch, Flag, Group, Message

    body = Message("given-up-body", "shop.same", b"[[],{}]", awaits="given-up", flags=Flag.TAKES_INPUT)
    shop.liteq.storage.groups.open(Batch([body], [Group("given-up", 0)]), queue="celery", patience_s=0.1)
    shop.wait(lambda: shop.record("given-up-body").state is State.UPSTREAM_FAILED)
    assert "not sent as a whole" in str(shop.app.AsyncResult("given-up-body").result)


def test_what_is_behind_an_early_task_that_is_lost_is_told(shop: Shop) -> None:
    told, began = str(shop.folder / "lost"), shop.folder / "early"
    first = shop.sig("killed", str(began), 1).on_error(shop.sig("told_all", told))
    last = chain(shop, first, shop.sig("same"), shop.sig("same")).delay()
    shop.wait(lambda: last.state == "FAILURE")
    shop.wait(lambda: shop.lines("lost"))
    assert [line.split()[1] for line in shop.lines("lost")] == ["WorkerLostError"]


def test_a_chord_fires_once_while_workers_of_both_kinds_die(tmp_path: Path) -> None:
    shop = Shop(tmp_path, visibility_timeout=2, max_deliveries=100)
    ran, fired = tmp_path / "ran", tmp_path / "fired"
    shop.start_liteq()
    try:
        doomed = shop.start()
        header = [shop.sig("counted", str(ran), n) for n in range(MEMBERS)]
        sent = chord(shop, header, shop.sig("body", str(fired))).delay()
        for part in (1, 2):
            shop.wait(lambda: len(shop.lines("ran")) >= part * MEMBERS // 4)
            shop.kill(doomed)
            doomed = shop.start()
        assert sent.get(timeout=60) == list(range(MEMBERS))
        assert shop.lines("fired") == [str(MEMBERS)]
        assert set(map(int, shop.lines("ran"))) == set(range(MEMBERS))
    finally:
        shop.close()
