"""The types that users see: `add.delay("x")` is an error to a type checker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "typing" / "typed_api.py"


def mypy(source: Path, cache: Path) -> str:
    command = [
        sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary",
        "--cache-dir", str(cache), str(source),
    ]  # fmt: skip
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_calls_that_do_not_fit_a_task_are_type_errors_and_results_have_its_return_type(tmp_path):
    pytest.importorskip("mypy", reason="needs pip install mypy")
    assert mypy(SOURCE, tmp_path / "cache") == ""

    unmarked = tmp_path / "unmarked.py"
    unmarked.write_text(SOURCE.read_text().replace("# type: ignore[arg-type]", ""))
    assert 'incompatible type "str"; expected "int"' in mypy(unmarked, tmp_path / "cache")


def test_calls_that_do_not_fit_a_workflow_are_type_errors_and_results_have_its_return_type(tmp_path):
    pytest.importorskip("mypy", reason="needs pip install mypy")
    source = SOURCE.with_name("typed_workflows.py")
    assert mypy(source, tmp_path / "cache") == ""

    unmarked = tmp_path / "unmarked.py"
    unmarked.write_text(source.read_text().replace("# type: ignore[arg-type]", ""))
    assert 'Argument 1 to "start" of "Workflow" has incompatible type "int"; expected "Order"' in mypy(
        unmarked, tmp_path / "cache"
    )
