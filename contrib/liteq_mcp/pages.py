"""The pages of the documentation that agents can read: those of the guide, and some how-tos."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["page", "pages"]

HOWTOS: Final = (
    "act-on-tasks", "budgets", "dead-letters", "find-out-why", "flows", "limits", "mcp", "operate-workflows",
    "run-flows", "unique-tasks", "workflow-recipes",
)  # fmt: skip
SHIPPED: Final = Path(__file__).parent / "docs"  # in an installed package
SOURCES: Final = Path(__file__).parents[2] / "docs"  # in a checkout


def pages() -> dict[str, tuple[Path, str]]:
    """The pages by name: the file, and its title."""
    if SHIPPED.is_dir():
        found = sorted(SHIPPED.glob("*.md"))
    else:
        howtos = (SOURCES / "howto" / f"{name}.md" for name in HOWTOS)
        found = [*sorted(SOURCES.glob("guide/*.md")), *(path for path in howtos if path.is_file())]
    return {path.stem: (path, _title(path)) for path in found if path.stem != "index"}


def page(name: str) -> str | None:
    """The text of a page; None where there is none of that name."""
    found = pages().get(name)
    return None if found is None else found[0].read_text(encoding="utf-8")


def _title(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix("# ").strip() for line in lines if line.startswith("# ")), path.stem)
