"""Values of workflows come back by their annotation, and what cannot come back is refused with its path."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from pydantic import BaseModel

from liteq.exceptions import NotSerializable, PayloadTooLarge
from liteq.workflow.history.codec import Codec, Form, hash_of


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Line:
    sku: str
    price: Decimal


@dataclass
class Order:
    id: int
    lines: list[Line] = field(default_factory=list)
    colour: Colour = Colour.RED
    at: datetime | None = None


class Receipt(BaseModel):
    order: Order
    ref: UUID


ORDER = Order(7, [Line("a", Decimal("1.10"))], Colour.BLUE, datetime(2026, 1, 2, tzinfo=UTC))
RECEIPT = Receipt(order=ORDER, ref=UUID(int=5))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Order, ORDER),
        (Receipt, RECEIPT),
        (Colour, Colour.RED),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (dict[str, Order], {"a": ORDER}),
        (list[Order | None], [ORDER, None]),
        (Order | None, None),
        (datetime, datetime(2026, 1, 2, 3, tzinfo=UTC)),
        (Decimal, Decimal("1.10")),
        (None, {"at": datetime(2026, 1, 2), "n": Decimal(1), "b": b"\xff"}),
        (dict, {"a": [1, None, 2.5]}),
        (int, 2**80),
        (None, None),
        (int, 0),
        (str, ""),
        (list, []),
        (bool, False),
    ],
)
def test_a_value_comes_back_as_it_was(annotation, value):
    form = Form(annotation, "the result of step 'x'")
    data, now = form.kept(value, None)
    assert now == value
    assert type(now) is type(value)
    assert form.decode(data) == value
    assert form.load(form.dump(value)) == value


def test_a_value_that_the_annotation_does_not_bring_back_is_refused_with_its_path():
    form = Form(dict[str, Order], "the result of step 'x'")
    with pytest.raises(NotSerializable, match=r"the result of step 'x': value\['a'\]\.lines\[0\]\.sku"):
        form.kept({"a": Order(1, [Line(object(), Decimal(1))])}, None)
    with pytest.raises(NotSerializable, match=r"value\['a'\] does not fit its annotation dict\[str, .*Order\]"):
        form.kept({"a": 3}, None)


def test_a_subclass_that_would_come_back_as_its_base_is_refused():
    @dataclass
    class Special(Order):
        extra: int = 1

    with pytest.raises(NotSerializable, match=r"is a .*Special, and comes back as a Order"):
        Form(Order, "the result of step 'x'").kept(Special(1), None)


def test_a_dataclass_without_an_annotation_is_refused_and_told_how():
    with pytest.raises(NotSerializable, match="annotate it"):
        Form(None, "the result of step 'x'").kept(ORDER, None)


@pytest.mark.parametrize("annotation", [str, tuple[str]])
def test_a_result_over_the_limit_names_its_size_and_the_setting(annotation):
    value = "x" * 100 if annotation is str else ("x" * 100,)
    with pytest.raises(PayloadTooLarge, match=r"10\d bytes encoded, the limit is 50: .*max_step_bytes"):
        Form(annotation, "the result of step 'x'").kept(value, 50)


def test_arguments_are_written_and_read_by_their_parameters():
    def f(order: Order, *rest: Colour, key: str, **more: Receipt) -> None: ...

    codec = Codec(f, "step 'f'")
    args, kwargs = codec.dump([ORDER, Colour.RED], {"key": "k", "r": RECEIPT})
    assert args[1] == "red"
    assert args[0]["lines"] == [{"sku": "a", "price": "1.10"}]
    assert codec.load(args, kwargs) == ([ORDER, Colour.RED], {"key": "k", "r": RECEIPT})


def test_the_hash_tells_arguments_apart_and_knows_equal_ones():
    assert hash_of((), {}) is None
    assert hash_of((1,), {}) != hash_of((2,), {})
    assert hash_of((1,), {}) != hash_of((), {"a": 1})
    assert hash_of((ORDER, RECEIPT, Colour.RED), {}) == hash_of((ORDER, RECEIPT, Colour.RED), {})
    assert hash_of(({"b", "a", "c"},), {}) == hash_of(({"c", "b", "a"},), {}), "a set has no order"
    assert hash_of((Order(1),), {}) != hash_of((Order(2),), {})


def test_an_argument_of_which_nothing_is_known_is_refused_with_its_path():
    with pytest.raises(NotSerializable, match=r'args\[0\]\["a"\]\[1\] is of type object'):
        hash_of(({"a": [1, object()]},), {}, "step 'x'")
