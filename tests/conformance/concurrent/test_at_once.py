"""Several processes on one store for a moment (`LITEQ_TEST_CONCURRENT_SECONDS`: for longer), each with a ledger.

Singles with and without delay, chains, nested chords, followers of what may have finished, unique keys, bulk, cancels,
purges, replays, rates, places, retries, workers that stall past their lease, and reapers; groups whose members come one
by one, tasks that run at most once, ends that bring something with them, and messages that pass.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ...faults.sizes import size
from ..stores import ENGINES, Store, store_of
from .ledgers import run

# Whether the operator meets a dead letter, a worker stalls: so little time does not say.
BY_CHANCE = {"replays", "leases reaped", "messages purged", "claims of what somebody had before"}
BY_CHANCE |= {"messages heard as they passed"}  # whether the follower listens in time
LONG_S = 10
SECONDS = size("CONCURRENT_SECONDS", 2, 60)


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return store_of(request, tmp_path)


def test_what_must_not_be_is_not(store: Store, tmp_path: Path) -> None:
    facts = run(store.url, tmp_path, seconds=SECONDS, seed=1)
    assert facts.troubles() == {}
    happened = facts.happened()
    by_chance = set() if SECONDS >= LONG_S else BY_CHANCE
    assert min(n for what, n in happened.items() if what not in by_chance) > 0, happened
