"""`liteq demo`, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.cli.demo.demo import _term_as_ctrl_c


def demo(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "liteq", "demo", *args],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of which some are odd."""
    home = tmp_path / "texts"
    (home / "sub").mkdir(parents=True)
    (home / "a.txt").write_text("to be\nor not to be\n")
    (home / "empty").write_bytes(b"")
    (home / "sub" / "bytes.bin").write_bytes(bytes(range(256)) * 5_000)
    (home / "name with \x1b[31m and é").write_text("one")
    (home / "link").symlink_to(home / "a.txt")
    return home


def test_it_does_its_work_and_says_so(folder):
    done = demo(str(folder), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert figures["ok"]
    assert [step["name"] for step in figures["steps"]] == ["chord", "retry", "chain", "dead letter", "requeue", "file"]
    assert (figures["files"], figures["tasks"], figures["integrity"]) == (4, 11, "ok")
    assert (figures["retries"], figures["dead_letters"], figures["requeued"]) == (1, 1, 1)
    assert not Path(figures["path"]).parent.exists()


def test_on_its_own_sources_in_words_and_under_20_seconds():
    done = demo("--durability", "relaxed")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "integrity ok" in done.stdout
    assert "WRONG" not in done.stdout


def test_the_file_is_kept_when_asked_for(folder, tmp_path):
    done = demo(str(folder), "--keep", "--json", TMPDIR=str(tmp_path))
    path = Path(json.loads(done.stdout)["path"])
    assert path.parent.parent == tmp_path
    assert path.exists()


def test_settings_around_it_are_not_its_own(folder, tmp_path):
    Path("liteq.ini").write_text("[liteq]\ntask_default_queue = elsewhere\n")
    assert demo(str(folder), "--json").returncode == 0


def test_a_wrong_answer_is_an_error(folder, monkeypatch, capsys):
    """The check bites: with a direct computation that miscounts, the demo says so and fails."""
    from liteq.cli import main
    from liteq.cli.demo import demo_app

    real = demo_app.count
    monkeypatch.setattr(demo_app, "count", lambda path: [*real(path)[:3], 0])
    with pytest.raises(SystemExit) as ended:
        main(["demo", str(folder), "--json"], prog_name="liteq")
    assert ended.value.code == 1
    figures = json.loads(capsys.readouterr().out)
    assert [step["name"] for step in figures["steps"] if not step["ok"]] == ["chord"]


def test_nothing_to_read_is_said(tmp_path):
    done = demo(str(tmp_path))
    assert done.returncode == 2
    assert "there is no file to read" in done.stderr


def test_term_ends_its_worker_too(tmp_path, eventually):
    command, environ = [sys.executable, "-m", "liteq", "demo", "--keep"], {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    try:
        eventually(lambda: list(tmp_path.glob("liteq-demo-*/demo.db")))
        (path,) = tmp_path.glob("liteq-demo-*/demo.db")
        with LiteQ("looks", broker=f"sqlite:///{path}", set_as_current=False) as looks:
            eventually(looks.storage.reader.workers)
            process.terminate()
            assert process.wait(timeout=120) == 130
            assert looks.storage.reader.workers() == []
    finally:
        process.kill()


# -- with the dashboard ------------------------------------------------------------------------------------------------


def test_the_dashboard_shows_the_work_which_goes_on_until_it_is_interrupted(folder, tmp_path, eventually):
    pytest.importorskip("jinja2")
    pytest.importorskip("uvicorn")
    process = subprocess.Popen(
        [sys.executable, "-m", "liteq", "demo", str(folder), "--dashboard"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        where, _, link = process.stdout.readline().strip().partition(": ")
        assert where == "dashboard"
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        base = link.partition("/enter/")[0]
        assert opener.open(link, timeout=60).status == 200

        def states() -> dict[str, int]:
            overview = json.load(opener.open(f"{base}/api/v1/overview", timeout=60))
            return {state: count["n"] for state, count in overview["states"].items()}

        eventually(lambda: states()["succeeded"] > 30)  # more than the story's own tasks
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert "WRONG" not in out
    assert out.endswith("the demo has ended\n")
    assert [path for path in tmp_path.iterdir() if path.name.startswith("liteq-demo")] == []


def test_term_ends_it_as_ctrl_c_does():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), _term_as_ctrl_c():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_dashboard_is_for_people():
    done = demo("--dashboard", "--json")
    assert done.returncode == 2
    assert "leave out --json" in done.stderr
