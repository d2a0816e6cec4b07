"""The Python blocks of the migration guide run, and its commands are commands."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from liteq.cli import main

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "migrate-from-celery.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "sentry_sdk" in block:
        pytest.importorskip("sentry_sdk", reason="the environment `ecosystem` has it, and runs this block too")
    exec(compile(block, "migrate-from-celery.md", "exec"), {"__name__": "guide"})


def test_its_commands_are_there():
    words = set(re.findall(r"`?liteq (?:-A shop )?([a-z-]+)", GUIDE))
    known = set(main.list_commands(click.Context(main)))
    assert {"worker", "beat", "inspect", "status", "upgrade-check"} <= words
    assert {word for word in words if word in {"worker", "beat", "inspect", "status", "upgrade-check"}} <= known
