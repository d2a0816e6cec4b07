"""The texts of the pages stand in one catalogue, and a template has no style, script or trust of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import liteq_dashboard
from liteq_dashboard.texts import TEXTS

ROOT = Path(liteq_dashboard.__file__).parent
ASKED = re.compile(r"\bt\.([a-z_0-9]+)")
TEMPLATES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "templates").glob("*.html"))}
NAMED = re.compile(r"""TEXTS\[f?"([a-z_0-9{}]+)"\]|_words\("([a-z_]+)\"""")


def asked():
    found = set()
    for text in TEMPLATES.values():
        found |= set(ASKED.findall(text))
    for source in ROOT.rglob("*.py"):
        found |= {one for pair in NAMED.findall(source.read_text(encoding="utf-8")) for one in pair if one}
    return found


def test_what_is_asked_for_is_there():
    assert sorted(name for name in asked() if name not in TEXTS and "{" not in name and name != "get") == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_page_has_a_style_or_a_script_of_its_own(name):
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", TEMPLATES[name])
    assert not re.search(r"<script(?![^>]*\ssrc=)", TEMPLATES[name])


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_is_called_safe(name):
    assert re.findall(r"{{[^}]*\|\s*safe[^}]*}}", TEMPLATES[name]) == []


def test_the_script_is_short_and_needs_no_eval():
    text = (ROOT / "static" / "liteq.js").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert not re.search(r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", text)


def test_a_value_that_is_shown_is_bounded():
    from liteq_dashboard.looks import FILTERS

    shown = FILTERS["json"]
    assert shown({"a": [1, 2]}).split() == ["{", '"a":', "[", "1,", "2", "]", "}"]
    deep: object = 1
    for _ in range(100):
        deep = [deep]
    assert shown(deep).count("[") == 20
    assert "9,000 more" in shown(list(range(10_000)))
    assert "more" in shown({str(n): [n] * 3 for n in range(1_000)})
    assert len(shown(["x" * 100_000])) < 70_000
