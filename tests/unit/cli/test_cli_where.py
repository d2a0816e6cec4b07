"""`--where` and `liteq why`: the search and the reason, on the command line."""

from __future__ import annotations

import re

import pytest


@pytest.fixture
def shop(liteq):
    """`liteq -A shop ...`"""
    return lambda *args, **options: liteq("-A", "shop", *args, **options)


@pytest.fixture
def call(shop):
    """Send a task; its id."""
    return lambda name, args="[]", *more: shop("call", name, "-a", args, *more).out.strip()


@pytest.fixture
def failed(call, work):
    """Three orders that have failed, in two queues."""
    ids = [call("shop.broken", "[1]"), call("shop.broken", "[2]"), call("shop.broken", "[3]", "--queue", "other")]
    assert work() == 3
    return ids


def test_dead_letters_are_chosen_by_a_search(shop, failed):
    def listed(where: str) -> set[str]:
        return {one["id"] for one in shop("dead", "list", "--where", where, "--json").json}

    assert listed("args.0:2") == {failed[1]}
    assert listed("queue:oth* error:ValueError") == {failed[2]}
    assert listed('"no such order: 3"') == {failed[2]}
    assert listed("task:shop.add") == set()
    assert shop("dead", "requeue", "--where", "args.0:2", "--json").json["requeued"] == [failed[1]]
    assert shop("dead", "drop", "--where", "queue:other", "--yes", "--json").json == {"dropped": 1}
    assert listed("") == {failed[0]}


def test_a_glob_chooses_as_in_a_search_however_many_there_are(shop, failed, monkeypatch):
    everything = len(shop("dead", "list", "--json").json)
    assert len(shop("dead", "list", "--task", "shop.b*", "--json").json) == everything > 0
    monkeypatch.setattr("liteq.cli.tasks.dead.PAGE", 1)  # more are an operation, by a search
    assert shop("dead", "drop", "--task", "none.*", "--yes").out == "Dropped 0 dead letters.\n"
    assert "done" in shop("dead", "drop", "--task", "shop.*", "--yes").out
    assert shop("dead", "list", "--json").json == []


def test_requeueing_all_meets_each_once_and_the_oldest_first(shop, failed):
    assert shop("dead", "requeue", "--all", "--json").json["requeued"] == failed
    assert shop("dead", "requeue", "--all", "--json").json["requeued"] == []


def test_one_that_fails_again_meanwhile_is_left_where_it_is(shop, failed, work, monkeypatch):
    from liteq.cli.tasks import dead
    from liteq.monitor.tasks import matching
    from liteq.storage.facades.dead import DeadLetters

    requeue = DeadLetters.requeue

    def requeued_and_failed_again(self, ids, **options):
        done = requeue(self, ids, **options)
        work()
        return done

    monkeypatch.setattr(dead, "PAGE", 1)
    monkeypatch.setattr(matching, "WINDOW", 1)
    monkeypatch.setattr(DeadLetters, "requeue", requeued_and_failed_again)
    assert shop("dead", "requeue", "--all", "--json").json["requeued"] == failed


def test_messages_of_a_search_are_in_any_state_unless_it_says_which(shop, failed, call):
    waits = call("shop.add", "[7, 0]")
    found = shop("inspect", "messages", "--where", "args.0:7,1", "--json").json
    assert {one["id"] for one in found} == {waits, failed[0]}
    assert [one["id"] for one in shop("inspect", "messages", "--where", "state:pending", "--json").json] == [waits]
    assert shop("inspect", "messages", "--where", "queue:none").err.strip().endswith("no message fits")


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("dead", "list", "--where", "tusk:x"), "unknown word tusk:.*the nearest is task:"),
        (("dead", "list", "--where", "state:pending"), "leave out state:"),
        (("dead", "list", "--where", "task:x", "--task", "y"), "not both"),
        (("dead", "drop", "x", "--where", "task:x"), "give IDs, or --where"),
        (("inspect", "messages", "--where", "worker:a", "-d", "b"), "not both"),
    ],
)
def test_a_search_that_cannot_be_is_explained(shop, failed, command, error):
    done = shop(*command)
    assert done.code == 2
    assert re.search(error, done.err)


def test_the_reason_is_told_in_words_and_as_json(shop, failed, call):
    done = shop("why", failed[0])
    assert done.out.startswith("dead, failed: It failed once, last with ValueError: no such order: 1")
    waits = call("shop.add", "[7, 0]")
    found = shop("why", waits, "--json").json
    assert (found["state"], found["reason"], found["details"]["queue"]) == ("pending", "no_worker", "celery")
    assert "workers        0" in shop("why", waits, "--details").out
    assert shop("why", "never").code == 1
