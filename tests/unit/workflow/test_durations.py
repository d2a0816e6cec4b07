"""A `Duration`: seconds, a timedelta, or text with a unit."""

from __future__ import annotations

from datetime import timedelta

import pytest

from liteq.utils.durations import seconds, to_span_ms


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("1d", 86_400.0),
        ("1w", 604_800.0),
        ("1.5 h", 5400.0),
        ("2h30m", 9000.0),
        ("1d 12h", 129_600.0),
        ("3min", 180.0),
        ("90", 90.0),
        (3, 3.0),
        (0.25, 0.25),
        (timedelta(minutes=2), 120.0),
    ],
)
def test_a_duration_is_seconds(duration, expected):
    assert seconds(duration) == expected


@pytest.mark.parametrize("wrong", ["", "5 parsecs", "5 m 3", "-1s", "-1", float("nan"), float("inf"), -1])
def test_what_is_no_duration_is_refused_with_examples(wrong):
    with pytest.raises(ValueError, match="the timeout"):
        seconds(wrong, "the timeout")


@pytest.mark.parametrize("wrong", [None, True, b"1s", [1]])
def test_what_can_be_no_duration_is_a_type_error(wrong):
    with pytest.raises(TypeError, match="the timeout is seconds, a timedelta, or text as '5m'"):
        seconds(wrong, "the timeout")


def test_milliseconds_are_rounded_up():
    assert to_span_ms(0.0001) == 1
    assert to_span_ms("2ms") == 2
    assert to_span_ms(0.29) == 290, "noise of binary fractions is no millisecond"
