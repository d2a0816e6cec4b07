"""`http.request` and `wait.http`: servers that send elsewhere, that are slow, and that say no http."""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from liteq_flow.running.times import POLL_S, longer_pause

from .running import Flows, statuses

pytestmark = pytest.mark.timeout(240)  # processes that are started on a loaded machine

Heard = list[tuple[str, dict[str, str], str]]


class Server(socketserver.ThreadingTCPServer):
    """A server of http by hand. `heard`: the first line, the headers and the body of each request."""

    daemon_threads = True

    def __init__(self, host: str, answer: Callable[[str, Any], None]) -> None:
        self.heard: Heard = []
        heard = self.heard

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                first = self.rfile.readline().decode().strip()
                headers = {}
                while line := self.rfile.readline().decode().strip():
                    name, _, value = line.partition(": ")
                    headers[name.lower()] = value
                heard.append((first, headers, self.rfile.read(int(headers.get("content-length", 0))).decode()))
                answer(first, self.wfile.write)

        super().__init__((host, 0), Handler)
        self.url = f"http://{host}:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def serve(answer: Callable[[str, Any], None], host: str = "127.0.0.1") -> Server:
        made.append(Server(host, answer))
        return made[-1]

    yield serve
    for one in made:
        one.shutdown()
        one.server_close()


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    found = Flows(tmp_path_factory.mktemp("asking"))
    found.worker(concurrency=4)
    yield found
    found.stop()
    found.app.close()


def fine(_first: str, write: Any) -> None:
    write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")


def dribble(_first: str, write: Any) -> None:
    """Say something every 100 ms, and never the end."""
    write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    with contextlib.suppress(OSError):  # nobody listens any more
        for _ in range(1_000):
            write(b"x")
            time.sleep(0.1)


@pytest.mark.parametrize("is_other", [True, False])
def test_what_is_for_one_host_is_not_sent_to_another(
    asking: Flows, serving: Callable[..., Server], tmp_path: Any, is_other: bool
) -> None:
    (tmp_path / "key").write_text("s3cr3t-key")
    there = serving(fine)

    def away(first: str, write: Any) -> None:
        if " /there " in first:
            return fine(first, write)
        to = f"{there.url}/there" if is_other else "/there"
        return write(f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())

    here = serving(away)
    document = asking.run(
        f"""
        secrets: [{{name: KEY, provider: file, key: {tmp_path / "key"}}}]
        steps:
          - id: ask
            action: http.request
            with:
              method: GET
              url: {here.url}/
              headers: {{Authorization: Bearer x, Cookie: "a=b", X-Key: "${{env.KEY}}", X-Plain: seen}}
            output: SAID
        """,
        f"away_{is_other}",
    )
    assert document["outputs"] == {"SAID": "fine"}, document
    told = (there if is_other else here).heard[-1][1]
    private = {name: told.get(name) for name in ("authorization", "cookie", "x-key")}
    kept = {"authorization": "Bearer x", "cookie": "a=b", "x-key": "s3cr3t-key"}
    assert private == (dict.fromkeys(kept) if is_other else kept)
    assert told["x-plain"] == "seen"
    assert here.heard[0][1]["authorization"] == "Bearer x"


@pytest.mark.parametrize("code", [307, 308])
def test_a_request_that_is_sent_on_keeps_its_method_and_body(
    asking: Flows, serving: Callable[..., Server], code: int
) -> None:
    """The answer 307 was the end of it, and a success."""

    def on(first: str, write: Any) -> None:
        if " /on " in first:
            return fine(first, write)
        return write(f"HTTP/1.1 {code} Elsewhere\r\nLocation: /on\r\nContent-Length: 0\r\n\r\n".encode())

    here = serving(on)
    document = asking.run(
        f"""
        steps:
          - {{id: ask, action: http.request, with: {{method: POST, url: "{here.url}/", body: {{a: 1}}}}, output: SAID}}
        """,
        f"on_{code}",
    )
    assert document["outputs"] == {"SAID": "fine"}, document
    assert [(first, body) for first, _, body in here.heard] == [
        ("POST / HTTP/1.1", '{"a": 1}'), ("POST /on HTTP/1.1", '{"a": 1}'),
    ]  # fmt: skip
    assert here.heard[1][1]["content-type"] == "application/json"


def test_a_request_ends_at_its_timeout_and_that_of_its_step(asking: Flows, serving: Callable[..., Server]) -> None:
    """A server that sends a little now and then kept it for ever; a timeout of its own hid the step's."""
    here = serving(dribble)
    document = asking.run(
        f"""
        steps:
          - id: own
            action: http.request
            with: {{method: GET, url: "{here.url}", timeout: 300ms}}
            continue_on: failed
          - id: step
            action: http.request
            with: {{method: GET, url: "{here.url}", timeout: 1h}}
            timeout: 400ms
            continue_on: failed
        """,
        "slow",
    )
    errors = {one["id"]: one.get("error", "") for one in document["steps"]}
    assert errors == {"own": "it took longer than 0.3 s", "step": "it took longer than 0.4 s"}


def test_a_request_ends_with_its_run(asking: Flows, serving: Callable[..., Server]) -> None:
    here = serving(lambda _first, _write: time.sleep(60))
    run_id = asking.start(
        asking.write(f'steps: [{{id: ask, action: http.request, with: {{method: GET, url: "{here.url}"}}}}]', "ended")
    )
    asking.until(lambda: here.heard)
    begun = time.monotonic()
    asking.app.Run(run_id).cancel()
    asking.until(lambda: "its run was cancelled" in asking.said())
    assert time.monotonic() - begun < 30
    assert asking.report(run_id)["status"] == "aborted"


def test_what_is_no_http_is_no_answer_yet(asking: Flows, serving: Callable[..., Server]) -> None:
    """The wait had failed."""
    answers = [lambda _first, write: write(b"nonsense\r\n\r\n"), fine]

    def first_nonsense(first: str, write: Any) -> None:
        (answers.pop(0) if len(answers) > 1 else answers[0])(first, write)

    here = serving(first_nonsense)
    document = asking.run(
        f'steps: [{{id: come, action: wait.http, with: {{url: "{here.url}", poll_interval: 50ms}}}}]', "nonsense"
    )
    assert statuses(document) == {"come": "succeeded"}
    assert len(here.heard) == 2


def test_a_wait_for_a_status_does_not_wait_for_the_body(asking: Flows, serving: Callable[..., Server]) -> None:
    """A body that took longer than a look may was no answer, and the wait had no end."""
    here = serving(dribble)
    document = asking.run(
        f"""
        steps:
          - {{id: come, action: wait.http, with: {{url: "{here.url}", request_timeout: 2s}}, timeout: 60s}}
        """,
        "endless",
    )
    assert statuses(document) == {"come": "succeeded"}


def looks_in(span_s: float, timeout_s: float | None = None) -> list[float]:
    """The pauses of a wait without a poll_interval, over a span."""
    pauses: list[float] = []
    while sum(pauses) + POLL_S <= span_s:
        pauses.append(longer_pause(sum(pauses), timeout_s))
    return pauses


def test_a_wait_of_a_day_leaves_its_history_short() -> None:
    """Each look is in it, and a look a second made 86,400 of them."""
    assert looks_in(60) == [1.0] * 60
    assert len(looks_in(86_400)) < 6_500
    assert max(looks_in(86_400)) == 15
    assert 2_999 <= sum(looks_in(3_000, timeout_s=3_000)) <= 3_000, "the last look is at its end"
