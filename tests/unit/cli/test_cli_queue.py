"""`liteq queue` and `liteq mark`: a queue is paused by its name, and a moment gets one."""

from __future__ import annotations

import pytest


@pytest.fixture
def shop(liteq):
    """`liteq -A shop ...`, of a file that is there."""
    assert liteq("-A", "shop", "migrate").code == 0
    return lambda *args, **options: liteq("-A", "shop", *args, **options)


def test_a_queue_is_paused_listed_and_resumed(shop, work):
    assert shop("call", "shop.add", "-a", "[1, 2]", "--queue", "mail").code == 0
    done = shop("queue", "pause", "mail", "--reason", "smtp is down")
    assert (done.code, done.out) == (0, "mail is paused; `liteq queue resume mail` lets it go on.\n")
    (listed,) = shop("queue", "list", "--json").json
    assert (listed["queue"], listed["reason"], listed["until"]) == ("mail", "smtp is down", None)
    assert "@" in listed["by"]
    assert "smtp is down" in shop("queue", "list").out
    assert work() == 0
    assert shop("queue", "resume", "mail").out == "mail goes on.\n"
    assert work() == 1


def test_a_pause_of_a_name_that_may_be_misspelt_tells_the_nearest(shop):
    assert shop("call", "shop.add", "-a", "[1, 2]", "--queue", "mail").code == 0
    assert "the nearest is 'mail'" in shop("queue", "pause", "mial").err
    assert [shop("queue", "pause", name).err for name in ("mail", "mial*")] == ["", ""]
    assert shop("queue", "pause", "").code == 2


def test_queues_are_paused_by_a_glob_and_resumed_by_it(shop, work):
    shop("call", "shop.add", "-a", "[1, 2]", "--queue", "mail.fast")
    paused = shop("queue", "pause", "mail.*", "--by", "ann", "--reason", "smtp", "--json").json
    assert (paused["queue"], paused["paused"], paused["by"]) == ("mail.*", True, "ann")
    (listed,) = shop("queue", "list", "--json").json
    assert (listed["queue"], listed["paused"]) == ("mail.*", True)
    assert work() == 0
    refused = shop("queue", "resume", "mail.fast")
    assert (refused.code, refused.out) == (
        1, "mail.fast is paused by mail.*: `liteq queue resume 'mail.*'` lets it go on.\n",
    )  # fmt: skip
    assert shop("queue", "resume", "mail.fast", "--json").json == {
        "queue": "mail.fast", "resumed": False, "paused": True,
    }  # fmt: skip
    assert shop("queue", "resume", "mail.*", "--by", "ann").code == 0
    assert work() == 1


@pytest.mark.parametrize("until", ["10m", "2999-01-01T00:00"])
def test_a_pause_has_an_end_that_is_a_time_or_a_span(shop, until):
    paused = shop("queue", "pause", "mail", "--until", until, "--json").json
    assert paused["until"] > paused["since"]
    assert shop("queue", "pause", "mail", "--until", until, "--for", "1m").code == 2
    over = shop("queue", "pause", "mail", "--until", "2020-01-01T00:00")
    assert over.code == 2
    assert "is over" in over.err
    assert shop("queue", "pause", "mail", "--until", "soon").code == 2


def test_a_pause_has_an_end(shop):
    paused = shop("queue", "pause", "mail", "--for", "10m", "--json").json
    assert paused["until"] - paused["since"] in range(599_000, 600_001)
    assert shop("queue", "pause", "mail", "--for", "soon").code == 2


def test_what_is_not_paused_is_told(shop):
    done = shop("queue", "resume", "mail")
    assert (done.code, done.out) == (1, "mail was not paused.\n")
    assert "no queue is paused" in shop("queue", "list").err


def test_a_pause_is_in_the_audit(shop):
    shop("queue", "pause", "mail", "--reason", "smtp")
    (noted,) = shop("activity", "--json").json
    assert (noted["action"], noted["target"], noted["reason"], noted["source"]) == ("pause", "mail", "smtp", "cli")


def test_a_moment_is_marked(shop):
    assert shop("mark", "v1.4").out == "Marked as v1.4.\n"
    assert shop("mark", " ").code == 2
    import shop as project

    assert [mark.label for mark in project.app.storage.audit.marks(0, 1 << 60)] == ["v1.4"]
