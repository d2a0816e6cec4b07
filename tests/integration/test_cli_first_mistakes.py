"""The mistakes of a first day on the command line, each with a sentence that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOP = """
from liteq import LiteQ

app = LiteQ("shop", broker="sqlite:///shop.db")

@app.task
def add(x: int, y: int) -> int:
    return x + y

print("a line that an import prints")
"""
EMPTY = 'from liteq import LiteQ\napp = LiteQ("shop", broker="sqlite:///shop.db", include={include!r})\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def liteq(project: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "liteq", *words], cwd=project, env={**os.environ, **environ}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip


# -- a worker that could run nothing ---------------------------------------------------------------------------------


def test_a_worker_without_a_task_of_its_own_does_not_start_and_takes_nothing(project):
    assert liteq(project, "-A", "shop", "call", "shop.add", "-a", "[1, 2]").returncode == 0
    (project / "empty.py").write_text(EMPTY.format(include=[]))
    for words in (("-A", "empty"), ("-b", "sqlite:///shop.db")):
        done = liteq(project, *words, "worker", "-P", "solo")
        assert done.returncode == 78
        assert "has no task of its own" in done.stderr
        assert "--without-tasks starts it all the same" in done.stderr
    assert "name the app with -A" in done.stderr
    queues = liteq(project, "-A", "shop", "--json", "inspect", "queues")
    assert '"pending":1' in queues.stdout.replace(" ", ""), queues.stdout


@pytest.mark.parametrize(
    ("words", "environ"), [(("--without-tasks",), {}), ((), {"LITEQ_WORKER_WITHOUT_TASKS": "yes"})]
)
def test_it_starts_where_it_is_told_to(project, words, environ):
    ending = "from liteq.signals import worker_ready\n@worker_ready.connect\ndef stop(sender, **_): sender.stop()\n"
    (project / "empty.py").write_text(EMPTY.format(include=[]) + ending)
    done = liteq(project, "-A", "empty", "worker", "-P", "solo", *words, **environ)
    assert done.returncode == 0, done.stderr


def test_a_worker_that_is_started_from_code_does_not_either(project):
    code = "from liteq import LiteQ; LiteQ('x', broker='sqlite:///x.db').Worker(pool='solo').start()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False, timeout=60
    )
    assert "ImproperlyConfigured: the app 'x' has no task of its own" in done.stderr


# -- a module that ends the program ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("worker", "-P", "solo"), ("beat",), ("call", "shop.add")])
def test_a_module_that_calls_sys_exit_is_an_error_with_its_line(project, command):
    (project / "tasks.py").write_text("import sys\n\nsys.exit(0)\n")
    (project / "app1.py").write_text(EMPTY.format(include=["tasks"]))
    (project / "app2.py").write_text("import tasks\n")
    for app in ("app1", "app2"):
        done = liteq(project, "-A", app, *command)
        assert done.returncode == 78
        assert "ended the program, with sys.exit(0) in line 3 of " in done.stderr
        assert "if __name__ == '__main__'" in done.stderr


# -- the app's name --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("shop.py", "-A takes a module, and shop.py is its file; did you mean -A shop?"),
        ("shop.py:app", "did you mean -A shop:app?"),
        ("pkg/tasks.py", "did you mean -A pkg.tasks?"),
        ("shpo", "there is no module 'shpo' to take the app from (-A shpo); did you mean -A shop?"),
        ("shpo:app", "did you mean -A shop:app?"),
        ("shop:ap", "'ap' in the module 'shop' is nothing, not an app; did you mean -A shop:app?"),
        ("shop.ap", "did you mean -A shop:app?"),
    ],
)
def test_an_app_that_is_not_found_is_told_with_the_nearest(project, said, told):
    (project / "pkg").mkdir()
    (project / "pkg/tasks.py").touch()
    done = liteq(project, "-A", said, "status")
    assert done.returncode == 78
    assert told in done.stderr


def test_an_unknown_command_is_told_with_the_nearest(project):
    assert "nearest: 'worker'" in liteq(project, "-A", "shop", "wroker").stderr


# -- completion ------------------------------------------------------------------------------------------------------


def completions(project: Path, line: str) -> list[str]:
    words = line.split(" ")
    done = liteq(project, _LITEQ_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    return [row.partition(",")[2] for row in done.stdout.splitlines() if row]


def test_the_shell_completes_commands_tasks_queues_and_workers(project):
    assert liteq(project, "-A", "shop", "call", "shop.add", "-a", "[1, 2]", "--queue", "mail").returncode == 0
    assert completions(project, "liteq worke") == ["worker"]
    assert completions(project, "liteq -A shop call sh") == ["shop.add"]
    assert completions(project, "liteq worker -A shop -Q ") == ["celery", "mail"]
    assert completions(project, "liteq -A shop purge -Q celery,m") == ["celery,mail"]
    assert completions(project, "liteq inspect que") == ["query_task", "queues"]
    assert completions(project, "liteq control shut") == ["shutdown"]


def test_a_living_worker_is_completed(project):
    code = (
        "import shop, sys; from liteq.testing import start_worker\n"
        "with start_worker(shop.app, hostname='one@here'): print('up', flush=True); sys.stdin.read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker:
        assert any(line == "up\n" for line in worker.stdout)
        assert completions(project, "liteq -A shop status -d o") == ["one@here"]
        worker.stdin.close()


def test_completion_says_nothing_where_the_app_cannot_be_imported(project):
    (project / "bad.py").write_text("raise ValueError('no')\n")
    assert completions(project, "liteq -A bad call s") == []


# -- nobody there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("status",), ("inspect", "active"), ("control", "shutdown")])
def test_that_nobody_answered_names_the_file(project, command):
    liteq(project, "-A", "shop", "migrate")
    done = liteq(project, "-A", "shop", *command)
    assert done.returncode == 69
    assert f"No nodes replied within time constraint: no worker is alive on {project}/shop.db" in done.stderr
