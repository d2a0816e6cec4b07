"""Everything at once, on one file, while all of it is killed and stopped; then an oracle looks at the file at rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .everything import ENOUGH, run_one
from .sizes import size

SECONDS = size("EVERYTHING_SECONDS", 6, 3_600)

pytestmark = [
    pytest.mark.timeout(900 + 2 * SECONDS),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children by Linux's /proc"),
]


def test_everything_at_once_ends_clean(tmp_path: Path) -> None:
    """The mix, runs with approvals and memo, gateway, relay and all else that is installed, killed at random."""
    troubles, counted = run_one(tmp_path, 1, SECONDS)
    assert troubles == []
    assert min(counted.values()) >= ENOUGH, f"hardly anything has happened: {counted}"
