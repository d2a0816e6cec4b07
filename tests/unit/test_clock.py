"""Times at the border: milliseconds in the file, aware datetimes in the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from liteq.clock import SystemClock, from_ms, to_ms


@given(st.integers(0, 4_102_444_800_000))
def test_milliseconds_come_back(ms):
    assert to_ms(from_ms(ms)) == ms


def test_a_naive_time_is_utc():
    assert to_ms(datetime(2024, 1, 1)) == to_ms(datetime(2024, 1, 1, tzinfo=UTC))


def test_the_zone_counts():
    assert to_ms(datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == to_ms(
        datetime(2024, 1, 1, tzinfo=UTC)
    )


def test_the_machines_clocks():
    clock = SystemClock()
    assert abs(clock.now_ms() - to_ms(datetime.now(UTC))) < 60_000
    assert clock.monotonic() <= clock.monotonic()
