"""`liteq limits`: limits by key, set and paused while workers run."""

from __future__ import annotations

import re

import pytest


@pytest.fixture
def shop(liteq):
    """`liteq -A shop ...`, of a file that is there."""
    assert liteq("-A", "shop", "migrate").code == 0
    return lambda *args: liteq("-A", "shop", *args)


def only(shop, *command):
    (found,) = shop(*command, "--json").json
    return found


def test_a_limit_is_set_listed_and_deleted(shop):
    assert "there is no limit" in shop("limits", "list").err
    done = shop("limits", "set", "user:*", "--rate", "100/d", "--concurrent", "2")
    assert (done.code, done.out) == (0, "user:*: 100/d start, 2 run at once.\n")
    found = only(shop, "limits", "list")
    assert (found["key"], found["rate"], found["concurrent"], found["running"], found["held"]) == (
        "user:*", "100/d", 2, 0, 0,
    )  # fmt: skip
    assert shop("limits", "list").out.splitlines()[1].split("\t")[:3] == ["user:*", "100/d", "2"]
    assert shop("limits", "delete", "user:*").out == "user:* has no limit of its own any more.\n"
    assert shop("limits", "delete", "user:*").code == 1


def test_what_is_not_given_is_no_limit(shop):
    shop("limits", "set", "stripe", "--rate", "5/s", "--concurrent", "2")
    assert shop("limits", "set", "stripe", "--rate", "9/s", "--json").json["concurrent"] is None
    assert shop("limits", "set", "stripe").out == "stripe: no limit.\n"


def test_a_key_is_paused_and_resumed(shop):
    done = shop("limits", "pause", "stripe", "10m", "--reason", "they are down")
    assert (done.code, done.out) == (0, "stripe is paused for 10m.\n")
    found = only(shop, "limits", "list")
    assert found["reason"] == "they are down"
    assert found["paused_until_iso"].startswith("20")
    assert "they are down" in shop("limits", "list").out
    assert shop("limits", "resume", "stripe").out == "stripe goes on.\n"
    assert shop("limits", "resume", "stripe", "--json").json == {"key": "stripe", "resumed": False}
    assert shop("limits", "pause", "stripe", "90", "--json").json["key"] == "stripe"
    assert shop("limits", "pause", "stripe", "91").out == "stripe is paused for 91 s.\n"
    for command, name in (("limits", "stripe"), ("queue", "mail")):
        said = shop(command, "pause", name, "--until", "2h").out
        assert re.fullmatch(rf"{name} is paused until 2\d{{3}}-.*T.*\.\n", said)


def test_a_key_that_may_be_misspelt_is_told_with_the_nearest(shop):
    shop("limits", "set", "stripe", "--rate", "5/s")
    for command in (("pause", "strpe", "10m"), ("resume", "stirpe"), ("delete", "strip")):
        assert "the nearest that has one is 'stripe'" in shop("limits", *command).err, command
    shop("limits", "set", "user:*", "--rate", "5/s")
    for command in (
        ("pause", "stripe", "10m"),
        ("resume", "stripe"),
        ("pause", "paypal", "10m"),
        ("pause", "user:7", "5m"),
    ):
        assert shop("limits", *command).err == "", command


def test_wrong_values_are_usage(shop):
    for command in (
        ("set", "stripe", "--rate", "ten"), ("set", "stripe", "--concurrent", "0"), ("set", ""),
        ("pause", "stripe", "soon"), ("pause", "stripe", "-5"),
    ):  # fmt: skip
        done = shop("limits", *command)
        assert done.code == 2, done
    assert "'ten' is no rate" in shop("limits", "set", "stripe", "--rate", "ten").err


def test_what_is_done_to_a_limit_is_in_the_audit(shop):
    shop("limits", "set", "stripe", "--rate", "5/s")
    shop("limits", "pause", "stripe", "90", "--reason", "they are down")
    noted = [(one["action"], one["target"], one["reason"]) for one in shop("activity", "--json").json]
    assert noted == [("limit pause", "stripe", "they are down"), ("limit set", "stripe", "")]
