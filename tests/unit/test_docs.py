"""Rules for the texts that a reader, and no linter, would notice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADRS = sorted(ROOT.glob("docs/adr/0*.md"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_architecture_page_names_files_that_are_there():
    page = text("docs/explanation/architecture.md")
    named = set(re.findall(r"[`\s]((?:[a-z_]+/)+(?:\w+\.py)?|[a-z_]+\.py)(?=[`,\s])", page))
    missing = {name for name in named if not any((ROOT / base / name).exists() for base in ("liteq", "."))}
    assert len(named) > 20
    assert missing == {"compat/"}  # a wing of several rooms


def test_the_architecture_page_has_each_room_and_its_floor():
    page = text("docs/explanation/architecture.md")
    rooms = {path.name for path in (ROOT / "liteq").iterdir() if (path / "__init__.py").exists()}
    ways, _, rest = page.partition("\n## Floors\n")
    floors = rest.partition("\n## ")[0]
    assert rooms - set(re.findall(r"(?:\s|`)(\w+)/", ways)) == set()
    assert rooms - set(re.findall(r"`(\w+)/`", floors)) == set()


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.name[:4])
def test_decisions_have_one_form(path):
    page = path.read_text(encoding="utf-8")
    assert page.startswith(f"# {path.name[:4]} ")
    assert re.findall(r"^##? (?!\d)(.*)", page, re.MULTILINE) == ["Context", "Decision", "Price", "Evidence"]


def test_the_changelog_has_a_sentence_a_line_under_headings_of_areas():
    _, released = text("CHANGELOG.md").split("\n## ", 1)
    lines = [line for line in released.splitlines()[1:] if line]
    odd = [line for line in lines if not line.startswith(("## ", "### ")) and not re.fullmatch(r"- [^ ].*\.", line)]
    assert odd == []


def test_the_page_of_postgresql_shows_the_newest_version_of_the_tables():
    shown = re.findall(r"has schema version (\d+)", text("docs/howto/postgresql.md"))
    newest = max(path.name[:4] for path in ROOT.glob("contrib/liteq_postgres/migrations/0*.sql"))
    assert shown == [str(int(newest))]


def test_the_glossary_has_the_states_and_the_words_of_workflows():
    page = text("docs/reference/glossary.md")
    words = set(re.findall(r"^(?:\| )?([a-z][a-z ]*?)(?: \| .*)?$", page, re.MULTILINE))
    assert {"scheduled", "blocked", "pending", "held", "lease", "dead letter"} <= words
    assert {"workflow", "run", "step", "event", "replay", "checkpoint"} <= words
