"""A drill: workers of Celery's and of liteq's, their children and their senders are killed while they work."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...faults.sizes import NIGHTLY, size
from .kill_drill import Drill
from .shop import NEEDS_CELERY, Shop

pytestmark = [pytest.mark.timeout(1800), *NEEDS_CELERY]  # the first of two counts

SECONDS, SEEDS = size("CELERY_DRILL_SECONDS", 3, 60), size("CELERY_DRILL_SEEDS", 1, 5)
LEAST_KILLS = 4


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
@pytest.mark.parametrize("crew", ["celery and liteq", "early", *(["two of celery"] if NIGHTLY else [])])
def test_nothing_that_was_accepted_is_lost_and_each_loss_that_may_be_is_told(
    tmp_path: Path, crew: str, seed: int
) -> None:
    shop = Shop(tmp_path, visibility_timeout=5, max_deliveries=1_000)
    drill = Drill(shop, seed, early=crew == "early", liteq=crew == "celery and liteq")
    try:
        drill.run(SECONDS, LEAST_KILLS)
        troubles = drill.troubles()
        assert not troubles, f"{drill.kills}: {troubles}"
        print(f"\n{crew}, seed {seed}: {drill.happened()}")
    finally:
        shop.close()
