"""LangGraph's own conformance package: all eight capabilities, all checks, awaited and plain, on each engine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint.conformance")

from langgraph.checkpoint.conformance import checkpointer_test, validate

from liteq_langgraph import LiteQSaver

CHECKS = 81


class Plain(LiteQSaver):
    """The plain methods, called inside the event loop."""

    async def aput(self, *args: Any) -> Any:
        return self.put(*args)

    async def aput_writes(self, *args: Any, **more: Any) -> None:
        self.put_writes(*args, **more)

    async def aget_tuple(self, config: Any) -> Any:
        return self.get_tuple(config)

    async def alist(self, config: Any, **more: Any) -> Any:
        for one in self.list(config, **more):
            yield one

    async def adelete_thread(self, thread_id: str) -> None:
        self.delete_thread(thread_id)

    async def adelete_for_runs(self, run_ids: Any) -> None:
        self.delete_for_runs(run_ids)

    async def acopy_thread(self, source: str, target: str) -> None:
        self.copy_thread(source, target)

    async def aprune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
        self.prune(thread_ids, strategy=strategy)


def checked(kind: type[LiteQSaver], where: str) -> dict[str, Any]:
    @checkpointer_test(name=where)
    async def saver() -> Any:
        with kind(where) as opened:
            yield opened

    return asyncio.run(validate(saver)).results


def assert_all(results: dict[str, Any]) -> None:
    assert {name: one.failures for name, one in results.items() if not one.passed} == {}
    assert len(results) == 8
    assert sum(one.tests_passed for one in results.values()) == CHECKS


@pytest.mark.parametrize("kind", [LiteQSaver, Plain], ids=["async", "sync"])
@pytest.mark.parametrize("driver", ["apsw", "stdlib"])
def test_all_checks_pass_on_a_file(tmp_path: Path, driver: str, kind: type[LiteQSaver]) -> None:
    assert_all(checked(kind, f"sqlite:///{tmp_path}/graphs.db?driver={driver}"))


def test_all_checks_pass_on_a_server(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("psycopg")
    from ....postgresql import empty, url

    server = request.getfixturevalue("postgresql_server")
    empty(server).close()
    assert_all(checked(LiteQSaver, url(server)))
