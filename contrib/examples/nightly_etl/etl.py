"""A nightly import: list the items of a day, load each in the pool, at most so many at once, and write the report.

Killed at any point, it goes on with the items that are not loaded yet.
"""

from __future__ import annotations

import os
from pathlib import Path

from liteq import LiteQ
from liteq.schedules import crontab
from liteq.workflow import ctx

DATA = Path(os.environ.get("ETL_DATA", Path(__file__).resolve().parent / "data")).absolute()
DATA.mkdir(parents=True, exist_ok=True)

app = LiteQ("etl", broker=f"sqlite:///{DATA}/etl.db")
app.conf.beat_schedule = {"nightly": {"task": "etl.nightly", "schedule": crontab(hour=3, minute=0), "args": (10_000,)}}


@app.step
def list_items(day: str, n: int) -> list[int]:
    """The items of `day`: here `n` numbers, in life the rows of another system."""
    (DATA / "listed").write_text(day)
    return list(range(n))


@app.step(retries=3, backoff=(0.1, 5.0))
def load(item: int) -> int:
    """Load one item: here into a line of a file. A kill in it repeats it; one that is stored is not repeated."""
    with (DATA / "loaded").open("a") as ledger:
        ledger.write(f"{item}\n")
    return item * item


@app.step
def write_report(day: str, total: int, failed: int) -> str:
    """The report, under a name of its own: written again it is the same file."""
    path = DATA / f"report-{day}.txt"
    path.write_text(f"{day}: total {total}, failed {failed}\n")
    return str(path)


@app.workflow(timeout="6h")
def nightly(n: int, limit: int = 50) -> str:
    """Load the items of today; the path of the report."""
    day = ctx.now().date().isoformat()
    items = list_items(day, n)
    ctx.set("items", len(items))
    loaded = ctx.map(load, items, limit=limit, on_error="collect")
    good = [value for value in loaded if isinstance(value, int)]
    return write_report(day, sum(good), len(loaded) - len(good))
