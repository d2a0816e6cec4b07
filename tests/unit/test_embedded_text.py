"""A long rest of a chain in a body of Celery's, kept as the text that it is where nothing in it asks for more."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.serialization.embedded import LONG, packed, unpacked, with_long_rest

REST = [{"task": f"shop.step{n}", "args": [n, "[]{}"], "kwargs": {"a": None}, "options": {}} for n in range(60)]


def body(rest: Any, *, args: Any = (1,), chord: Any = None, **dumps: Any) -> str:
    """As Celery writes it."""
    embed = {"callbacks": None, "errbacks": None, "chain": rest, "chord": chord}
    return json.dumps([args, {}, embed], **dumps)


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def test_a_long_rest_is_the_text_that_came():
    text = body(REST)
    args, kwargs, rest = with_long_rest(text) or (None, None, b"")
    assert (args, kwargs, b"[[1], {}, " + rest + b"]") == ([1], {}, text.encode())


@pytest.mark.parametrize(
    "text",
    [
        body(REST[:2]),
        body(REST[:2], args=["x" * LONG]),  # it is the arguments that are long
        body([{**REST[0], "args": [2**64]}, *REST]),
        body([{**REST[0], "args": [-(2**63) - 1]}, *REST]),
        body([{**REST[0], "args": ["\ud800"]}, *REST]),
        body([{**REST[0], "args": deep(300)}, *REST]),
        body(REST, chord={"task": "shop.total"}),
        body(REST, separators=(",", ":")),
        body(REST, indent=1),
        "[[1], {}, 7" + body(REST)[9:],
    ],
)
def test_what_has_to_be_looked_at_is_none(text):
    assert with_long_rest(text) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=4), VALUES)
def test_what_is_kept_is_read_and_written_again_as_it_was(args, value):
    text = body([{**REST[0], "args": [value]}, *REST[1:]] * 2, args=args)
    found = with_long_rest(text)
    if found is not None:
        rest = json.loads(text)[2]
        assert (found[0], found[1], orjson.loads(found[2])) == (args, {}, rest)
        assert orjson.loads(unpacked(packed(rest))) == rest
