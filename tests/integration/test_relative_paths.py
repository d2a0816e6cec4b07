"""A relative broker path, from another folder: the same queue, or an error with the line to write.

A caller that waits is told which file it waits for.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from liteq import LiteQ, chain
from liteq.app.urls import home_of_caller, placed
from liteq.exceptions import ImproperlyConfigured, TimeoutError
from liteq.states import State
from liteq.storage import describe_url
from liteq.testing import start_worker

WORDS = """
from liteq import LiteQ, chain
app = LiteQ("words", broker="sqlite:///words.db")

@app.task
def count(text):
    return len(text.split())
"""
SEND = "import words; print(words.count.delay('a b c').id)"
FILE = "import words; print(words.app.storage.driver.where())"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "proj").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "proj/words.py").write_text(WORDS)
    return tmp_path / "proj"


def run(code: str, project: Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project), *sys.path]), **environ}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_web_process_from_another_folder_uses_the_worker_s_queue(project):
    there = run(FILE, project, project).stdout.strip()
    assert run(FILE, project, project.parent / "elsewhere").stdout.strip() == there == str(project / "words.db")
    assert not (project.parent / "elsewhere/words.db").exists()


def test_the_first_process_may_not_make_the_queue_in_another_folder(project):
    done = run(SEND, project, project.parent / "elsewhere")
    assert done.returncode == 1
    assert f"Write broker='sqlite:////{str(project)[1:]}/words.db', or start in {project}" in done.stderr
    assert not (project.parent / "elsewhere/words.db").exists()


def test_a_file_that_is_in_the_working_directory_stays_the_queue(project):
    elsewhere = project.parent / "elsewhere"
    for folder in (project, elsewhere):
        LiteQ("x", broker=f"sqlite:///{folder}/words.db", set_as_current=False).storage.migrate()
    done = run(FILE, project, elsewhere)
    assert done.stdout.strip() == str(elsewhere / "words.db")
    assert f"there is another, {project / 'words.db'}" in done.stderr


def test_the_operator_s_word_begins_in_the_working_directory(project):
    elsewhere = project.parent / "elsewhere"
    done = run(FILE, project, elsewhere, LITEQ_BROKER_URL="sqlite:///mine.db")
    assert done.stdout.strip() == str(elsewhere / "mine.db")


def test_a_package_s_file_is_in_the_folder_that_it_is_imported_from(project):
    package = project / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text(WORDS)
    code = FILE.replace("words", "shop.words", 1).replace("(words.", "(shop.words.")
    assert run(code, project, project).stdout.strip() == str(project / "words.db")
    assert run(code, project, package).stdout.strip() == str(project / "words.db")


def test_the_project_s_top_is_one_of_its_folders(project):
    (project.parent / "pyproject.toml").touch()
    assert run(FILE, project, project.parent).stdout.strip() == str(project.parent / "words.db")
    assert run(FILE, project, project).stdout.strip() == str(project.parent / "words.db")


def test_a_program_that_was_typed_in_has_no_folder_of_its_own(tmp_path):
    code = "from liteq import LiteQ; print(LiteQ('x', broker='sqlite:///x.db').storage.driver.where())"
    assert run(code, tmp_path, tmp_path).stdout.strip() == str(tmp_path / "x.db")


def test_the_folders_are_those_of_the_module_that_makes_the_app():
    class Mine(LiteQ):
        def __init__(self) -> None:
            super().__init__("mine", broker="sqlite:///x.db", set_as_current=False)
            self.home = home_of_caller(self)

    assert Path(__file__).parent in Mine().home


@pytest.mark.parametrize("url", ["sqlite:////srv/q.db", "sqlite:///~/q.db", "postgresql://db/q", "sqlite:///C:/q.db"])
def test_what_is_not_relative_stays_as_it_is(url):
    assert placed(url, [Path("/srv/shop")]) == url


def test_a_path_that_cannot_be_looked_at_is_told_where_it_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{'x' * 5_000}/q.db"  # refused by the system, as a folder that is closed
    assert placed(url, [tmp_path]) == url


# -- ~ and Windows ---------------------------------------------------------------------------------------------------


def test_a_tilde_is_the_user_s_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert describe_url("sqlite:///~/q.db").where == str(tmp_path / "me/q.db")
    assert describe_url("sqlite:///./~/q.db").where == str(tmp_path / "~/q.db")


@pytest.mark.skipif(os.name == "nt", reason="they are right there")
@pytest.mark.parametrize("url", [r"sqlite:///C:\data\q.db", "sqlite:///C:/data/q.db"])
def test_a_path_of_windows_is_none_here(url):
    with pytest.raises(ImproperlyConfigured, match="path of Windows"):
        describe_url(url)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        (r"C:\data\q.db", "sqlite:///C:/data/q.db"),
        ("C:/data/q.db", "sqlite:///C:/data/q.db"),
        ("/srv/q.db", "sqlite:////srv/q.db"),
        ("q.db", "sqlite:///q.db"),
    ],
)
def test_a_path_without_a_scheme_is_told_as_a_url(path, url):
    with pytest.raises(ImproperlyConfigured, match=f"is a path and no URL: write {url}"):
        describe_url(path)


# -- waiting ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path):
    with LiteQ("shop", broker=f"sqlite:///{tmp_path / 'q.db'}", durability="relaxed") as made:

        @made.task(name="shop.add")
        def add(x: int, y: int) -> int:
            return x + y

        yield made


def told(app: LiteQ, **options: object) -> str:
    with pytest.raises(TimeoutError) as raised:
        app.tasks["shop.add"].apply_async((1, 2), **options).get(timeout=0.05)
    return str(raised.value)


def test_a_timeout_tells_the_file_and_that_no_worker_lives(app, tmp_path):
    assert f"it is pending in the queue 'celery' of {tmp_path}/q.db; no worker is alive on that file" in told(app)
    assert "it is scheduled until 2" in told(app, countdown=60)


def test_a_timeout_tells_that_no_worker_takes_the_queue(app):
    with start_worker(app):
        assert "none of the 1 workers that live takes that queue: start one with -Q mail" in told(app, queue="mail")
        assert "takes that queue" in told(app, countdown=60)


def test_a_timeout_of_a_held_task_tells_how_to_learn_what_holds_it(app, eventually):
    app.limits.set("task:shop.add", rate="1/d")
    with start_worker(app):
        app.tasks["shop.add"].delay(1, 2).get(timeout=60)
        held = app.tasks["shop.add"].delay(1, 2)
        eventually(lambda: app.storage.reader.find(held.id).state is State.HELD)
        with pytest.raises(TimeoutError) as raised:
            held.get(timeout=0.05)
    assert f"`liteq why {held.id}` says what holds it" in str(raised.value)


def test_a_timeout_tells_that_the_queue_is_paused(app):
    app.control.pause_queue("mai*", reason="the printer burns", by="ann", until=datetime(2100, 1, 1, tzinfo=UTC))
    with start_worker(app):
        said = told(app, queue="mail")
    assert "that queue is paused by ann (the printer burns) until 2100-01-01" in said
    assert "`liteq queue resume 'mai*'` lets it go on" in said
    assert "takes that queue" not in said


def test_a_timeout_of_a_task_that_awaits_another_tells_how_to_learn_which(app):
    add = app.tasks["shop.add"]
    last = chain(add.s(1, 2).set(countdown=600), add.s(3))()
    with start_worker(app), pytest.raises(TimeoutError, match=f"it is blocked .*`liteq why {last.id}` says what holds"):
        last.get(timeout=0.05)


def test_a_timeout_tells_that_the_id_is_unknown(app, tmp_path):
    with pytest.raises(TimeoutError, match=f"{tmp_path}/q.db knows no such id"):
        app.AsyncResult("no-such-id").get(timeout=0.05)


async def _wait(result: object) -> None:
    await result.aget(timeout=0.05)  # type: ignore[attr-defined]


def test_one_that_is_awaited_tells_the_same(app):
    import asyncio

    with pytest.raises(TimeoutError, match="no worker is alive on that file"):
        asyncio.run(_wait(app.tasks["shop.add"].delay(1, 2)))


def test_a_long_wait_is_told_once(app, caplog, monkeypatch):
    monkeypatch.setattr("liteq.result.waiting.LONG_S", 0.01)
    monkeypatch.setattr("liteq.result.waiting.RECHECK_S", 0.01)
    with caplog.at_level(logging.WARNING, "liteq.result"), pytest.raises(TimeoutError):
        app.tasks["shop.add"].delay(1, 2).get(timeout=0.3)
    assert [record.name for record in caplog.records] == ["liteq.result"]
    assert "no worker is alive on that file" in caplog.text


def test_a_long_wait_in_a_coroutine_is_told_once(app, caplog, monkeypatch):
    import asyncio

    monkeypatch.setattr("liteq.result.hub.LONG_S", 0.01)
    with caplog.at_level(logging.WARNING, "liteq.result"), pytest.raises(TimeoutError):
        asyncio.run(_wait(app.tasks["shop.add"].delay(1, 2)))
    assert len(caplog.records) == 1
