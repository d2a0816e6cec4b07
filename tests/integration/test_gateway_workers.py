"""The example workers in Node and in shell: real processes at a real gateway."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ, chain
from liteq.edge.http import Problem
from liteq.edge.lending import Lender
from liteq.exceptions import RemoteError, StorageBusy
from liteq.message import Ack

from .edge import Running, key_file, running

WORKERS = Path(__file__).resolve().parents[2] / "contrib" / "examples" / "workers"
COMMANDS = {
    "node": pytest.param(
        ["node", str(WORKERS / "worker.mjs")],
        marks=pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    ),
    "shell": pytest.param(
        ["sh", str(WORKERS / "worker.sh")],
        marks=pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="no curl, or no jq"),
    ),
}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", set_as_current=False)
    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def served(app: LiteQ, tmp_path: Path) -> Iterator[Running]:
    with running(app, keys=key_file(tmp_path, T={"name": "worker", "rights": ["work"]})) as found:
        yield found


@contextmanager
def at_work(served: Running, command: list[str]) -> Iterator[None]:
    env = {**os.environ, "GATEWAY": f"http://127.0.0.1:{served.port}", "TOKEN": "T"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline().startswith("ready")
            yield
        finally:
            worker.send_signal(signal.SIGTERM)
    assert worker.returncode in {0, -signal.SIGTERM}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_worker_in_another_language_serves_a_chain_and_tells_of_a_failure(
    app: LiteQ, served: Running, command: list[str]
) -> None:
    with at_work(served, command):
        add = app.signature("shop.add")
        assert chain(add.clone((1, 2)), add.clone((10,)), app=app).delay().get(timeout=60) == 13
        with pytest.raises(RemoteError):
            app.send_task("shop.unknown").get(timeout=60)


@pytest.mark.parametrize("command", [COMMANDS["node"]], ids=["node"])
def test_a_task_that_is_done_is_no_failure_because_the_gateway_was_busy(
    app: LiteQ, served: Running, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, busy = app.storage.settle, [StorageBusy(1.0)]

    def busy_once(settled: Any, **more: Any) -> Any:
        if busy and isinstance(settled[0][1], Ack):
            raise busy.pop()
        return settle(settled, **more)

    monkeypatch.setattr(app.storage, "settle", busy_once)
    with at_work(served, command):
        assert app.send_task("shop.add", (1, 2)).get(timeout=60) == 3
    assert not busy


@pytest.mark.parametrize("command", [COMMANDS["node"]], ids=["node"])
@pytest.mark.parametrize("status", [400, 413])
def test_a_result_that_the_gateway_refuses_is_a_failure(
    app: LiteQ, served: Running, command: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be refused after each further execution, too."""

    def refuse(*_: Any) -> Any:
        raise Problem(status, "half a character")

    monkeypatch.setattr(Lender, "acknowledged", refuse)
    with at_work(served, command), pytest.raises(RemoteError, match="half a character"):
        app.send_task("shop.add", (1, 2)).get(timeout=60)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_task_that_throws_nothing_has_failed(app: LiteQ, served: Running, tmp_path: Path) -> None:
    """As a promise that is rejected without a reason; its lease would be extended for ever."""
    worker = tmp_path / "worker.mjs"
    text = (WORKERS / "worker.mjs").read_text()
    worker.write_text(text.replace('throw new TypeError("out of stock")', "throw undefined"))
    with at_work(served, ["node", str(worker)]), pytest.raises(Exception, match="undefined"):
        app.send_task("shop.fail").get(timeout=60)
