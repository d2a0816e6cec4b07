"""The commands of both sides on one file: whoever asks, all workers answer."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from socket import gethostname, socket
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

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

        def named(command: tuple[str, ...] = command) -> set[str]:
            return set(re.split(r"[\s:]+", shop.command(*command, may_fail=True)))

        # One of Celery's ends its wait by the clock alone: a slow worker may be too late for it.
        shop.wait(lambda named=named: {celery, liteq} <= named())
    one = shop.app.control.inspect(destination=[liteq], timeout=120)
    assert one.ping() == {liteq: {"ok": "pong"}}
    assert "shop.ledger" in one.registered()[liteq]
    assert len(shop.liteq.storage.reader.workers()) == 2  # who asks is none
    assert control.inspect(destination=[celery], timeout=120).ping() == {celery: {"ok": "pong"}}
    for asked, other, command in (
        (celery, liteq, ("liteq", "-b", f"sqlite:///{shop.path}", "inspect", "ping", "-t", "60", "-d", celery)),
        (liteq, celery, ("celery", "-A", "app_of_shop", "inspect", "ping", "-d", liteq, "-t", "120")),
    ):
        said = shop.command(*command)
        assert (said.count("pong"), asked in said, other in said) == (1, True, False), said
    both = control.inspect(timeout=120).registered()
    assert "shop.boom" in both[celery]
    assert "shop.boom" not in both[liteq]
    assert shop.app.control.rate_limit("shop.ledger", "5/s", destination=[liteq], reply=True, timeout=120) == [
        {liteq: {"ok": "new rate limit set successfully"}}
    ]
    assert control.rate_limit("shop.add", "5/s", reply=True, timeout=120)
    shop.app.control.shutdown(destination=[liteq])
    assert mine.wait(timeout=120) == 0
    assert theirs.poll() is None
    control.shutdown()
    assert theirs.wait(timeout=120) == 0


def test_what_was_revoked_before_it_was_sent_is_so_after_a_restart(shop: Shop) -> None:
    first = shop.start(children=1)
    shop.wait(lambda: " ready." in shop.log())
    shop.app.control.revoke("early-bird")
    first.terminate()
    first.wait(timeout=120)
    shop.start(children=1)
    result = shop.send("add", 1, 1, task_id="early-bird")
    assert shop.wait(lambda: result.ready() and result.state) == "REVOKED"
    assert "early-bird" in shop.command(
        "celery", "-A", "app_of_shop", "inspect", "revoked", "-d", f"w1@{gethostname()}", "-t", "120"
    )


def test_workers_of_celery_s_mingle_and_hear_of_each_other(shop: Shop) -> None:
    """Of one of liteq's they do not: gossip waits for answers that it does not give."""
    shop.start_liteq()
    shop.wait(lambda: len(shop.liteq.storage.reader.workers()) == 1)
    shop.start("-l", "DEBUG", alone=False)
    shop.wait(lambda: " ready." in shop.log(1))
    second = shop.start(alone=False)
    shop.wait(lambda: "mingle: sync complete" in shop.log(2) and " ready." in shop.log(2))
    other = f"w2@{gethostname()}"
    shop.wait(lambda: f"{other} joined the party" in shop.log(1))
    second.terminate()
    second.wait(timeout=120)
    shop.wait(lambda: f"{other} left" in shop.log(1))
    assert "liteq@" not in "".join(line for line in shop.log(1).splitlines() if "the party" in line)
    logs = [shop.log(n) for n in (1, 2)]
    assert [line for log in logs for line in log.splitlines() if "ERROR" in line or "Traceback" in line] == []
    with closing(sqlite3.connect(shop.path)) as connection:  # a heartbeat is in no table
        assert connection.execute("SELECT count(*) FROM liteq_events").fetchone() == (0,)


