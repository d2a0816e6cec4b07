"""Several processes on one store for a moment (`LITEQ_TEST_CONCURRENT_SECONDS`: for longer), each with a ledger.

Singles with and without delay, chains, nested chords, followers of what may have finished, unique keys, bulk, cancels,
purges, replays, rates, places, retries, workers that stall past their lease, and reapers.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..stores import url_in
from .ledgers import run

SECONDS = float(os.environ.get("LITEQ_TEST_CONCURRENT_SECONDS", "2"))


def test_what_must_not_be_is_not(tmp_path: Path) -> None:
    facts = run(url_in(tmp_path), tmp_path, seconds=SECONDS, seed=1)
    assert facts.troubles() == {}
    happened = facts.happened()
    del happened["replays"]  # by chance: whether the operator meets a dead letter
    assert min(happened.values()) > 0, happened
