"""The queue, and what runs in the worker."""

from __future__ import annotations

import csv
import math
import os
import random
import time
from pathlib import Path
from typing import Any

from liteq import LiteQ

__all__ = ["DATA", "MONTHS", "build_report", "queue"]

DATA = Path(os.environ.get("REPORTS_DATA", Path(__file__).resolve().parents[1] / "data")).absolute()
PAUSE_S = float(os.environ.get("REPORTS_PAUSE_S", "0.25"))  # for each month, so that one can see it happen
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SALES_A_MONTH = 10_000

DATA.mkdir(parents=True, exist_ok=True)
queue = LiteQ("reports", broker=f"sqlite:///{DATA}/queue.db", task_time_limit=300)


@queue.task(bind=True)
def build_report(self: Any, year: int) -> dict[str, Any]:
    """Sum up the sales of `year`, month by month, into a CSV file; its name and the sums.

    It may run twice, when its process dies: the file has the task's id as its name and is put there by a rename.
    """
    totals: list[int] = []
    for number, month in enumerate(MONTHS):
        self.update_state(state="PROGRESS", meta={"done": number, "of": len(MONTHS), "month": month, "totals": totals})
        time.sleep(PAUSE_S)
        totals.append(_sales(year, number))
    name = f"{self.request.id}.csv"
    unfinished = DATA / f".{name}.{os.getpid()}"
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("month", "total"), *zip(MONTHS, totals, strict=True)])
    unfinished.replace(DATA / name)
    return {"year": year, "totals": totals, "file": name}


def _sales(year: int, month: int) -> int:
    """Made-up sales; a shop would ask its database."""
    dice = random.Random(f"{year}-{month}")
    busy = dice.uniform(0.6, 1) * (1.4 + math.sin((month - 4) / 12 * 2 * math.pi))
    return sum(dice.randrange(1, 9) for _ in range(int(SALES_A_MONTH * busy)))
