"""Workers on three hosts, with one queue on a server that is replaced: nothing is lost, and no live one robbed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("psycopg")

from .hosts import why_none
from .hosts_drill import FAULTS, FEW, drill_of
from .sizes import NIGHTLY, size

SEEDS = size("HOSTS_SEEDS", 1, 8)
ROUNDS = size("HOSTS_ROUNDS", 1, 3)

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="hosts are made of Linux's namespaces"),
]


@pytest.fixture(autouse=True)
def _hosts_can_be_made() -> None:
    if reason := why_none():
        pytest.skip(reason)


@pytest.mark.parametrize("durability", ["durable", "strict"] if NIGHTLY else ["durable"])
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_three_hosts_and_a_failover_end_clean(tmp_path: Path, seed: int, durability: str) -> None:
    """Children, workers, hosts are killed, frozen, cut off; the server crashes, and its standby takes its place."""
    with drill_of(tmp_path, seed, durability) as drill:
        drill.run(FAULTS if NIGHTLY else FEW, ROUNDS)
        drill.settle()
        assert drill.verdict() == []
        assert drill.accepted() > 20, "hardly anything has happened"
