"""The screen of `liteq top`, driven by Textual's own pilot; compared as text."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.worker import WorkerFailed

from liteq.cli.top import hands, screen
from liteq.cli.top.grid import Grid
from liteq.cli.top.screen import TopApp
from liteq.exceptions import NotEligible, StorageUnavailable

from .test_top_tables import DOCUMENTS

SMALL, LARGE = (80, 24), (150, 40)


class Source:
    """Stands in for the file: `documents` are what a look reads."""

    def __init__(self) -> None:
        self.documents = copy.deepcopy(DOCUMENTS)
        self.asked: list[tuple[tuple[str, ...], str]] = []
        self.error: Exception | None = None

    def read(self, _app: Any, views: tuple[str, ...], q: str = "") -> dict[str, Any]:
        self.asked.append((views, q))
        if self.error is not None:
            raise self.error
        return copy.deepcopy(self.documents)


@pytest.fixture
def source(monkeypatch) -> Source:
    source = Source()
    monkeypatch.setattr(screen, "read", source.read)
    monkeypatch.setattr(screen, "strftime", lambda _form: "12:34:07")
    return source


Drive = Callable[[TopApp, Pilot[None]], Awaitable[None]]


def drive(steps: Drive, size: tuple[int, int] = SMALL, **options: Any) -> TopApp:
    """Run the app without a terminal; `steps` are taken after its first look. It looks again when `steps` ask."""
    app = TopApp(object(), look_s=3_600, **options)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await settled(app, pilot)
            await steps(app, pilot)

    asyncio.run(run())
    return app


async def settled(app: TopApp, pilot: Pilot[None]) -> None:
    with suppress(WorkerFailed):  # the screen says so
        await app.workers.wait_for_complete()
    await pilot.pause()


async def looked(app: TopApp, pilot: Pilot[None]) -> None:
    app.look()
    await settled(app, pilot)


async def pressed(app: TopApp, pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settled(app, pilot)


def text_of(app: TopApp) -> list[str]:
    """The screen's lines."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    assert len(strips) == height
    return [strip.text.rstrip()[:width] for strip in strips]


def test_a_small_terminal_shows_one_table(source):
    async def steps(app, pilot):
        lines = text_of(app)
        assert lines[0] == ("liteq shop.db  12:34:07 live  412/s  failed 4.1/s  wait p95 0.8s  run p95 1.2s …")
        assert lines[1] == "Working. 412 tasks/s; mail is 3 min 2 s behind."
        assert lines[2:5] == [
            "  QUEUE               WAIT    HEAD  IN/S OUT/S     RUN   HELD   W",
            "  mail             10,000+   3m02s   120    88     8/8          2",
            "  slow           paused by     ann     0     0     0/2      7   1",
        ]
        assert lines[-1] == "1 queues 2 running 3 failures 4 workers 5 workflows 6 schedules 8 limits ? q"
        assert [grid.id for grid in app.query(Grid) if grid.display] == ["queues"]

    drive(steps)


def test_a_large_terminal_shows_three(source):
    async def steps(app, pilot):
        assert text_of(app)[0].endswith("run p95 1.2s  █  dead 3,214  wal 12 MB")
        assert [grid.id for grid in app.query(Grid) if grid.display] == ["queues", "running", "failures"]
        shown = "\n".join(text_of(app))
        assert "######---- 61%" in shown
        assert "CardError declined" in shown
        await pilot.resize_terminal(*SMALL)
        await settled(app, pilot)
        assert [grid.id for grid in app.query(Grid) if grid.display] == ["queues"]

    drive(steps, LARGE)


@pytest.mark.parametrize(
    ("key", "first"),
    [("2", "report"), ("3", "charge"), ("4", "w1@host"), ("5", "order"), ("6", "nightly"), ("8", "user:*")],
)
def test_a_number_shows_its_table_and_only_that_is_read(source, key, first):
    async def steps(app, pilot):
        await pressed(app, pilot, key)
        assert text_of(app)[3].split()[0] == first
        assert source.asked[-1][0] == (app.grid.view.name,)

    drive(steps)


def test_only_cells_that_changed_are_changed_and_columns_keep_their_width(source):
    async def steps(app, pilot):
        grid = app.grid
        await looked(app, pilot)
        assert grid.changes == 0
        source.documents["overview"]["queues"][0]["head_wait_s"] = 7_200.0
        source.documents["overview"]["queues"][0]["name"] = "mail-with-a-very-long-name"
        await looked(app, pilot)
        assert grid.changes == 2
        assert text_of(app)[3] == "  mail-with-a-v…   10,000+   2h00m   120    88     8/8          2"

    drive(steps)


def test_rows_come_and_go_and_the_cursor_stays_on_its_row(source):
    async def steps(app, pilot):
        await pressed(app, pilot, "down")
        assert app.grid.under_cursor == "slow"
        first = source.documents["overview"]["queues"][0]
        source.documents["overview"]["queues"].insert(0, {**first, "name": "a-new-one"})
        await looked(app, pilot)
        assert app.grid.row_count == 3
        assert app.grid.under_cursor == "slow"
        del source.documents["overview"]["queues"][:2]
        await looked(app, pilot)
        assert app.grid.row_count == 1
        assert app.grid.under_cursor == "slow"

    drive(steps)


