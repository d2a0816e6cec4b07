"""The example with the OpenAI Agents SDK, as people start it: killed inside each tool, and asked for a payment."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
EXAMPLE = ROOT / "contrib" / "examples" / "openai_agent"


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The fake model; the environment names it."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.delitem(sys.modules, "model", raising=False)
    server = importlib.import_module("model").serve(0, tmp_path / "bill")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def worker(tmp_path):
    """`worker("helper")`: a worker of that app, killed at the end."""
    running = []

    def start(app):
        path = os.pathsep.join([str(EXAMPLE), str(HERE), str(ROOT), str(ROOT / "contrib"), *sys.path])
        with (tmp_path / "log").open("ab") as log:
            command = [sys.executable, "-m", "liteq", "-A", app, "worker", "-c", "1", "-l", "INFO"]
            environment = {**os.environ, "PYTHONPATH": path}
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))

    yield start
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_helper_is_killed_in_each_tool_and_pays_once_for_each_answer(
    tmp_path, monkeypatch, model, worker, eventually
):
    monkeypatch.setenv("HELPER_DATA", str(tmp_path))
    monkeypatch.setenv("HELPER_DIED", str(tmp_path / "died"))
    (tmp_path / "died").mkdir()
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    helper = importlib.import_module("helper")
    try:
        run = helper.help_with.start("My order has not come.")
        worker("killed_helper")
        eventually(run.approvals, within_s=60)
        (asked,) = run.approvals()
        assert asked.title == 'pay_back: {"order": "A1", "amount": 30} (call-0-1)'
        assert not (tmp_path / "payments").exists()
        run.approve(asked.title, by="ann")
        assert run.result(timeout=60) == "Done: 30 paid back."
    finally:
        helper.app.close()
        sys.modules.pop("helper", None)
    assert sorted(one.name for one in (tmp_path / "died").iterdir()) == ["look_up", "pay_back"]
    assert (tmp_path / "bill").read_text().count("\n") == 3, "an answer that was kept is not asked for again"
    assert (tmp_path / "payments").read_text() == "A1 30\n" * 2, "killed before it was recorded: repeated once"


def test_the_example_is_started_by_one_command(tmp_path):
    environment = {**os.environ, "HELPER_DATA": str(tmp_path)}
    environment.pop("OPENAI_API_KEY", None)
    command = [sys.executable, str(EXAMPLE / "run.py"), "--ask", "My order has not come.", "--yes"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "Done: 30 paid back." in done.stdout, done.stderr
