"""Twelve processes of four workers ask one provider: its limits, ours, and a budget hold over all of them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ..faults.sizes import size
from .worker_process import Site, wait_for

WORKERS = 4
AT_ONCE = 3  # processes of each
ALLOWED = 5  # requests before a refusal
AFTER_S = 2
RUNS = size("PROVIDER_RUNS", 16, 30)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="starts workers in process groups"),
]


class Provider(ThreadingHTTPServer):
    """Refuses the model "strict" once, behind five requests, for a time; holds "slow" until three are inside.

    It notes all requests. Later ones are taken however fast they come: processes that stood still come together.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked: list[tuple[str, float, float, int]] = []  # model, when it was begun, when it came, status
        self.inside = self.most = 0  # of "slow"
        self.three = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def of(self, model: str, status: int | None = None) -> list[tuple[str, float, float, int]]:
        with self.lock:
            return [one for one in self.asked if one[0] == model and status in (None, one[3])]

    def answer(self, model: str, begun: float) -> int:
        with self.lock:
            now = time.time()
            before = [one for one in self.asked if one[0] == model]
            refused = [one[2] for one in before if one[3] == 429]
            over = now > refused[0] + AFTER_S if refused else len(before) < ALLOWED
            status = 429 if model == "strict" and not over else 200
            self.asked.append((model, begun, now, status))
        if model == "slow":
            self.hold()
        return status

    def hold(self) -> None:
        """Until three have been here at once, and a moment longer: a fourth would come meanwhile."""
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.inside >= 3:
                self.three.set()
        self.three.wait(60)
        time.sleep(0.1)
        with self.lock:
            self.inside -= 1


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        status = self.server.answer(self.path[1:], float(self.headers["Begun"]))
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", str(AFTER_S))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider
        provider.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("spending")
    site = Site(folder, "spending_tasks")
    site.app.storage.migrate()
    logs = [site.log(n) for n in range(WORKERS)]
    for _ in logs:
        site.start("-c", str(AT_ONCE), PROVIDER=provider.url)
    for log in logs:
        wait_for(lambda log=log: "ready." in log.read_text(), within_s=60, what="all workers are ready")
    yield site
    site.close()


def results(site: Site, ids: list[str]) -> list[object]:
    return [site.get(id_, timeout=120) for id_ in ids]


def start(site: Site, name: str, n: int, model: str) -> list[str]:
    return [str(site.app.send_task(name, args=(i, model)).id) for i in range(n)]


def was_paused(site: Site, key: str) -> bool:
    with site.app.storage.driver.read() as tx:
        return bool(tx.execute("SELECT 1 FROM liteq_keys WHERE key = ? AND paused_ms IS NOT NULL", (key,)))


def test_behind_a_refusal_no_process_asks_before_its_time(site: Site, provider: Provider) -> None:
    ids = start(site, "one", RUNS, "strict")
    wait_for(lambda: was_paused(site, "model:strict"), within_s=60, what="the key is paused")
    paused = time.time()
    assert sorted(results(site, ids)) == list(range(RUNS))  # type: ignore[type-var]
    refused = provider.of("strict", 429)
    first = refused[0][2]
    # One that had its place already may begin its request late, on a busy machine; but it asks once.
    assert len([one for one in provider.of("strict") if paused <= one[1] < first + AFTER_S]) < WORKERS * AT_ONCE
    assert len(refused) <= WORKERS * AT_ONCE, "what was in flight is all that was refused"
    assert len(provider.of("strict", 200)) == RUNS, "each was taken once"
    for id_ in ids:
        assert [step.attempts for step in site.app.Run(id_).steps()] == [1]


def test_three_at_once_are_three_over_all_processes(site: Site, provider: Provider) -> None:
    site.app.limits.set("model:slow", concurrent=3)
    ids = start(site, "one", 15, "slow")
    assert sorted(results(site, ids)) == list(range(15))  # type: ignore[type-var]
    assert provider.most == 3


def test_a_budget_of_ten_is_not_overshot_by_one_request(site: Site, provider: Provider) -> None:
    (id_,) = [str(site.app.send_task("crowd", args=(30,)).id)]
    assert site.get(id_, timeout=120) == 10
    assert len(provider.of("free", 200)) == 10
    usage = site.app.Run(id_).usage()
    assert (usage.requests, usage.cost, usage.unknown) == (10, 10, 0)
