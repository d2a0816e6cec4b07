"""Many at once: processes, threads and event loops write to one file, and none of them meets a lock."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from liteq_langgraph import LiteQSaver

from .graphs import at, line, rows

PROCESSES, TURNS = 6, 15


def turns(url: str, name: str, results: Any) -> None:
    slowest = 0.0
    try:
        with LiteQSaver(url) as saver:
            graph = line(lambda state: {"seen": [name]}).compile(checkpointer=saver)
            for _ in range(TURNS):
                began = time.monotonic()
                graph.invoke({"q": name}, at(name))
                slowest = max(slowest, time.monotonic() - began)
            results.put((name, len(graph.get_state(at(name)).values["seen"]), slowest, None))
    except BaseException as exc:
        results.put((name, 0, slowest, repr(exc)))


def test_six_processes_write_at_once_without_a_lock_error(tmp_path: Path) -> None:
    """They make the file, too."""
    fork = multiprocessing.get_context("fork")
    url, results = f"sqlite:///{tmp_path}/g.db", fork.Queue()
    processes = [fork.Process(target=turns, args=(url, f"p{n}", results)) for n in range(PROCESSES)]
    for one in processes:
        one.start()
    told = [results.get(timeout=120) for _ in processes]
    for one in processes:
        one.join(60)
    assert sorted((name, seen, error) for name, seen, _, error in told) == [
        (f"p{n}", TURNS, None) for n in range(PROCESSES)
    ]
    assert max(slowest for _, _, slowest, _ in told) < 20


def test_threads_share_a_saver(saver: LiteQSaver) -> None:
    graph = line(lambda state: {"seen": [state["q"]]}).compile(checkpointer=saver)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: graph.invoke({"q": str(n)}, at(f"t{n % 8}")), range(40)))
    assert sum(len(graph.get_state(at(f"t{n}")).values["seen"]) for n in range(8)) >= 8
    assert rows(saver)["checkpoints"] == 40 * 3


def test_a_loop_runs_many_graphs_and_plain_calls_between_them(saver: LiteQSaver) -> None:
    graph = line(lambda state: {"seen": [state["q"]]}).compile(checkpointer=saver)

    async def both() -> None:
        await asyncio.gather(*[graph.ainvoke({"q": str(n)}, at(f"t{n}")) for n in range(10)])
        assert graph.get_state(at("t1")).values["seen"] == ["1"]  # no lock of the loop: it is called inside it
        assert [one.metadata["step"] async for one in saver.alist(at("t2"))] == [1, 0, -1]
        assert [one.metadata["step"] for one in saver.list(at("t2"), limit=2)] == [1, 0]

    asyncio.run(both())


@pytest.mark.parametrize("wanted", [{"source": "input"}, {"step": 1}])
def test_a_list_of_all_threads_is_filtered(saver: LiteQSaver, wanted: dict[str, Any]) -> None:
    graph = line(lambda state: {"seen": [state["q"]]}).compile(checkpointer=saver)
    for n in range(3):
        graph.invoke({"q": str(n)}, at(f"t{n}"))
    found = list(saver.list(None, filter=wanted))
    assert [one.config["configurable"]["thread_id"] for one in found] == ["t2", "t1", "t0"]
    assert len(list(saver.list(None, filter=wanted, limit=2))) == 2
