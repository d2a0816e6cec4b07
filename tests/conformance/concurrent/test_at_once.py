"""Several processes on one store for a moment, each with a ledger of its own; for longer see tests/faults.

Singles with and without delay, chains, nested chords, followers of what may have finished, unique keys, bulk, cancels,
purges, replays, rates, places, retries, workers that stall past their lease, and reapers.
"""

from __future__ import annotations

from pathlib import Path

from ..stores import url_in
from .ledgers import run

SECONDS = 2.0


def test_what_must_not_be_is_not(tmp_path: Path) -> None:
    facts = run(url_in(tmp_path), tmp_path, seconds=SECONDS, seed=1)
    assert facts.troubles() == {}
    assert min(facts.happened().values()) > 0, facts.happened()
