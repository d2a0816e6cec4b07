"""The how-to's way from another saver: its code, run on threads that the other one began."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from liteq_langgraph import LiteQSaver

from .graphs import at, chat, line, rows, say, texts_of

PAGE = Path(__file__).resolve().parents[4] / "docs" / "howto" / "langgraph.md"


@pytest.fixture
def move() -> Any:
    """The function `move` of the page."""
    (code,) = re.findall(r"^def move\(.*?(?=\n\n\n)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = {}
    exec(code, found)
    return found["move"]


class Whole(InMemorySaver):
    """A saver whose versions are whole numbers, as those of old threads are."""

    def get_next_version(self, current: Any, channel: None) -> Any:
        return 1 if current is None else current + 1


@pytest.mark.parametrize("kind", [InMemorySaver, Whole])
def test_threads_go_on_that_another_saver_began(saver: LiteQSaver, move: Any, kind: type[InMemorySaver]) -> None:
    old = kind()
    before = say(chat().compile(checkpointer=old), "t", 4)
    move(old, saver)
    once = rows(saver)
    move(old, saver)
    assert rows(saver) == once, "a second time changes nothing"

    graph = chat().compile(checkpointer=saver)
    assert texts_of(graph.get_state(at("t")).values) == texts_of(before)
    assert [one.metadata["step"] for one in saver.list(at("t"))] == [one.metadata["step"] for one in old.list(at("t"))]
    assert texts_of(say(graph, "t", 2))[:8] == texts_of(before)


def test_a_thread_with_pending_writes_goes_on_where_it_stood(saver: LiteQSaver, move: Any) -> None:
    old = InMemorySaver()
    log: list[str] = []

    def fails_once(state: Any) -> Any:
        log.append("b")
        if len(log) == 1:
            raise RuntimeError("down")
        return {"seen": ["b"]}

    builder = line(lambda state: {"seen": ["a"]}, fails_once)
    with pytest.raises(RuntimeError):
        builder.compile(checkpointer=old).invoke({"seen": []}, at("t"))
    move(old, saver)
    assert builder.compile(checkpointer=saver).invoke(None, at("t"))["seen"] == ["a", "b"]
