"""The figures of the house, counted over modules that are made up here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

COMMAND = Path(__file__).resolve().parents[2] / "docs" / "generate" / "house.py"


@pytest.fixture(scope="module")
def house() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house_figures", COMMAND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["house_figures"] = module
    spec.loader.exec_module(module)
    return module


def test_files_and_lines_are_counted_by_room(house):
    found = [house.Source("liteq/clock.py", "x = 1\n"), house.Source("liteq/app/base.py", "x = 1\ny = 2\n")]
    found.append(house.Source("contrib/liteq_x/deep/in/it.py", "x = 1\n"))
    assert house.rooms(found) == {"contrib/liteq_x": (1, 1), "liteq": (1, 1), "liteq/app": (1, 2)}


def test_the_largest_function_and_the_imports_inside_one_are_found(house):
    text = "import os\n\n\ndef f(app: Any):\n    import re\n    return re  # noqa: X\n"
    figures = house.figures([house.Source("liteq/a.py", text)])
    assert figures["lines of the largest function"] == "3"
    assert figures["imports inside functions"] == "1"
    assert (figures["`app: Any`"], figures["`noqa`"], figures["`type: ignore`"]) == ("1", "1", "0")


def test_an_import_inside_a_function_of_a_function_counts_once(house):
    text = "def f():\n    def g():\n        import re\n        return re\n    return g\n"
    assert house.deferred([house.Source("liteq/a.py", text)]) == 1


def test_code_that_stands_in_two_files_is_repeated(house):
    lines = "".join(f"x{n} = {n}\n" for n in range(house.REPEATED))
    alone = [house.Source("liteq/a.py", lines)]
    assert house.repeated(alone) == 0
    assert house.repeated([*alone, house.Source("liteq/b.py", lines)]) == 1


def test_the_public_members_of_a_class_are_counted(house):
    text = "class LiteQ:\n    def a(self): ...\n    @property\n    def b(self): ...\n    def _c(self): ...\n"
    assert house.members([house.Source("liteq/app/base.py", text)], "LiteQ", "liteq/app/base.py") == 2
