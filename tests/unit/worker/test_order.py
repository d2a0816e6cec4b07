"""`Order`: which queue a claim takes from first: in turns, by weight, or as given; globs follow the queues."""

from __future__ import annotations

from collections import Counter

import pytest

from liteq.worker.order import Order


def firsts(order: Order, n: int) -> list[str]:
    return [order.next()[0] for _ in range(n)]


def test_without_weights_they_take_turns():
    order = Order(["a", "b", "c"])
    assert [order.next() for _ in range(4)] == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_each_is_first_as_often_as_its_weight_says_and_evenly():
    order = Order(["mail=3", "default=1"])
    assert firsts(order, 4) == ["mail", "mail", "default", "mail"]
    counts = Counter(firsts(order, 4_000))
    assert counts == {"mail": 3_000, "default": 1_000}


@pytest.mark.parametrize("weights", [{"a": 1, "b": 999}, {"a": 1, "b": 5, "c": 10}, {"a": 2, "b": 3, "c": 3, "d": 40}])
def test_none_starves(weights):
    order = Order([f"{name}={weight}" for name, weight in weights.items()])
    total = sum(weights.values())
    found = firsts(order, 3 * total)
    for name, weight in weights.items():
        places = [i for i, first in enumerate(found) if first == name]
        assert len(places) == 3 * weight
        gaps = [after - before for before, after in zip([-1, *places], [*places, 3 * total], strict=True)]
        assert max(gaps) <= total
    assert Counter(found) == {name: 3 * weight for name, weight in weights.items()}


def test_every_queue_is_in_every_claim():
    order = Order(["a=9", "b", "c"])
    assert all(sorted(order.next()) == ["a", "b", "c"] for _ in range(50))


def test_strict_is_the_order_given():
    order = Order(["b", "a"], strict=True)
    assert [order.next() for _ in range(3)] == [["b", "a"]] * 3


@pytest.mark.parametrize("wrong", ["mail=0", "mail=-1", "mail=often", "mail=", "=3", "mail=1001"])
def test_a_weight_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="NAME=WEIGHT"):
        Order([wrong])


def test_a_weight_is_refused_where_the_order_is_strict_and_it_would_have_no_effect():
    with pytest.raises(ValueError, match=r"'mail=3': a weight has no effect.*write 'mail'"):
        Order(["mail=3", "a"], strict=True)
    order = Order(["a"], strict=True)
    with pytest.raises(ValueError, match="strict"):
        order.add("mail.*=2")
    assert order.names == ["a"]
    order.add("mail=1")
    assert order.next() == ["a", "mail"]


def test_a_glob_finds_the_queues_that_appear_and_keeps_them():
    waiting = ["mail.b"]
    order = Order(["mail.*=2", "default"], waiting=lambda: waiting)
    assert sorted(order.next()) == ["default", "mail.b"]
    waiting[:] = ["mail.a", "pay"]
    assert sorted(order.next()) == ["default", "mail.a", "mail.b"]
    assert order.names == ["mail.a", "mail.b", "default"]
    assert Counter(firsts(order, 500)) == {"mail.a": 200, "mail.b": 200, "default": 100}


def test_globs_in_the_order_given_and_the_first_that_fits_counts():
    order = Order(["*.high", "mail.*", "*"], strict=True, waiting=lambda: ["mail.high", "mail.low", "x", "a.high"])
    assert order.next() == ["a.high", "mail.high", "mail.low", "x"]


def test_a_name_beside_a_glob_has_its_own_weight():
    order = Order(["mail.*", "mail.fast=4"], waiting=lambda: ["mail.fast", "mail.slow"])
    assert Counter(firsts(order, 500)) == {"mail.fast": 400, "mail.slow": 100}


def test_what_is_excluded_is_taken_from_by_no_glob():
    order = Order(["*"], excluded=["mail", "slow.*"], waiting=lambda: ["mail", "slow.a", "pay"])
    assert order.next() == ["pay"]


def test_queues_are_added_and_removed_while_it_works():
    order = Order(["a"], waiting=lambda: ["mail.x", "mail.y"])
    order.add("b=2")
    assert Counter(firsts(order, 30)) == {"a": 10, "b": 20}
    order.add("mail.*")
    assert order.next()[-1:] != []
    order.remove("mail.x")
    assert sorted(order.next()) == ["a", "b", "mail.y"]
    order.remove("mail.*")
    order.remove("b")
    assert order.next() == ["a"]
    order.add("a=7")
    assert order.names == ["a"]


def test_weights_are_told_of_queues_and_globs():
    given = ["a", "b=2", "mail.*=3", "mail.x=1"]
    order = Order(given, waiting=lambda: ["mail.x", "mail.y"])
    order.next()
    assert order.weights == {"b": 2, "mail.*": 3, "mail.y": 3}
