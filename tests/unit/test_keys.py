"""Keys of calls: templates over the arguments, and functions of them."""

from __future__ import annotations

import enum
import inspect
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from liteq.policy.keys import LATER, KeyNotYet, compile_key


def bill(user_id, order=None, *, region="eu", **more): ...


def ship(order, to="home", /, *parcels): ...


@dataclass
class Order:
    shop: str
    number: int = 1
    _secret: str = "s3cret"


class Nameless: ...


class Colour(enum.Enum):
    RED = "red"


def key(spec, *args, of=bill, **kwargs):
    made = compile_key(spec, inspect.signature(of), what="task 'shop.bill': concurrency_key")
    assert made is not None
    return made(args, kwargs)


def refused(spec, of=bill):
    return compile_key(spec, inspect.signature(of), what="task 'shop.bill': concurrency_key")


def test_no_spec_is_no_key():
    assert compile_key(None, inspect.signature(bill), what="x") is None


@pytest.mark.parametrize(
    ("spec", "args", "kwargs", "made"),
    [
        ("user:{user_id}", (7,), {}, "user:7"),
        ("user:{user_id}", (), {"user_id": "ada"}, "user:ada"),
        ("{region}/{user_id}", (7,), {}, "eu/7"),
        ("{region}/{user_id}", (7,), {"region": "us"}, "us/7"),
        ("{order.shop}", (7, Order("books")), {}, "books"),
        ("{order.shop}", (7, {"shop": "books"}), {}, "books"),
        ("{order.shop.city}", (7, Order({"city": "Turin"})), {}, "Turin"),
        ("{tenant}", (7,), {"tenant": "acme"}, "acme"),
        ("stripe", (7,), {}, "stripe"),
        ("{{{user_id}}}", (7,), {}, "{7}"),
        ("{user_id}", (None,), {}, "None"),
        ("{user_id}", (True,), {}, "True"),
        ("{user_id}", (Decimal("1.50"),), {}, "1.50"),
        ("{user_id}", (date(2026, 11, 28),), {}, "2026-11-28"),
        ("{user_id}", (UUID(int=5),), {}, "00000000-0000-0000-0000-000000000005"),
        ("{user_id}", (Colour.RED,), {}, "red"),
        ("{user_id}", ("{order}",), {}, "{order}"),
        ("{user_id}", ("",), {}, None),
    ],
)
def test_a_template(spec, args, kwargs, made):
    assert key(spec, *args, **kwargs) == made


def test_parameters_by_place_alone():
    assert key("{to}", 1, of=ship) == "home"
    assert key("{to}", 1, "work", 3, 4, of=ship) == "work"


def test_a_function():
    assert key(lambda user_id, **more: f"u{user_id}", 7, region="us") == "u7"
    assert key(lambda user_id: None, 7) is None
    with pytest.raises(TypeError, match="a key is a string, not 7"):
        key(lambda user_id: user_id, 7)


def test_an_unknown_name_is_refused_where_it_is_declared():
    with pytest.raises(ValueError, match=r"no parameter 'ordr'.*did you mean 'order'"):
        refused("{ordr}", of=ship)
    with pytest.raises(ValueError, match="no parameter 'parcels' for one value"):
        refused("{parcels}", of=ship)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("{", "is no template"), ("{}", "is no field"), ("{0}", "is no field"), ("{order[shop]}", "is no field"),
        ("{order._secret}", "is no field"), ("{order.__class__}", "is no field"), ("{user_id:>9}", "has a format"),
        ("{user_id!r}", "has a format"), ("", "is not empty"),
    ],
)  # fmt: skip
def test_what_is_no_template_is_refused(spec, error):
    with pytest.raises(ValueError, match=error):
        refused(spec)


def test_what_is_neither_is_refused():
    with pytest.raises(TypeError, match="is a template such as"):
        refused(42)


@pytest.mark.parametrize("value", [[1], (1,), {"a": 1}, {1}, b"x", Nameless()])
def test_a_value_without_one_text_makes_no_key(value):
    with pytest.raises(TypeError, match=r"makes no key; name what tells it from others: \{user_id.id\}"):
        key("{user_id}", value)


def test_a_way_that_leads_nowhere():
    with pytest.raises(TypeError, match="'shop' is neither a key nor an attribute"):
        key("{order.shop}", 7, 3)


def test_a_key_is_no_longer_than_a_name():
    with pytest.raises(ValueError, match="1 to 255 characters, not 300"):
        key("{user_id}", "x" * 300)


@pytest.mark.parametrize("spec", ["{user_id}", "{user_id.id}", lambda user_id: "never called"])
def test_an_argument_that_is_not_there_yet(spec):
    with pytest.raises(KeyNotYet):
        key(spec, LATER)


def test_an_argument_that_is_missing():
    with pytest.raises(KeyNotYet, match="'user_id' is not there"):
        key("{user_id}")


def test_other_arguments_may_come_later():
    assert key("{region}", LATER) == "eu"


def test_of_an_unknown_task_by_name_alone():
    made = compile_key("user:{user_id}", None, what="x")
    assert made is not None
    assert made((), {"user_id": 7}) == "user:7"
    with pytest.raises(KeyNotYet):
        made((7,), {})
