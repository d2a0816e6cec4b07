"""The app of the drills of limits, uniqueness, batches, cursors and large sends.

Each execution is in overlaps.py's ledger.

Workers import it by its name, and so do the processes that send; a test has it by `app_of` of limits_crew.py.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import tripwire
from overlaps import begun, note

from liteq import LiteQ, Unique
from liteq.exceptions import RateLimited
from liteq.workflow import ctx

FOLDER = Path(os.environ["DRILL_FOLDER"])
PLACES = 2  # of `serve`, for each user
PIECE_S = 0.02  # that one of `pieces` takes

app = LiteQ("limits", broker=os.environ["DRILL_BROKER"])
app.conf.durability = "relaxed"  # no power is cut here, and the disk of a busy machine is slow


@app.task(bind=True, max_concurrency=PLACES, concurrency_key="user:{user}")
def serve(self: Any, n: int, user: str, seconds: float = 0.05) -> int:
    """A little work for a user, who has two places."""
    with begun(FOLDER, f"user:{user}", self.request.id):
        time.sleep(seconds)
    return n


@app.task(bind=True)
def plain(self: Any, n: int, key: str = "plain", seconds: float = 0.0) -> int:
    """Work under no limit of its own."""
    with begun(FOLDER, key, self.request.id):
        time.sleep(seconds)
    return n


@app.task(bind=True, max_concurrency=1, concurrency_key="holder:{who}")
def hold(self: Any, who: str) -> int:
    """Keep the only place of a key until there is a file `go`; which process did."""
    with begun(FOLDER, f"holder:{who}", self.request.id):
        while not (FOLDER / "go").exists():
            time.sleep(0.005)
    return os.getpid()


@app.task(bind=True, limits=("api",))
def call(self: Any, n: int, refuse: float = 0.0) -> int:
    """A call of somebody's API, which may refuse it, and then tells when to come again."""
    refused = FOLDER / f"refused-{self.request.id}"
    with begun(FOLDER, "api", self.request.id):
        if refuse and not refused.exists():
            refused.touch()
            note(FOLDER, "refused", "api", self.request.id)
            raise RateLimited(retry_after=refuse)
    return n


@app.task(bind=True, fair_key="{tenant}")
def fair(self: Any, n: int, tenant: str) -> int:
    """Work for a tenant, who takes turns with the others."""
    with begun(FOLDER, f"tenant:{tenant}", self.request.id):
        time.sleep(0.01)  # so that thousands are ahead for a while
    return n


@app.task(bind=True, unique=Unique())
def refresh(self: Any, page: str) -> str:
    """Only one message of a page is there at a time."""
    with begun(FOLDER, f"page:{page}", self.request.id):
        time.sleep(0.02)
    return page


@app.step(limits=("api",))
def ask(n: int) -> int:
    """A step that calls somebody's API."""
    with begun(FOLDER, "api", str(n)):
        time.sleep(0.05)
    return n


@app.workflow(max_concurrency=PLACES, concurrency_key="user:{user}")
def serve_long(user: str, turns: int) -> int:
    """A run with a place while it executes, and none while it sleeps."""
    total = 0
    for n in range(turns):
        with begun(FOLDER, f"run:{user}", ctx.run_id):
            total += ask(n)
        ctx.sleep(0.2)
    return total


@app.task(bind=True)
def pieces(self: Any, total: int) -> int:
    """Work that can be interrupted: each piece is noted, with the lease under which it was done."""
    for n in range(self.cursor or 0, total):
        note(FOLDER, "piece", self.request.id, f"{n}.{self.request.token}")
        self.save_cursor(n + 1)
        time.sleep(PIECE_S)
    return total


@app.task(bind=True, batch=10, batch_wait=0.1)
def store(self: Any, items: list[Any]) -> None:
    """A bulk insert: each member has its own result."""
    for item in items:
        note(FOLDER, f"member-{len(items)}", "store", item.id)
    for item in items:
        item.ok(*item.args)
    time.sleep(0.01)


tripwire.install()
