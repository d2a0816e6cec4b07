"""The memory in which an executor notes the steps that it runs, and its parent reads them."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from liteq.worker.pool.page import NAME_BYTES, SCOPE_BYTES, SLOTS, Page

forks = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


@pytest.fixture
def page() -> Page:
    return Page(shared=False)


def begin(page: Page, pos: int = 1, *, scope: str = "", name: str = "shop.charge", timeout: float = 0.0) -> int:
    page.token = 7
    return page.begin(scope, pos, name, 2, timeout or None, "k", b"hash")


def test_a_step_is_seen_from_its_beginning_to_its_end(page: Page) -> None:
    assert page.steps() == []
    before = time.monotonic()
    slot = begin(page, 3, scope="1/2", timeout=30.0)
    (step,) = page.steps()
    assert step[:5] == (7, "1/2", 3, "shop.charge", 2)
    assert step[7:] == ("k", b"hash", True)
    assert before <= step.started <= time.monotonic()
    assert step.deadline == pytest.approx(step.started + 30.0)
    page.end(slot)
    assert page.steps() == []


def test_a_step_without_a_limit_has_no_deadline(page: Page) -> None:
    begin(page)
    assert page.steps()[0].deadline == 0.0


def test_steps_that_run_at_once_come_in_the_order_of_their_beginning(page: Page) -> None:
    slots = [begin(page, n) for n in range(4)]
    page.end(slots[0])
    begin(page, 9)
    assert [step.pos for step in page.steps()] == [1, 2, 3, 9]


def test_more_steps_than_there_is_room_for_run_unseen(page: Page) -> None:
    slots = [begin(page, n) for n in range(SLOTS + 2)]
    assert len(page.steps()) == SLOTS
    for slot in slots:
        page.end(slot)
    begin(page, 99)
    assert [step.pos for step in page.steps()] == [99]


def test_a_run_that_is_left_leaves_no_steps(page: Page) -> None:
    begin(page, 1), begin(page, 2)
    page.clear()
    assert page.steps() == []
    assert len({begin(page, n) for n in range(SLOTS)}) == SLOTS


@pytest.mark.parametrize(("scope", "name"), [("s" * SCOPE_BYTES, "f"), ("", "n" * NAME_BYTES)])
def test_what_is_too_long_is_cut_and_says_so(page: Page, scope: str, name: str) -> None:
    begin(page, scope=scope, name=name)
    assert not page.steps()[0].whole


def test_a_parent_asks_it_to_leave(page: Page) -> None:
    assert not page.leaving()
    page.leave()
    assert page.leaving()
    begin(page)
    assert page.leaving()


@forks
def test_a_parent_sees_the_step_in_which_its_child_was_killed() -> None:
    page = Page(shared=True)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        page.end(begin(page, 1))
        begin(page, 2, name="shop.last")
        os.write(write, b"x")
        signal.pause()
        os._exit(1)
    os.read(read, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert [(step.pos, step.name) for step in page.steps()] == [(2, "shop.last")]
    os.close(read), os.close(write)
    page.close()


@forks
def test_a_step_is_read_whole_or_not_at_all_while_others_begin() -> None:
    page = Page(shared=True)
    pid = os.fork()
    if pid == 0:
        for n in range(10_000_000):
            if page.leaving():
                break
            page.token = n
            page.end(page.begin(str(n), n, str(n) * 9, n, None))
        os._exit(0)
    seen = 0
    give_up = time.monotonic() + 60
    while seen < 500 and time.monotonic() < give_up:
        for step in page.steps():
            assert (step.scope, step.name, step.attempt) == (str(step.pos), str(step.pos) * 9, step.pos)
            assert step.token == step.pos
            seen += 1
    page.leave()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert seen >= 500
    page.close()
