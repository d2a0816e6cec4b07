"""`app.using(db)`: calls, results and canvases of one app over several files. No worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ, chord, group
from liteq.exceptions import CanvasConflict, ImproperlyConfigured
from liteq.states import State
from liteq.storage import describe_url
from liteq.storage.sqlite.disk.files import is_open_here
from liteq.testing import drain


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/queue.db")

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    with chdir(tmp_path):
        yield app
    app.close()


def waiting(app: LiteQ) -> int:
    return sum(count.n for count in app.storage.reader.counts() if count.state is State.PENDING)


def test_a_call_goes_to_the_file_that_is_named_and_after_it_to_the_app_s_own(app: LiteQ) -> None:
    add = app.tasks["add"]
    add.delay(1, 1)
    with app.using("a.db"):
        add.delay(1, 2)
        add.apply_async((1, 3), countdown=0)
        assert waiting(app) == 2
    assert waiting(app) == 1
    add.delay(1, 4)
    assert waiting(app) == 2


def test_a_path_is_relative_to_the_folder_of_the_block_that_names_it(app: LiteQ, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with app.using("a.db"):
        result = app.tasks["add"].delay(1, 2)
    with chdir(tmp_path / "sub"):
        assert result.exists()
        with app.using(tmp_path / "a.db"):
            assert app.AsyncResult(result.id).exists()
    assert not (tmp_path / "sub" / "a.db").exists()


def test_a_result_asks_the_file_that_it_was_made_in(app: LiteQ) -> None:
    add = app.tasks["add"]
    with app.using("a.db"):
        result, many = add.delay(1, 2), group(add.s(1, 1), add.s(2, 2)).apply_async()
        drain(app)
    assert result.get(timeout=1) == 3
    assert many.get(timeout=1) == [2, 4]
    assert not app.AsyncResult(result.id).exists(), "the app's own file does not know it"


def test_blocks_may_be_inside_each_other_and_the_inner_one_counts(app: LiteQ) -> None:
    add = app.tasks["add"]
    with app.using("a.db"):
        with app.using("b.db"):
            inner = describe_url(app.broker_url).where
            add.delay(1, 2)
        assert describe_url(app.broker_url).where != inner
        assert waiting(app) == 0


def test_a_block_counts_in_its_own_thread_alone(app: LiteQ) -> None:
    seen: list[str] = []
    with app.using("a.db"):
        thread = threading.Thread(target=lambda: seen.append(app.broker_url))
        thread.start()
        thread.join()
    assert seen == [app.broker_url]


def test_an_app_without_a_file_of_its_own_can_use_others(tmp_path: Path) -> None:
    app = LiteQ("bare")
    add = app.task(name="add")(_identity)
    with app.using(tmp_path / "a.db"):
        assert add.delay(1).exists()
    with pytest.raises(ImproperlyConfigured, match="where does the queue live"):
        add.delay(1)


def _identity(x: Any) -> Any:
    return x


def test_many_files_are_used_and_few_stay_open(app: LiteQ, tmp_path: Path) -> None:
    from liteq.app.files import KEPT

    results = []
    for n in range(KEPT + 8):
        with app.using(f"t{n}.db"):
            results.append(app.tasks["add"].delay(n, 1))
    held = [n for n in range(KEPT + 8) if is_open_here(str(tmp_path / f"t{n}.db"), but=())]
    assert 0 < len(held) <= KEPT
    assert all(result.exists() for result in results), "a file that was closed is opened again"


def test_declared_limits_are_written_to_each_file(app: LiteQ) -> None:
    task = app.task(name="paced", limits="api")(_identity)
    app.limits.declared["api"] = ("5/s", None)
    for db in ("a.db", "b.db"):
        with app.using(db):
            task.delay(1)
            assert app.limits.get("api").rate == "5/s"


@pytest.mark.parametrize("db", ["", "redis://localhost"])
def test_what_names_no_file_is_refused(app: LiteQ, db: str) -> None:
    with pytest.raises((ValueError, ImproperlyConfigured)), app.using(db):
        pass


# -- canvases ----------------------------------------------------------------------------------------------------------


def test_a_task_s_request_says_which_file_it_came_from(app: LiteQ, tmp_path: Path) -> None:
    seen: list[str] = []

    @app.task(bind=True)
    def look(self: Any) -> None:
        with app.using("other.db"):
            seen.append(self.request.db)

    look.delay()
    drain(app)
    assert seen == [f"{tmp_path}/queue.db"]


def test_no_canvas_crosses_files(app: LiteQ) -> None:
    errors: list[str] = []

    @app.task(bind=True)
    def replaced(self: Any) -> None:
        with app.using("other.db"):
            self.replace(app.tasks["add"].s(1, 2))

    @app.task(bind=True)
    def grows(self: Any) -> None:
        with app.using("other.db"):
            try:
                self.add_to_chord(app.tasks["add"].s(1, 2))
            except CanvasConflict as exc:
                errors.append(str(exc))

    failing = replaced.delay()
    drain(app)
    with pytest.raises(CanvasConflict, match=r"replace\(\) belongs to the file of the task.*no canvas crosses files"):
        failing.get(timeout=1)
    chord([grows.s()], app.tasks["add"].si(0, 0)).delay()
    drain(app)
    assert "a member of a group or chord" in errors[0]
    assert "other.db" in errors[0]


def test_a_task_may_send_a_call_of_its_own_to_another_file(app: LiteQ) -> None:
    add = app.tasks["add"]

    @app.task(bind=True)
    def passes_on(self: Any) -> str:
        self.update_state(state="ASKING")
        with app.using("other.db"):
            self.update_state(state="TELLING")
            return str(add.delay(1, 2).id)

    result = passes_on.delay()
    drain(app)
    id_ = result.get(timeout=1)
    with app.using("other.db"):
        assert app.AsyncResult(id_).state == "PENDING"
        assert app.AsyncResult(id_).exists()
