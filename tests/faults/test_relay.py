"""A relay whose network loses answers, breaks and is gone, while it and its gateway are killed: each message once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.states import State

from ..servers import free_ports
from .harness import wait_for
from .lossy import LossyProxy
from .sizes import size

pytestmark = [pytest.mark.timeout(900), pytest.mark.skipif(sys.platform == "win32", reason="kills process groups")]

SECONDS = size("RELAY", 6, 120)
AWAY_S = size("RELAY_AWAY", 2, 10)
LOSES = 0.3


class Service:
    """One process that is killed and started again, by the same command line."""

    def __init__(self, folder: Path, name: str, *args: str) -> None:
        self._command = [sys.executable, "-m", "liteq", *args]
        self._log = folder / f"{name}.log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()


def queue_at(path: Path) -> LiteQ:
    app = LiteQ("drill", broker=f"sqlite:///{path}", set_as_current=False)
    app.storage.migrate()
    return app


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[LiteQ]:
    app = queue_at(tmp_path / "edge.db")
    yield app
    app.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[LiteQ]:
    app = queue_at(tmp_path / "home.db")
    yield app
    app.close()


def ids(app: LiteQ) -> list[str]:
    with app.storage.driver.read() as tx:
        return [id_ for (id_,) in tx.execute("SELECT id FROM liteq_messages ORDER BY seq")]


def test_each_accepted_message_arrives_once_whatever_befalls_the_way(edge: LiteQ, home: LiteQ, tmp_path: Path) -> None:
    rng, port = random.Random(SECONDS), free_ports(1)[0]
    proxy = LossyProxy(port, loses=LOSES, seed=SECONDS)
    gateway = Service(tmp_path, "gateway", "-b", str(home.broker_url), "gateway", "--port", str(port))
    relay = Service(tmp_path, "relay", "-b", str(edge.broker_url), "relay", "--to", f"http://127.0.0.1:{proxy.port}")
    sent, until = list[str](), time.monotonic() + SECONDS

    def send() -> None:
        while time.monotonic() < until:
            sent.extend(edge.send_task("drill.note", (n,)).id for n in range(10))
            time.sleep(0.02)  # the pace of a program, not a wait for anything

    sending = threading.Thread(target=send)
    sending.start()
    try:
        wait_for(lambda: ids(home), within_s=60)
        away_at = time.monotonic() + SECONDS / 3
        while time.monotonic() < until:
            victim = rng.choice((gateway, relay))
            time.sleep(rng.uniform(0.5, 1.5))
            victim.kill()
            victim.start()
            if away_at and time.monotonic() > away_at:
                away_at = 0.0
                proxy.cut()
                time.sleep(AWAY_S)
                proxy.mend()
        sending.join(60)
        wait_for(lambda: set(ids(home)) >= set(sent), within_s=300)
        wait_for(lambda: {count.state for count in edge.storage.reader.counts()} == {State.SUCCEEDED}, within_s=120)
    finally:
        sending.join(60)
        relay.end()
        gateway.end()
        proxy.close()
    assert sorted(ids(home)) == sorted(sent)
    assert proxy.lost > 0, "the drill has lost no answer"
