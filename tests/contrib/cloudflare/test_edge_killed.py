"""An edge whose network refuses and loses, while it and its gateway are killed: each accepted call once."""

from __future__ import annotations

import http.client
import random
import threading
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import wait_for
from tests.faults.lossy import LossyProxy
from tests.faults.sizes import size
from tests.faults.test_relay import Service, ids, queue_at
from tests.servers import free_ports

from .edges import KINDS, Edge

pytestmark = pytest.mark.timeout(1800)

SECONDS = size("EDGE", 4, 120)
LOSES = REFUSES = 0.15
BAD_EACH = 10  # bodies have one with a call that no gateway takes


class Sender(threading.Thread):
    """Sends a body after the other, each until it is accepted; some ids are its own, and the edge makes the others."""

    def __init__(self, edge: Edge) -> None:
        super().__init__()
        self.good: list[str] = []
        self.bad: list[str] = []
        self._edge = edge
        self._ended = threading.Event()

    def run(self) -> None:
        n = 0
        while not self._ended.wait(0.02):  # the pace of a program, not a wait for anything
            calls: list[dict[str, Any]] = [{"task": "drill.note", "args": [n, i]} for i in range(5)]
            calls[0]["id"] = f"own {n}"
            if n % BAD_EACH == 0:
                calls[3] = {"task": "drill.note", "id": f"bad {n}", "argz": [n]}
            told = self._accepted(calls, f"body {n}")
            self.bad += [id_ for id_ in told if id_.startswith("bad ")]
            self.good += [id_ for id_ in told if not id_.startswith("bad ")]
            n += 1

    def _accepted(self, calls: list[dict[str, Any]], key: str) -> list[str]:
        while True:
            try:
                reply = self._edge.send(*calls, Idempotency_Key=key)
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)  # it was killed: a program tries again
                continue
            if reply.status == 202:
                return [call["id"] for call in reply.json["tasks"]]
            assert reply.status >= 500, reply
            time.sleep(0.1)

    def end(self) -> None:
        self._ended.set()
        self.join(60)


@pytest.mark.parametrize("kind", KINDS)
def test_each_accepted_call_arrives_once_whatever_befalls_the_way(installed: Path, kind: str, tmp_path: Path) -> None:
    rng, port = random.Random(SECONDS), free_ports(1)[0]
    home = queue_at(tmp_path / "home.db")
    proxy = LossyProxy(port, loses=LOSES, refuses=REFUSES, seed=SECONDS)
    gateway = Service(tmp_path, "gateway", "-b", str(home.broker_url), "gateway", "--port", str(port))
    edge = Edge(installed, kind, f"http://127.0.0.1:{proxy.port}", STATE=str(tmp_path / "state"))
    sender = Sender(edge)
    sender.start()
    try:
        wait_for(lambda: ids(home), within_s=60)
        until = time.monotonic() + SECONDS
        for victim in cycle((edge, gateway)):
            time.sleep(rng.uniform(0.5, 1.5))
            victim.kill()
            victim.start()
            if time.monotonic() > until:
                break
        sender.end()
        wait_for(lambda: edge.look()["waiting"] == 0, within_s=300)
        assert sorted(ids(home)) == sorted(sender.good)
        assert refused(edge, sender.bad) == set(sender.bad)
    finally:
        sender.end()
        edge.end()
        gateway.end()
        proxy.close()
        home.close()
    assert min(proxy.lost, proxy.refused, len(sender.bad)) > 0, "the drill has spared a fault"


def refused(edge: Edge, among: list[str]) -> set[str]:
    """Those of the ids that were refused, each with its reason; the list shows a hundred alone."""
    return {id_ for id_ in among if edge("GET", f"/v1/refused/{id_.replace(' ', '%20')}").status == 200}
