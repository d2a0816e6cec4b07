"""The event loop that a thread keeps for its async tasks."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from typing import NoReturn

import pytest

from liteq.utils.coroutines import run_coroutine


async def woken_by_a_thread() -> int:
    """This process's id, from a thread: the loop has to wake up for it."""
    overslept: list[bool] = []
    alarm = asyncio.get_running_loop().call_later(5, overslept.append, True)
    pid = await asyncio.to_thread(os.getpid)
    alarm.cancel()
    assert not overslept, "the loop was not woken"
    return pid


def end_child(*, uses_it: bool) -> NoReturn:
    status = 1
    try:
        gc.collect()
        if not uses_it or run_coroutine(woken_by_a_thread()) == os.getpid():
            status = 0
    finally:
        os._exit(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("uses_it", [False, True])
def test_a_fork_from_another_thread_leaves_the_loop_awake(uses_it: bool) -> None:
    """The child has lost this thread, and what the thread kept."""
    run_coroutine(woken_by_a_thread())
    children: list[int] = []
    ended: list[int] = []

    def fork() -> None:
        if not (pid := os.fork()):
            end_child(uses_it=uses_it)
        children.append(pid)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    forking = threading.Thread(target=fork)
    forking.start()
    forking.join(60)
    if forking.is_alive():  # a child that hangs does so before its first line
        os.kill(children[0], signal.SIGKILL)
        forking.join()
    assert ended == [0]
    assert run_coroutine(woken_by_a_thread()) == os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_has_a_loop_of_its_own() -> None:
    run_coroutine(woken_by_a_thread())
    if not (pid := os.fork()):
        end_child(uses_it=True)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert run_coroutine(woken_by_a_thread()) == os.getpid()
