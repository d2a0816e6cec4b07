"""The commands of both sides on one file: whoever asks, all workers answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import gethostname

import pytest

from .shop import NEEDS_CELERY, Shop

pytestmark = NEEDS_CELERY


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.close()


def test_inspect_and_control_reach_both_kinds_of_worker_whoever_asks(shop: Shop) -> None:
    theirs, mine = shop.start(), shop.start_liteq()
    control = shop.liteq.control
    # One of Celery's is on the list before it listens: what is asked too early is asked again.
    answered = shop.wait(lambda: len(found := control.inspect(timeout=5).ping() or {}) == 2 and found)
    celery = f"w0@{gethostname()}"
    (liteq,) = answered.keys() - {celery}
    for command in (
        ("liteq", "-b", f"sqlite:///{shop.path}", "inspect", "ping", "-t", "60"),
        ("celery", "-A", "app_of_shop", "inspect", "ping", "-t", "3"),
    ):
        said = shop.wait(lambda: (said := shop.command(*command)).count("pong") == 2 and said)
        assert (celery in said, liteq in said) == (True, True), said
    one = shop.app.control.inspect(destination=[liteq], timeout=60)
    assert one.ping() == {liteq: {"ok": "pong"}}
    assert "shop.ledger" in one.registered()[liteq]
    assert len(shop.liteq.storage.reader.workers()) == 2  # who asks is none
    both = control.inspect(timeout=60).registered()
    assert "shop.boom" in both[celery]
    assert "shop.boom" not in both[liteq]
    assert shop.app.control.rate_limit("shop.ledger", "5/s", destination=[liteq], reply=True, timeout=60) == [
        {liteq: {"ok": "new rate limit set successfully"}}
    ]
    assert control.rate_limit("shop.add", "5/s", reply=True, timeout=60)
    shop.app.control.shutdown(destination=[liteq])
    assert mine.wait(timeout=60) == 0
    assert theirs.poll() is None
    control.shutdown()
    assert theirs.wait(timeout=60) == 0


def test_purge_empties_the_queue(shop: Shop) -> None:
    sent = [shop.send("add", n, n) for n in range(3)] + [shop.send("add", 1, 1, countdown=600)]
    assert "Purged 4 messages" in shop.command("celery", "-A", "app_of_shop", "purge", "-f")
    assert [shop.record(one.id) for one in sent] == [None] * 4


def test_beat_sends(shop: Shop) -> None:
    beat = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "app_of_shop", "beat", "-s", str(shop.folder / "beat")],
        env={**shop.env, "SHOP_BEAT": "0.2"}, cwd=shop.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        shop.wait(lambda: shop.path.exists() and shop.liteq.storage.reader.waiting(["celery"], limit=9) >= 2)
    finally:
        beat.terminate()
        beat.wait(timeout=60)


def test_events_are_dumped(shop: Shop) -> None:
    shop.start("-E")
    with (shop.folder / "worker-1.log").open("wb") as out:
        dump = subprocess.Popen(
            [sys.executable, "-u", "-m", "celery", "-A", "app_of_shop", "events", "--dump"],
            env={**shop.env, "PYTHONUNBUFFERED": "1"}, cwd=shop.folder, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    shop.workers.append(dump)

    def told() -> bool:
        shop.send("add", 1, 1).get(timeout=60)
        return "task succeeded" in shop.log(1)

    shop.wait(told)
