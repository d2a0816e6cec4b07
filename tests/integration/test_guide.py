"""docs/guide/, followed word for word: every file is written, every command typed, every answer compared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from .book import Reader

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide"
PAGES = sorted(path.stem for path in GUIDE.glob("*.md") if path.stem != "index")

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.name != "posix", reason="liteq's workers need POSIX"),
]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_works_as_it_is_written(name: str, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    with Reader(checkout) as reader:
        reader.follow(GUIDE / f"{name}.md")
