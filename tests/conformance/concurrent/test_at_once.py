"""Several processes on one store for a moment (`LITEQ_TEST_CONCURRENT_SECONDS`: for longer), each with a ledger.

Singles with and without delay, chains, nested chords, followers of what may have finished, unique keys, bulk, cancels,
purges, replays, rates, places, retries, workers that stall past their lease, and reapers.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..stores import ENGINES, Store, store_of
from .ledgers import run

SECONDS = float(os.environ.get("LITEQ_TEST_CONCURRENT_SECONDS", "2"))


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return store_of(request, tmp_path)


def test_what_must_not_be_is_not(store: Store, tmp_path: Path) -> None:
    facts = run(store.url, tmp_path, seconds=SECONDS, seed=1)
    assert facts.troubles() == {}
    happened = facts.happened()
    del happened["replays"]  # by chance: whether the operator meets a dead letter
    assert min(happened.values()) > 0, happened
