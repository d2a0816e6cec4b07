"""A drill: workers of Celery's and of liteq's, their children and their senders are killed while they work."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ...faults.sizes import size
from .shop import NEEDS_CELERY, Shop

pytestmark = [*NEEDS_CELERY, pytest.mark.timeout(1800)]

TASKS, KILLS = size("CELERY_TASKS", 200, 20_000), size("CELERY_KILLS", 4, 400)
SENDER = """
import sys
from app_of_shop import app
for n in range(int(sys.argv[2]), int(sys.argv[3])):
    app.send_task("shop.ledger", (sys.argv[1], n), task_id=f"n{n}")
    print(n, flush=True)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, visibility_timeout=2, max_deliveries=50)
    yield shop
    shop.close()


def children_of(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def kill_one(shop: Shop, dice: random.Random) -> None:
    """Kill a worker with all its children, which is started anew, or one child."""
    at = dice.randrange(len(shop.workers))
    worker = shop.workers[at]
    children = children_of(worker.pid)
    if children and dice.random() < 0.5:
        with suppress(ProcessLookupError):
            os.kill(dice.choice(children), signal.SIGKILL)
        return
    shop.kill(worker)
    was_liteq = worker.args[2] == "liteq"  # type: ignore[index]
    fresh = shop.start_liteq() if was_liteq else shop.start()
    shop.workers.remove(worker)
    assert fresh in shop.workers


def test_nothing_that_was_accepted_is_lost_and_all_of_it_ends(shop: Shop) -> None:
    dice = random.Random(7)
    where = shop.folder / "ledger"
    shop.start()
    shop.wait(lambda: " ready." in shop.log())
    shop.start_liteq()
    sender = subprocess.Popen(
        [sys.executable, "-c", SENDER, str(where), "0", str(TASKS)], env=shop.env, cwd=shop.folder,
        stdout=(shop.folder / "sent").open("wb"), start_new_session=True,
    )  # fmt: skip
    for kill in range(KILLS):
        done = TASKS * (kill + 1) // (2 * KILLS + 1)
        shop.wait(lambda: len(set(shop.lines("ledger"))) >= done or sender.poll() is not None, within_s=120)
        kill_one(shop, dice)
        if kill == KILLS // 2 and sender.poll() is None:  # a sender dies, and another goes on behind what was accepted
            shop.kill(sender)
            sent = len(shop.lines("sent"))
            sender = subprocess.Popen(
                [sys.executable, "-c", SENDER, str(where), str(sent), str(TASKS)], env=shop.env, cwd=shop.folder,
                stdout=(shop.folder / "sent-2").open("wb"), start_new_session=True,
            )  # fmt: skip
    assert sender.wait(timeout=300) == 0
    ids = [f"n{n}" for n in range(TASKS)]
    find = shop.liteq.storage.reader.find_many
    shop.wait(lambda: all(one.has_ended for one in find(ids).values()), within_s=300)
    found = find(ids)
    assert len(found) == TASKS
    assert {one.state.value for one in found.values()} == {"succeeded"}
    assert {int(line.split()[0]) for line in shop.lines("ledger")} == set(range(TASKS))
    both = {line.split()[1] for line in shop.lines("ledger")}
    assert both == {"celery", "liteq"}
    # Twice ran at most what was in somebody's hands at a kill, and of that only what had begun.
    assert len(shop.lines("ledger")) - TASKS <= KILLS * 3
