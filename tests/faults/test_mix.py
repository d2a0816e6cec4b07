"""The long mix: everything at once, at random from a seed, and nothing hangs, is lost, or runs on the wrong input."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .mix import run_one
from .sizes import size

SECONDS = size("MIX_SECONDS", 12, 60)
SEEDS = size("MIX_SEEDS", 1, 20)

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children by Linux's /proc"),
]


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_the_mix_ends_clean(tmp_path: Path, seed: int) -> None:
    """Three pools, producers, beat; kills, pauses, clocks, revokes, forgets, replays, limits, backups."""
    troubles, counted = run_one(tmp_path, seed, SECONDS)
    assert troubles == []
    assert min(counted.values()) > 10, "hardly anything has happened"
