"""Each hint of a lock is listed with the test that fails without it, or with the reason why none does yet."""

from __future__ import annotations

import ast

import pytest

from ..faults.hints import HINTS, PATTERN, TURNS, UNTRIED, constant_in, without_hint
from ..faults.mutants import ROOT

STORAGE = ROOT / "liteq" / "storage"
SUITE = ROOT / "tests" / "conformance" / "interleaved"


def hinted() -> dict[str, str]:
    """The source of each file of the verbs that has a hint, by the names of the constants with one."""
    found = {}
    for path in sorted(STORAGE.rglob("*.py")):
        source = path.read_text()
        module = ".".join(path.relative_to(STORAGE).with_suffix("").parts)
        for node in ast.parse(source).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name) and PATTERN.search(ast.get_source_segment(source, node) or ""):
                    found[f"{module}.{target.id}"] = source
    return found


HINTED = hinted()


def test_each_hint_has_a_test_or_a_reason_why_not() -> None:
    assert HINTS.keys() | UNTRIED.keys() == HINTED.keys()
    assert not HINTS.keys() & UNTRIED.keys()


@pytest.mark.parametrize("name", HINTS)
def test_a_hint_can_be_taken_away(name: str) -> None:
    constant = name.rpartition(".")[2]
    changed = without_hint(HINTED[name], constant)
    first, last = constant_in(changed, constant)
    assert not PATTERN.search("\n".join(changed.splitlines()[first - 1 : last]))


@pytest.mark.parametrize("turn", TURNS, ids=[turn[0] for turn in TURNS])
def test_a_turn_is_one_place_of_the_sources(turn: tuple[str, str, str, tuple[str, ...]]) -> None:
    assert (STORAGE / turn[1]).read_text().count(turn[2]) == 1


def test_the_tests_that_are_named_are_there() -> None:
    named = {test for tests in (*HINTS.values(), *(turn[3] for turn in TURNS)) for test in tests}
    there = {
        f"{path.name}::{node.name}"
        for path in SUITE.glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    assert named <= there
