"""Arguments and results as bytes: what comes back is what went in, or it is refused where it was handed in."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.exceptions import BadMessage, NotSerializable, PayloadTooLarge
from liteq.serialization import decode, encode, register_type
from liteq.serialization.tags import registered


def round_trip(value):
    return decode(encode(value, what="a value"))


def refused(value, **options) -> str:
    with pytest.raises(NotSerializable) as caught:
        encode(value, what="the arguments of app.add", **options)
    return str(caught.value)


# -- what passes -----------------------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"]))
zones = st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30))])
tagged = st.one_of(
    st.datetimes(timezones=zones).map(lambda t: t.replace(fold=0)),
    st.dates(),
    st.times(timezones=zones).map(lambda t: t.replace(fold=0)),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.binary(),
)
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text)
values = st.recursive(
    plain | tagged,
    lambda inner: st.lists(inner) | st.dictionaries(text | st.sampled_from(["__type__", "__value__"]), inner),
    max_leaves=20,
)


@given(values)
def test_a_value_comes_back_as_itself(value):
    back = round_trip(value)
    assert back == value
    assert repr(back) == repr(value)  # True is not 1, 1.0 is not 1


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_float_that_json_has_no_form_for_comes_back_as_itself(number):
    for value in (number, [number], {"a": [None, 1.0, number]}, [number] * 40):
        assert repr(round_trip(value)) == repr(value)


def test_such_a_float_as_a_key_is_written_as_the_json_module_writes_it():
    keys = {math.nan: 1, math.inf: 2, -math.inf: 3}
    assert round_trip(keys) == json.loads(json.dumps(keys))


@given(st.fixed_dictionaries({"__type__": values, "__value__": values}))
def test_a_dict_of_the_callers_that_looks_like_a_tag_comes_back_as_that_dict(value):
    assert round_trip(value) == value
    assert round_trip([[value], {"a": {"b": value}}]) == [[value], {"a": {"b": value}}]


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC), ("datetime", "2024-01-02T03:04:05.000006+00:00")),
        (date(2024, 1, 2), ("date", "2024-01-02")),
        (time(1, 2, 3), ("time", "01:02:03")),
        (Decimal("1.20"), ("decimal", "1.20")),
        (UUID(int=5), ("uuid", {"hex": "00000000000000000000000000000005"})),
        (b"ab", ("bytes", "ab")),
        (b"\xff\xfe", ("base64", "//4=")),
        (-math.inf, ("float", "-inf")),
    ],
)
def test_the_tags_are_kombus(value, shape):
    assert orjson.loads(encode(value, what="it")) == {"__type__": shape[0], "__value__": shape[1]}


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the plain kind is what people pass


class Signature(dict):
    pass


class Color(enum.StrEnum):
    RED = "red"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ((1, (2,)), [1, [2]]),
        (Point(1, UUID(int=1)), [1, UUID(int=1)]),
        (Signature(task="a", args=(1,)), {"task": "a", "args": [1]}),
        (OrderedDict(a=1), {"a": 1}),
        ({2: "a", None: "b", True: "c", 1.5: "d"}, {"2": "a", "null": "b", "true": "c", "1.5": "d"}),
        ([Color.RED, Text("x")], ["red", "x"]),
        (2**64, 2**64),
        (-(2**63) - 1, -(2**63) - 1),
    ],
)
def test_near_relations_of_the_json_types_become_those(value, back):
    assert round_trip(value) == back


def test_an_integer_may_be_longer_than_python_prints():
    assert round_trip([10**5000]) == [10**5000]
    assert "a key of value" in refused({10**5000: 1})


def test_a_type_of_the_apps_own_passes_once_it_is_registered():
    class Money:
        def __init__(self, cents):
            self.cents = cents

    assert "register_type" in refused(Money(5))
    register_type(Money, "money", lambda m: {"cents": m.cents}, lambda d: Money(d["cents"]))
    try:
        assert round_trip([{"price": Money(5)}])[0]["price"].cents == 5
    finally:
        del registered[Money]


def test_a_marker_of_liteqs_own_cannot_be_registered():
    with pytest.raises(ValueError, match="datetime"):
        register_type(Point, "datetime", list, tuple)


# -- what is refused -------------------------------------------------------------------------------------------------


@dataclass
class User:
    name: str


class Level(enum.Enum):
    LOW = 1


@pytest.mark.parametrize(
    ("payload", "path", "advice"),
    [
        ([(1, {"x": {1}}), {}], 'args[1]["x"]', "pass a list"),
        ([(), {"user": User("ada")}], 'kwargs["user"]', "asdict"),
        ([(), {"level": [Level.LOW]}], 'kwargs["level"][0]', ".value"),
        ([(object(),), {}], "args[0]", "object"),
        ([("\ud800",), {}], "args[0]", "surrogate"),
        ([(), {"a": {"\udcff": 1}}], 'a key of kwargs["a"]', "surrogate"),
        ([(bytearray(b"x"),), {}], "args[0]", "pass bytes"),
        ([({(1, 2): 3},), {}], "a key of args[0]", "tuple"),
        ([({1: "a", "1": "b"},), {}], "args[0]", "two keys"),
        ([(timedelta(1),), {}], "args[0]", "timedelta"),
        ([(x for x in ()), {}], "args", "generator"),
    ],
)
def test_what_has_no_form_is_refused_with_the_path_to_it(payload, path, advice):
    message = refused(payload)
    assert message.startswith(f"the arguments of app.add: {path} is ")
    assert advice in message


def test_a_control_character_in_a_key_does_not_reach_the_terminal():
    assert refused([[], {"a\x1b[31m\n": {1}}]).isprintable()


def test_nesting_is_limited_and_a_cycle_is_too_deep():
    def nested(levels):
        value = 1
        for _ in range(levels):
            value = [value]
        return value

    assert round_trip(nested(100)) == nested(100)
    assert "100 levels" in refused(nested(101))
    assert "100 levels" in refused(nested(10_000))
    assert "3 levels" in refused([[[[1]]], {}], max_depth=3)
    cycle = []
    cycle += [cycle, cycle]
    assert "100 levels" in refused(cycle)


def test_a_payload_over_the_limit_is_refused_with_its_size_and_the_setting():
    with pytest.raises(PayloadTooLarge, match=r"the result is 1,002 bytes encoded.*max_result_bytes") as caught:
        encode("x" * 1000, what="the result", limit=1001, setting="max_result_bytes")
    assert (caught.value.size, caught.value.limit) == (1002, 1001)
    assert len(encode("x" * 1000, what="the result", limit=1002)) == 1002


hostile = st.recursive(
    st.one_of(plain, tagged, st.floats(), st.text(), st.just(object()), st.sets(st.integers()), st.just(Level.LOW)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(hostile)
def test_anything_at_all_is_either_refused_or_comes_back(value):
    try:
        data = encode(value, what="it")
    except NotSerializable:
        return
    once = decode(data)
    assert repr(round_trip(once)) == repr(once)  # NaN is not equal to itself


# -- decode ----------------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(
        ["datetime", "date", "time", "decimal", "uuid", "bytes", "base64", "int", "dict", "os.system", 1, None]
    ),
    values,
)
def test_a_tag_that_does_not_parse_never_stops_the_reader(marker, inner):
    read = decode(orjson.dumps([{"__type__": marker, "__value__": orjson.loads(encode(inner, what="it"))}, "next"]))
    assert (len(read), read[1]) == (2, "next")


def test_a_number_that_is_too_large_for_its_tag_stays_a_tag():
    data = {"__type__": "float", "__value__": {"__type__": "int", "__value__": "0x1" + "0" * 300}}
    assert decode(orjson.dumps(data)) == {"__type__": "float", "__value__": 16**300}


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 5000 + b"]" * 5000])
def test_what_is_not_json_is_a_bad_message(data):
    with pytest.raises(BadMessage, match="cannot be read as JSON"):
        decode(data)
