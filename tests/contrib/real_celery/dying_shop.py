"""Tasks whose process dies as they are settled, once: before, in, at the end of, or after that transaction."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from app_of_shop import app, note, released
from celery.worker.request import Request

from liteq_kombu.files import files

__all__ = ["app"]


on_accepted = Request.on_accepted


def accepted(self: Request, *args: Any, **options: Any) -> None:
    on_accepted(self, *args, **options)
    note(f"accepted {self.id}", "accepted")


# A pool gives a task to another process where one dies of which it has not heard yet that it has the task.
Request.on_accepted = accepted


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it lives")


class Dying:
    """A transaction that dies behind its first write."""

    def __init__(self, tx: Any) -> None:
        self._tx = tx

    def execute(self, *args: Any) -> Any:
        return self._tx.execute(*args)

    def executemany(self, *args: Any) -> Any:
        self._tx.executemany(*args)
        die()


def die_once(where: str, step: str) -> None:
    """Note that a task runs; the first time, have this process die at `step` of the next settlement."""
    note(where, "ran")
    if len(Path(where).read_text(encoding="utf-8").splitlines()) > 1:
        return
    released(f"accepted {app.current_worker_task.request.id}")
    (file,) = files.values()
    storage, driver = file.storage, file.storage.driver
    settle, write, change = storage.settle, driver.write, driver.change

    @contextmanager
    def dying_write(*args: Any) -> Iterator[Any]:
        with write(*args) as tx:
            yield Dying(tx) if step == "within" else tx
            if step != "after":
                die()

    def dying_change(*args: Any, **options: Any) -> Any:  # one statement, without a transaction
        return change(*args, **options) if step == "after" else die()

    def dying_settle(*args: Any, **options: Any) -> None:
        if step == "before":
            die()
        driver.write, driver.change = dying_write, dying_change
        settle(*args, **options)
        die()

    storage.settle = dying_settle


def ends(self: Any, *taken: Any, where: str, step: str, fails: bool = False) -> Any:
    die_once(where, step)
    if fails:
        raise KeyError("no such crate")
    return list(taken)


app.task(name="shop.dying", bind=True)(ends)
app.task(name="shop.dying_late", bind=True, acks_late=True, reject_on_worker_lost=True)(ends)


@app.task(name="shop.dying_errback")
def dying_errback(task_id, *, where, step):  # by keyword: Celery counts the others
    die_once(where, step)


@app.task(name="shop.dying_told")
def dying_told(request, exc, traceback, where, step):
    die_once(where, step)


@app.task(name="shop.told_of")
def told_of(task_id, *, where):
    note(where, task_id)


@app.task(name="shop.ran", acks_late=True)
def ran(*_taken, where):
    note(where, "ran")
