"""Arguments that no queue should accept: refused at the call, with their size or their place, and nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from liteq import LiteQ
from liteq.exceptions import BadMessage, NotSerializable, PayloadTooLarge
from liteq.serialization import decode

from .sizes import size

EXAMPLES = size("HOSTILE_PAYLOADS", 100, 5_000)
MIB = 1024 * 1024

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("hostile", broker=f"sqlite:///{tmp_path}/queue.db")
    app.conf.durability = "relaxed"

    @app.task(name="take")
    def take(*args: Any, **kwargs: Any) -> None: ...

    yield app
    app.storage.close()


def rows(app: LiteQ) -> int:
    return sum(count.n for count in app.storage.reader.counts())


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class Unknown:
    pass


POISON: dict[str, Any] = {
    "lone surrogate": "\ud800",
    "surrogate as a key": {"\udfff": 1},
    "an object": Unknown(),
    "a generator": (n for n in ()),
    "a function": print,
}


def test_64_mib_are_refused_with_their_size(app: LiteQ) -> None:
    with pytest.raises(
        PayloadTooLarge, match=r"67,\d{3},\d{3} bytes encoded, the limit is 1,048,576.*max_payload_bytes"
    ):
        app.tasks["take"].delay("x" * 64 * MIB)
    assert rows(app) == 0


@pytest.mark.parametrize("depth", [200, 10_000, 100_000])
def test_a_tower_of_lists_is_refused_and_overflows_no_stack(app: LiteQ, depth: int) -> None:
    with pytest.raises(BadMessage, match=r"nest|deep|depth"):
        app.tasks["take"].delay(nested(depth))
    assert rows(app) == 0


def test_a_value_that_contains_itself_is_refused(app: LiteQ) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(BadMessage):
        app.tasks["take"].delay(loop)
    assert rows(app) == 0


steps = st.one_of(st.integers(0, 3), st.sampled_from(["a", "b c", "\u20ac"]))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.lists(steps, max_size=8), poison=st.sampled_from(sorted(POISON)))
def test_the_message_says_where_the_value_is(app: LiteQ, path: list[int | str], poison: str) -> None:
    value = POISON[poison]
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [*[0] * step, value]
    with pytest.raises(NotSerializable) as refused:
        app.tasks["take"].delay(1, value)
    assert "args[1]" in str(refused.value)
    for step in path:
        assert f"[{step!r}]" in str(refused.value) or f'["{step}"]' in str(refused.value), str(refused.value)
    assert rows(app) == 0


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.datetimes().map(lambda moment: moment.replace(fold=0))
    | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=anything)
@example(value=float("nan"))
@example(value=[{"a": float("-inf")}])
@example(value=2**70)
@example(value=Decimal("sNaN"))
def test_anything_is_either_refused_or_comes_back(app: LiteQ, value: Any) -> None:
    before = rows(app)
    try:
        result = app.tasks["take"].delay(value)
    except BadMessage:
        assert rows(app) == before
        return
    record = app.storage.reader.find(result.id)
    assert record is not None
    (got,), _ = decode(record.payload)
    assert repr(got) == repr(value)
    app.storage.purge()
