"""The limits that the options of a task spell out: its messages' keys, and what it declares."""

from __future__ import annotations

import inspect
import json

import pytest

from liteq.policy.keyed import NOT_YET, Keyed, fits, keyed_of, pattern_of
from liteq.policy.keys import LATER, KeyNotYet


def bill(user_id, tenant="acme", region="eu"): ...


def keyed(**given):
    return Keyed("bill", inspect.signature(bill), given, "task 'bill'")


def keys(*args, **given):
    made = keyed(**given).keys_of(args, {})
    return made and json.loads(made)


def test_a_task_as_a_whole_has_no_keys_to_write():
    assert keys(7, max_concurrency=2, global_rate_limit="5/m") is None
    assert keyed(max_concurrency=2, global_rate_limit="5/m").declared == {"task:bill": ("5/m", 2)}


def test_its_own_keys_begin_with_its_name():
    assert keys(7, max_concurrency=1, concurrency_key="user:{user_id}") == [None, "task:bill:user:7"]
    both = keyed(max_concurrency=1, concurrency_key="user:{user_id}", global_rate_limit="100/d", rate_key="r:{region}")
    assert json.loads(both.keys_of((7,), {})) == [None, "task:bill:user:7", "task:bill:r:eu"]
    assert both.declared == {"task:bill:user:*": (None, 1), "task:bill:r:*": ("100/d", None)}


def test_one_key_for_both_is_written_once():
    one = keyed(max_concurrency=1, concurrency_key="u:{user_id}", global_rate_limit="5/s", rate_key="u:{user_id}")
    assert json.loads(one.keys_of((7,), {})) == [None, "task:bill:u:7"]
    assert one.declared == {"task:bill:u:*": ("5/s", 1)}


def test_limits_and_the_fair_key():
    assert keys(7, limits=["stripe", "t:{tenant}"], fair_key="{tenant}") == ["acme", "stripe", "t:acme"]
    assert keys(7, limits="stripe") == [None, "stripe"]
    assert keys(7, limits=lambda user_id: f"u{user_id}") == [None, "u7"]
    assert keys(7, limits=["a", "a"]) == [None, "a"]
    assert keys(7, fair_key="{tenant}") == ["acme"]
    assert keys(7, fair_key=lambda user_id: None, limits=[lambda user_id: None]) is None


def test_without_the_code_a_function_is_no_key():
    one = keyed(limits=["stripe", lambda user_id: "never"], fair_key=lambda user_id: "never")
    assert json.loads(one.keys_of((7,), {}, functions=False)) == [None, "stripe"]
    assert one.is_late
    assert not keyed(fair_key=lambda user_id: "x").is_late


def test_an_argument_that_comes_later():
    assert keyed(fair_key="{user_id}").keys_or_later((LATER,), {}) == NOT_YET
    assert keyed(fair_key="{region}").keys_or_later((LATER,), {}) == '["eu"]'
    with pytest.raises(KeyNotYet):
        keyed(fair_key="{user_id}").keys_of((LATER,), {})


@pytest.mark.parametrize("sensitive", [True, "user_id", ("user_id",)])
def test_a_sensitive_argument_is_in_no_key(sensitive):
    with pytest.raises(ValueError, match="'user_id' is sensitive, and people see keys"):
        Keyed("bill", inspect.signature(bill), {"fair_key": "{user_id}"}, "task 'bill'", sensitive)
    made = Keyed("bill", inspect.signature(bill), {"fair_key": lambda *_: "digest"}, "task 'bill'", sensitive)
    assert made.keys_of((7,), {}) == '["digest"]'


def test_a_key_cannot_take_a_word_of_another_kind():
    with pytest.raises(ValueError, match="the key 'own:bill' begins with a word of liteq's own"):
        keys("own:bill", limits="{user_id}")
    assert keys("own:bill", concurrency_key="{user_id}") == [None, "task:bill:own:bill"]


def test_no_options_are_nothing():
    assert keyed_of("bill", {"max_concurrency": None, "limits": ()}, lambda: pytest.fail("asked"), "x") is None
    assert keyed_of("bill", {"limits": ("x",)}, lambda: None, "x") is not None
    with pytest.raises(ValueError, match="max_concurrency is a whole number from 1, not 0"):
        keyed_of("bill", {"max_concurrency": 0}, lambda: None, "x")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"max_concurrency": 0}, "max_concurrency is a whole number from 1, not 0"),
        ({"global_rate_limit": "ten"}, "global_rate_limit: 'ten' is no rate"),
        ({"concurrency_key": "{usr_id}"}, "concurrency_key: there is no parameter 'usr_id'.*did you mean 'user_id'"),
        ({"limits": ["{tenent}"]}, "limits: there is no parameter 'tenent'.*did you mean 'tenant'"),
        ({"limits": ["queue:mail"]}, "hold without being listed"),
        ({"limits": ["tenant:*"]}, "which is for a limit"),
        ({"concurrency_key": "{user_id}", "rate_key": "{region}"}, "begin each with a word of its own"),
        ({"concurrency_key": "u:{user_id}", "rate_key": lambda: ""}, "begin each with a word of its own"),
    ],
)
def test_wrong_values_are_refused(given, error):
    with pytest.raises(ValueError, match=error):
        keyed(**given)


@pytest.mark.parametrize(
    "given", [{"max_concurrency": "2"}, {"max_concurrency": True}, {"limits": 5}, {"limits": [5]}, {"fair_key": 5}]
)
def test_wrong_types_are_refused(given):
    with pytest.raises(TypeError, match=r"task 'bill': (max_concurrency|limits|fair_key)"):
        keyed(**given)


def test_the_limit_of_a_key_is_declared_for_all_that_fit():
    assert pattern_of("bill", None) == "task:bill"
    assert pattern_of("bill", "user:{user_id}/{region}") == "task:bill:user:*/*"
    assert pattern_of("bill", lambda: "") == "task:bill:*"


@pytest.mark.parametrize(
    ("key", "pattern", "does"),
    [
        ("user:7", "user:*", True), ("user:7", "user:7", True), ("user:7", "*", True), ("user:7", "u*:*7", True),
        ("user:7", "org:*", False), ("ab", "ab*b", False), ("aXbYc", "a*b*c", True), ("ac", "a*b*c", False),
        ("user:[x]", "user:[x]", True), ("userX7", "user.7", False),
    ],
)  # fmt: skip
def test_patterns(key, pattern, does):
    assert fits(key, pattern) is does
