"""The event loop that a thread keeps for its async tasks."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest

from liteq.utils.coroutines import run_coroutine


async def woken_by_a_thread() -> int:
    return await asyncio.to_thread(os.getpid)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("uses_it", [False, True])
def test_a_fork_from_another_thread_leaves_the_loop_awake(uses_it: bool) -> None:
    """The child has lost this thread, and what the thread kept."""
    run_coroutine(woken_by_a_thread())
    ended: list[int] = []

    def fork() -> None:
        if pid := os.fork():
            ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            return
        gc.collect()
        os._exit(run_coroutine(woken_by_a_thread()) != os.getpid() if uses_it else 0)

    forking = threading.Thread(target=fork)
    forking.start()
    forking.join()
    assert ended == [0]

    async def bounded() -> int:
        return await asyncio.wait_for(woken_by_a_thread(), 10)

    assert run_coroutine(bounded()) == os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_has_a_loop_of_its_own() -> None:
    run_coroutine(woken_by_a_thread())
    if not (pid := os.fork()):
        os._exit(run_coroutine(woken_by_a_thread()) != os.getpid())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert run_coroutine(woken_by_a_thread()) == os.getpid()
