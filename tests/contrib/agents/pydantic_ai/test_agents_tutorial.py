"""docs/tutorial/agents.md, followed word for word."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.integration.book import Reader

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform == "win32", reason="a shell and signals")
def test_the_tutorial_of_agents_works_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    with Reader(tmp_path / "words") as reader:
        reader.follow(ROOT / "docs" / "tutorial" / "agents.md")
    assert "python test_desk.py" in reader.typed
