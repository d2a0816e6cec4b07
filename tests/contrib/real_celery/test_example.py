"""The example that keeps Celery: its worker is killed, and every order has its parcel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .shop import NEEDS_CELERY

pytestmark = NEEDS_CELERY
RUN = Path(__file__).resolve().parents[3] / "contrib" / "examples" / "celery_shop" / "run.py"


def test_every_order_has_its_parcel_though_the_worker_is_killed(tmp_path: Path) -> None:
    env = {**os.environ, "CELERY_SHOP_DATA": str(tmp_path / "data")}
    done = subprocess.run([sys.executable, str(RUN)], env=env, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    parcels = [line for line in lines if line.startswith("order ")]
    assert [int(line.split()[1].rstrip(":")) for line in parcels] == list(range(40))
    assert any("is killed" in line for line in lines)
