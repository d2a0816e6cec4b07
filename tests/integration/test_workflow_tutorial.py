"""docs/tutorial/workflows.md, followed word for word."""

from __future__ import annotations

from pathlib import Path

from .book import Reader

ROOT = Path(__file__).resolve().parents[2]


def test_the_tutorial_of_workflows_works_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    with Reader(tmp_path / "words") as reader:
        reader.follow(ROOT / "docs" / "tutorial" / "workflows.md")
    assert 'liteq -A shop workflow approve order-2 "Ship a large order" --yes --by bob' in reader.typed