def test_at_most_two_hundred_rows(source):
    first = source.documents["overview"]["queues"][0]
    source.documents["overview"]["queues"] = [{**first, "name": f"q{n}"} for n in range(300)]

    async def steps(app, pilot):
        assert app.grid.row_count == 200

    drive(steps)


def test_a_look_that_fails_is_said_and_the_next_one_is_shown(source):
    async def steps(app, pilot):
        source.error = StorageUnavailable("the disk is away")
        await looked(app, pilot)
        assert text_of(app)[1] == "cannot be read, trying again: the disk is away"
        source.error = None
        await looked(app, pilot)
        assert text_of(app)[1].startswith("Working.")

    drive(steps)


def test_a_frozen_screen_stays(source):
    async def steps(app, pilot):
        await pressed(app, pilot, "f")
        source.documents["overview"]["verdict"] = "Not well."
        await looked(app, pilot)
        assert text_of(app)[1].startswith("Working.")
        await pressed(app, pilot, "f")
        assert text_of(app)[1] == "Not well."

    drive(steps)


def test_a_search_is_asked_for_and_shown(source):
    async def steps(app, pilot):
        await pressed(app, pilot, "slash", *"state", "colon", *"dead", "enter")
        assert source.asked[-1] == (("search",), "state:dead")
        assert text_of(app)[3].split()[:3] == ["charge", "dead", "mail"]

    drive(steps)


def test_a_row_is_opened_and_closed(source):
    async def steps(app, pilot):
        await pressed(app, pilot, "6")  # what is opened has been read
        await pressed(app, pilot, "enter")
        shown = "\n".join(text_of(app))
        assert "schedule nightly" in shown
        assert "schedule: every 30 s" in shown
        await pressed(app, pilot, "enter")
        assert "schedule nightly" not in "\n".join(text_of(app))

    drive(steps)


def test_a_row_of_a_table_that_was_not_read_yet_is_opened_later(source):
    async def steps(app, pilot):
        await pressed(app, pilot, "6")
        app.documents = {name: one for name, one in app.documents.items() if name != "schedules"}
        await pressed(app, pilot, "enter")
        assert "open it again in a moment" in "\n".join(text_of(app))

    drive(steps)


def test_a_file_that_is_dear_to_read_is_read_less_often(source, monkeypatch):
    spent = iter([0.0, 30.0] * 9)
    monkeypatch.setattr(screen, "thread_time", lambda: next(spent))

    async def steps(app, pilot):
        assert len(source.asked) == 1
        app._tick()  # 30 s of processor time are 1500 s of rest
        await settled(app, pilot)
        assert len(source.asked) == 1
        await pressed(app, pilot, "4")  # but a key is obeyed
        assert len(source.asked) == 2

    drive(steps)


# -- acts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def done(monkeypatch) -> list[tuple[str, list[str], str]]:
    found: list[tuple[str, list[str], str]] = []

    def doing(letter: str) -> Callable[..., str]:
        def do(_app: Any, _kind: str, keys: list[str], by: Any) -> str:
            found.append((letter, list(keys), by.reason))
            return "done"

        return do

    changed = {key: hand._replace(do=doing(key)) for key, hand in hands.HANDS.items()}
    monkeypatch.setattr(screen, "HANDS", changed)
    return found


def test_a_capital_asks_for_a_reason_and_acts(source, done):
    async def steps(app, pilot):
        await pressed(app, pilot, "P")
        assert "Pause, or let go on, queue mail?" in "\n".join(text_of(app))
        await pressed(app, pilot, *"why", "enter")

    drive(steps)
    assert done == [("P", ["mail"], "why")]


def test_escape_does_nothing(source, done):
    async def steps(app, pilot):
        await pressed(app, pilot, "P", *"why", "escape")

    drive(steps)
    assert done == []


def test_ticked_rows_are_acted_on_together(source, done):
    async def steps(app, pilot):
        await pressed(app, pilot, "2")
        await pressed(app, pilot, "space", "down", "space", "X", "enter")

    drive(steps)
    assert done == [("X", ["0198-a", "0198-b"], "")]


def test_a_capital_is_for_its_own_rows(source, done):
    async def steps(app, pilot):
        await pressed(app, pilot, "R")
        assert text_of(app)[1] == "R is for tasks, causes, workflows"

    drive(steps)
    assert done == []


def test_read_only_no_key_acts_and_none_is_shown(source, done):
    async def steps(app, pilot):
        assert text_of(app)[-1].endswith("6 schedules 8 limits ? q")
        await pressed(app, pilot, "P", "2")
        await pressed(app, pilot, "X", "R")
        assert len(app.screen_stack) == 1
        await pressed(app, pilot, "question_mark")
        assert "revoke" not in "\n".join(text_of(app))

    drive(steps, read_only=True)
    assert done == []


def test_what_was_refused_is_said(source, monkeypatch):
    def refuse(*_: Any, **__: Any) -> Any:
        raise NotEligible("0198-a", "requeue", "leased", "it is running")

    monkeypatch.setattr(hands, "act", refuse)

    async def steps(app, pilot):
        await pressed(app, pilot, "2")
        await pressed(app, pilot, "R", "enter")
        (toast,) = app._notifications
        assert "it is running" in toast.message

    drive(steps)
