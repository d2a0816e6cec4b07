"""A verb without a lock that it relies on fails a test of the interleaved suite, on an engine with several writers."""

from __future__ import annotations

import pytest

from .hints import HINTS, TURNS, verdict

SMOKE = ("claiming.claim.NEXT",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SMOKE else pytest.mark.nightly) for name in (*HINTS, *TURNS)]
)
def test_a_lock_that_is_not_taken_is_missed(name: str, postgresql_server: str) -> None:
    pytest.importorskip("psycopg")
    assert verdict(name, postgresql_server) == "noticed"
