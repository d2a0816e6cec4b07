"""Money, amounts in a time, and the words of budgets: exact, or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq import LiteQ
from liteq.clock import FakeClock
from liteq.policy.limited import is_own_fault
from liteq.policy.money import MOST, as_text, from_units, to_units
from liteq.policy.rates import amount_in
from liteq.storage.limits.ledger import Tokens


@given(st.decimals(min_value=0, max_value=10**8, places=10))
def test_money_is_stored_exactly(money):
    assert from_units(to_units(money)) == money
    assert Decimal(as_text(from_units(to_units(money)))) == money


def test_money_is_shown_without_an_exponent():
    assert [as_text(from_units(to_units(Decimal(text)))) for text in ("0", "100", "1E+2", "0.0200", "1e-7")] == [
        "0", "100", "100", "0.02", "0.0000001",
    ]  # fmt: skip


def test_more_money_than_sums_can_hold_is_refused():
    with pytest.raises(ValueError, match="100,000,000 at most"):
        to_units(MOST + 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("200k/m", (200_000, 60)),
        ("1.5M/h", (1_500_000, 3_600)),
        ("10_000 / s", (10_000, 1)),
        ("5,000/d", (5_000, 86_400)),
    ],
)
def test_an_amount_in_a_time(text, found):
    assert amount_in(text) == found


@pytest.mark.parametrize("text", ["", "200k", "200k/", "k/m", "0/m", "-1/m", "nan/m", "inf/m", "1/y", "1e400/m"])
def test_no_amount_in_a_time(text):
    with pytest.raises(ValueError, match="200k/m"):
        amount_in(text)


def test_a_bucket_of_tokens_may_be_emptier_than_empty():
    bucket = Tokens(most=600, per_s=10.0, full_at=0.0)
    assert bucket.wait_s(600, 1_000.0) == 0
    bucket.take(700, 1_000.0)
    assert bucket.wait_s(1, 1_000.0) == pytest.approx(10.1)
    assert bucket.wait_s(9_999, 1_000.0) == pytest.approx(70), "so many never come: full is enough"
    bucket.take(-100, 1_000.0)
    assert bucket.wait_s(1, 1_000.0) == pytest.approx(0.1)
    bucket.take(10**9, 1_000.0)
    assert bucket.wait_s(1, 1_000.0) <= 600, "a figure that is wrong does not shut a key for ever"


class Answer(Exception):
    def __init__(self, **attributes):
        super().__init__("no")
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("exc", "own"),
    [
        (Answer(status_code=400), True), (Answer(status=404), True), (Answer(response=Answer(status_code=422)), True),
        (Answer(status_code=408), False), (Answer(status_code=429), False), (Answer(status_code=500), False),
        (Answer(code="x"), False), (Answer(status=True), False), (ConnectionError(), False),
    ],
)  # fmt: skip
def test_an_answer_that_blames_the_request(exc, own):
    assert is_own_fault(exc) is own


@pytest.fixture
def app(tmp_path):
    with LiteQ("t", set_as_current=False, broker=f"sqlite:///{tmp_path}/q.db", clock=FakeClock()) as app:
        yield app


def test_the_budget_of_a_tag(app):
    app.budgets.set("team:a", cost="100/d", tokens="5M", requests=10, soft=None)
    assert [(one.what, one.most, one.period_s, one.spent, one.reserved) for one in app.budgets.get("team:a")] == [
        ("cost", 100, 86_400, 0, 0), ("requests", 10, None, 0, 0), ("tokens", 5_000_000, None, 0, 0),
    ]  # fmt: skip
    app.budgets.set("team:a", cost="7/d")
    assert [(one.what, one.most) for one in app.budgets.list()] == [("cost", 7)]
    assert app.budgets.get("team:b") == []
    assert app.budgets.delete("team:a")
    assert not app.budgets.delete("team:a")


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"cost": 0.5}, {"cost": "-1"}, {"cost": "much/d"}, {"cost": "1/y"}, {"tokens": "1.5"}, {"requests": True},
        {"cost": "1", "soft": 2}, {"cost": "1", "on_exceed": "stop"},
    ],
)  # fmt: skip
def test_what_is_no_budget_is_refused(app, wrong):
    with pytest.raises((ValueError, TypeError)):
        app.budgets.set("team:a", **wrong)
    assert app.budgets.list() == []
