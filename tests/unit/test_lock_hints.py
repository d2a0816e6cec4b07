"""Each hint of a lock is listed with the test that fails without it, or with the reason why none does yet."""

from __future__ import annotations

import ast
import re

import pytest

from ..faults.hints import HINTS, PATTERN, ROOT, TURNS, UNTRIED, failing_without, texts_of

STORAGE = ROOT / "liteq" / "storage"
SUITE = ROOT / "tests" / "conformance" / "interleaved"
TURN = re.compile(r'\bin_turn\(f?"(\w+)')


def hinted() -> set[str]:
    """The names of the constants of the verbs that have a hint."""
    found = set()
    for path in sorted(STORAGE.rglob("*.py")):
        source = path.read_text()
        module = ".".join(path.relative_to(STORAGE).with_suffix("").parts)
        for node in ast.parse(source).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name) and PATTERN.search(ast.get_source_segment(source, node) or ""):
                    found.add(f"{module}.{target.id}")
    return found


def test_each_hint_has_a_test_or_a_reason_why_not() -> None:
    assert HINTS.keys() | UNTRIED.keys() == hinted()
    assert not HINTS.keys() & UNTRIED.keys()


def test_each_turn_has_a_test() -> None:
    waited = {turn for path in STORAGE.rglob("*.py") for turn in TURN.findall(path.read_text())}
    assert waited == TURNS.keys()


@pytest.mark.parametrize("name", HINTS)
def test_a_hint_can_be_taken_away(name: str) -> None:
    assert texts_of(name)


def test_the_tests_that_are_named_are_there() -> None:
    there = {
        f"{path.name}::{node.name}"
        for path in SUITE.glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    assert {test for name in (*HINTS, *TURNS) for test in failing_without(name)} <= there
