"""Rules for the texts that a reader, and no linter, would notice."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from liteq.settings.table import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
ADRS = sorted(ROOT.glob("docs/adr/0*.md"))
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("contrib/**/*.md"))]


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


def samples(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for found in re.findall(
            rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        ):
            yield page.name, found


def test_each_sample_of_python_is_python_and_imports_what_liteq_has():
    missing = []
    read = [(page, ast.parse(sample)) for page, sample in samples("python") if ">>>" not in sample]
    assert len(read) > 100
    for page, tree in read:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and re.match(r"liteq(\.|$)", node.module):
                module = importlib.import_module(node.module)
                missing += [(page, node.module, name.name) for name in node.names if not hasattr(module, name.name)]
    assert missing == []


def test_each_sample_of_json_and_yaml_can_be_read():
    assert [json.loads(sample) for _, sample in samples("json")]
    assert [list(yaml.safe_load_all(sample)) for _, sample in samples("yaml")]


def test_each_setting_that_a_page_names_is_one():
    written = [(page, page.read_text(encoding="utf-8")) for page in PAGES if page.parent.name != "reference"]
    named = {
        name
        for _, page in written
        for name in re.findall(r"\bsettings? `(\w+)`|\bapp\.conf\.(\w+) = ", page)
        for name in name
    }
    assert len(named) > 30
    assert named - {"", "slack_hook"} - set(SETTINGS) == set()  # the second is the reader's own


def test_the_glossary_has_the_states_and_the_words_of_workflows():
    page = text("docs/reference/glossary.md")
    words = set(re.findall(r"^(?:\| )?([a-z][a-z ]*?)(?: \| .*)?$", page, re.MULTILINE))
    assert {"scheduled", "blocked", "pending", "held", "lease", "dead letter"} <= words
    assert {"workflow", "run", "step", "event", "replay", "checkpoint"} <= words
