"""docs/tutorial/first-steps.md, followed word for word."""

from __future__ import annotations

from pathlib import Path

from .book import Reader

ROOT = Path(__file__).resolve().parents[2]


def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    with Reader(tmp_path / "checkout") as reader:
        reader.follow(ROOT / "docs" / "tutorial" / "first-steps.md")
    assert "liteq -A words worker -c 2" in reader.typed
