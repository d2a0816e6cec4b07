"""The list of defences is whole, and fits the sources: `python -m tests.faults.mutants` can try each of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .defences import CONTROLS, MUTANTS, Mutant
from .mutants import table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def found_here() -> set[str]:
    """Each test of this folder, by file and function; a state machine by its name."""
    found = set()
    for path in HERE.glob("test_*.py"):
        if path == Path(__file__):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(f"{path.name}::{node.name}")
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if node.target.id.startswith("Test"):
                    found.add(f"{path.name}::{node.target.id}")
    return found


def test_each_test_here_has_a_defence_without_which_it_fails() -> None:
    named = {test for mutant in MUTANTS for test in mutant.tests} | CONTROLS
    assert {test for test in named if not test.startswith("../")} == found_here()


def test_the_readme_lists_them() -> None:
    assert table(MUTANTS) in (HERE / "README.md").read_text(), "run `python -m tests.faults.mutants --list`"


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.defence for mutant in MUTANTS])
def test_each_defence_is_one_place_of_the_sources(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old
