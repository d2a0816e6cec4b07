"""The table of guarantees of Celery on a liteq file names tests that are there, and some for each guarantee."""

from __future__ import annotations

import ast
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "contrib" / "real_celery"
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
ROW = re.compile(r"^\| (\d+) \|.*\|$", re.MULTILINE)
OF_CELERY_ITSELF = 9  # its own suite is not in this project


def names_in(file: str) -> set[str]:
    found = ast.parse((FOLDER / file).read_text()).body
    return {node.name for node in found if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_each_guarantee_names_tests_that_are_there() -> None:
    page = (FOLDER / "README.md").read_text()
    missing = [(file, name) for file, name in TEST.findall(page) if name not in names_in(file)]
    assert missing == []
    shown = {int(row[1]): bool(TEST.search(row[0])) for row in ROW.finditer(page)}
    assert shown == {n: n != OF_CELERY_ITSELF for n in range(1, 11)}