def test_celery_s_report_and_bindings_are_shown(shop: Shop) -> None:
    shop.send("add", 1, 1)
    assert shop.url in shop.command("celery", "-A", "app_of_shop", "report")
    assert shop.command("celery", "-A", "app_of_shop", "list", "bindings").split()[-3:] == ["celery"] * 3
    assert "queue:celery messages:1" in shop.command("celery", "-A", "app_of_shop", "amqp", "queue.declare", "celery")


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
        beat.wait(timeout=120)


def work_of_both(shop: Shop) -> tuple[str, str]:
    """Start a worker of each kind, with queues of their own, and have them send events; their names."""
    shop.start(children=1, alone=False)
    shop.start_liteq("-Q", "mine", "-n", "mine@%h")
    shop.wait(lambda: len(shop.liteq.control.ping(timeout=2)) == 2)
    assert shop.command("liteq", "-b", f"sqlite:///{shop.path}", "control", "enable_events").count("enabled") == 2
    return f"w0@{gethostname()}", f"mine@{gethostname()}"


def send_to_both(shop: Shop) -> None:
    theirs = shop.send("add", 1, 1)
    mine = shop.send("counted", str(shop.folder / "counted"), 1, queue="mine")
    assert (theirs.get(timeout=120), mine.get(timeout=120)) == (2, 1)


def test_events_of_both_kinds_of_worker_reach_the_tools_of_both_sides(shop: Shop) -> None:
    theirs, mine = work_of_both(shop)
    dumps = [
        shop.listen("celery", "-A", "app_of_shop", "events", "--dump"),
        shop.listen("liteq", "-b", f"sqlite:///{shop.path}", "events", "--dump"),
    ]

    def told(dump: Callable[[], str]) -> bool:
        lines = dump().splitlines()
        return all(
            any(line.startswith(name) and what in line for line in lines)
            for name, what in ((theirs, "heartbeat"), (theirs, "task succeeded: shop.add"), (mine, "heartbeat"),
                               (mine, "task succeeded: shop.counted"))
        )  # fmt: skip

    shop.wait(lambda: all("heartbeat" in dump() for dump in dumps))  # they listen
    shop.wait(lambda: send_to_both(shop) or all(map(told, dumps)))
    shop.wait(lambda: all(one.facts["task_events"] for one in shop.liteq.storage.reader.workers()))


def test_a_camera_of_liteq_s_sees_celery_s_tasks(shop: Shop) -> None:
    theirs, _ = work_of_both(shop)
    state = shop.liteq.events.State()
    receiver = shop.liteq.events.Receiver(handlers={"*": state.event})

    def seen() -> bool:
        send_to_both(shop)
        receiver.capture(limit=1, timeout=120)
        return any(task.state == "SUCCESS" and task.worker.hostname == theirs for task in state.tasks.values())

    shop.wait(seen)
    assert {task.name for task in state.tasks.values()} >= {"shop.add"}


def test_flower_shows_both_kinds_of_worker_and_their_tasks(shop: Shop) -> None:
    pytest.importorskip("flower")
    theirs, mine = work_of_both(shop)
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shop.env["FLOWER_UNAUTHENTICATED_API"] = "true"
    said = shop.listen("celery", "-A", "app_of_shop", "flower", "--address=127.0.0.1", f"--port={port}")

    def ask(path: str) -> Any:
        try:
            with urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=60) as answer:
                return json.load(answer)
        except URLError:
            return None

    shop.wait(lambda: "Connected to" in said())  # it listens for events
    workers = shop.wait(lambda: (found := ask("workers?refresh=true")) and found.keys() >= {theirs, mine} and found)
    assert "shop.add" in workers[theirs]["registered"]
    assert workers[mine]["registered"] == ["shop.counted", "shop.ledger", "shop.moved"]

    def shown() -> set[tuple[str, str, str]]:
        return {(one["name"], one["state"], one["worker"]) for one in (ask("tasks") or {}).values()}

    wanted = {("shop.add", "SUCCESS", theirs), ("shop.counted", "SUCCESS", mine)}
    shop.wait(lambda: send_to_both(shop) or shown() >= wanted)
    assert ask("workers?status=true") == {theirs: True, mine: True}
