"""How deep a call goes before the engine has it: frames of liteq from `delay()` to the driver's transaction."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import liteq
from liteq import LiteQ, chain, group
from liteq.storage.sqlite.base import SQLiteDriver

ROOM = str(Path(liteq.__file__).parent)


@pytest.fixture
def app(tmp_path):
    with LiteQ("frames", broker=f"sqlite:///{tmp_path}/q.db") as made:

        @made.task(name="add")
        def add(*numbers: int) -> int:
            return sum(numbers)

        add.delay(0)  # opens the file
        yield made


@pytest.fixture
def depths(monkeypatch):
    """The number of frames of liteq around each write that begins."""
    seen: list[int] = []

    def watch(name: str) -> None:
        entered = getattr(SQLiteDriver, name)

        def watched(self, *args, **kwargs):
            seen.append(frames_of_liteq())
            return entered(self, *args, **kwargs)

        monkeypatch.setattr(SQLiteDriver, name, watched)

    for name in ("write", "change"):
        watch(name)
    return seen


def frames_of_liteq() -> int:
    frame, count = sys._getframe(2), 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith(ROOM)
        frame = frame.f_back
    return count


def test_delay_is_with_the_engine_in_seven_frames(app, depths):
    app.tasks["add"].delay(1, 2)
    assert len(depths) == 1
    assert 1 < depths[0] <= 7


def test_a_chain_is_with_the_engine_in_nine_frames(app, depths):
    add = app.tasks["add"]
    chain(add.s(1), add.s(2), add.s(3)).delay()
    assert len(depths) == 1, "one transaction"
    assert 1 < depths[0] <= 9


def test_a_group_is_with_the_engine_in_nine_frames(app, depths):
    add = app.tasks["add"]
    group(add.s(1), add.s(2)).delay()
    assert len(depths) == 1
    assert 1 < depths[0] <= 9
