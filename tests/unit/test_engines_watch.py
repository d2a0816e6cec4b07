"""The page of the watched libraries has the shape that readers rely on. The run itself is `tox -e engines-watch`."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ..engines_watch.probes import QUESTIONS

ROOT = Path(__file__).resolve().parents[2]
LIVE = "it does not see what others commit"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("engines_watch", ROOT / "docs" / "generate" / "engines_watch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def found(tool: ModuleType) -> dict[str, Any]:
    return json.loads(tool.FOUND.read_text(encoding="utf-8"))


def with_answers(holds: bool, **but: bool) -> dict[str, Any]:
    """A library that answers every question alike, but for some."""
    answers = [
        {"part": part, "question": one.__name__, "words": one.__doc__, "told": "so",
         "holds": but.get(one.__name__, holds)}
        for part, questions in QUESTIONS.items() for one in questions
    ]  # fmt: skip
    return {"library": "x", "package": "x", "version": "1", "answers": answers, "suite": []}


def test_each_library_has_been_asked_every_question_and_the_whole_suite(found: dict[str, Any]) -> None:
    asked = [question.__name__ for questions in QUESTIONS.values() for question in questions]
    modules = [[module["module"] for module in library["suite"]] for library in found["libraries"]]
    assert modules[0] == modules[1]  # of the day of the run: the suite grows
    assert {"test_queue_verbs", "test_continuation", "concurrent/test_at_once"} <= set(modules[0])
    assert [one["library"] for one in found["libraries"]] == ["libsql", "turso"]
    for library in found["libraries"]:
        assert [answer["question"] for answer in library["answers"]] == asked


def test_the_page_says_when_with_what_and_names_each_failure(tool: ModuleType, found: dict[str, Any]) -> None:
    text = tool.PAGE.read_text(encoding="utf-8")
    assert re.search(r"^Run on \d{4}-\d\d-\d\d, Python 3\.", text, re.MULTILINE)
    for library in found["libraries"]:
        assert f"{library['package']} {library['version']}" in text
        failed = [f"{m['module']}::{test}" for m in library["suite"] for test in m["failed"]]
        assert [name for name in failed[: tool.SHOWN] if name not in text] == []
    for answer in found["libraries"][0]["answers"]:
        assert f"| {answer['words']} |" in text


def test_every_question_has_its_words_for_where_it_does_not_hold(tool: ModuleType) -> None:
    assert set(tool.WHY) == {question.__name__ for questions in QUESTIONS.values() for question in questions}


@pytest.mark.parametrize(
    ("library", "verdicts"),
    [
        (with_answers(True), ["yes", "yes", "yes"]),
        (
            with_answers(True, sees_commits=False),
            ["only a copy that nobody writes", f"no: {LIVE}", "no: it may not write"],
        ),
        (with_answers(True, reads_liteqs_file=False), ["no", "no: it may not read", "no: it may not write"]),
        (with_answers(True, wakes=False), ["yes", "yes", "no: it has no `PRAGMA data_version`"]),
        (
            with_answers(True, has_no_reset_bug=False, copies=False),
            ["yes", "no: SQLite's WAL-reset bug", "no: it may not write; it makes no copy of a file in use"],
        ),
    ],
)
def test_a_library_may_serve_what_it_may_write_and_write_what_it_may_read(
    tool: ModuleType, library: dict[str, Any], verdicts: list[str]
) -> None:
    assert [tool.verdict(library, part) for part in QUESTIONS] == verdicts
