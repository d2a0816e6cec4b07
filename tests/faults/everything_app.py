"""The app of everything at once: that of the long mix, with runs that ask a person, share answers and have children."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from mix_app import app, note, work
from overlaps import begun

from liteq.workflow import ctx

__all__ = ["app", "order", "placed"]

FOLDER = Path(os.environ["MIX_FOLDER"])
PLACES = 2
QUESTIONS = 20


@app.task(bind=True, max_concurrency=PLACES, concurrency_key="place:{k}")
def placed(self: Any, n: int, k: int) -> int:
    """A little work under a limit that nobody changes meanwhile."""
    with begun(FOLDER, f"place:{k}", self.request.id):
        time.sleep(0.01)
    note("placed", self.request.id)
    return n


@app.step
def double(n: int) -> int:
    note("double", ctx.run_id)
    return 2 * n


@app.step(memo=True)
def expensive(question: str) -> str:
    note("paid", question)
    return question.upper()


@app.workflow
def order(n: int) -> list[Any]:
    """A step, a pause, an answer that runs share, a person's decision, and children where it is yes."""
    doubled = double(n)
    ctx.sleep(0.1)
    answer = expensive(f"why-{n % QUESTIONS}")
    if not ctx.approval("May it go?", details=n).ok:
        return [doubled, answer, "no"]
    return [doubled, answer, "yes", *ctx.gather([ctx.spawn(work.si(i)) for i in range(3)])]
