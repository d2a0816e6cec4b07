"""Commands that look, where nothing was sent yet: each says that there is no queue, and makes none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import click
import pytest

from liteq.cli import main

# Those that serve until they are ended, send, or are about another file.
OTHERS = {
    "worker", "beat", "multi", "call", "gateway", "relay", "demo", "dashboard", "mcp", "metrics", "shell", "events",
    "top", "alert", "migrate", "move", "restore", "litestream", "report", "upgrade-check", "version", "logs", "health",
    "workflow import", "flow run", "flow schedule", "flow validate", "flow graph", "flow schema", "flow import",
}  # fmt: skip
WORDS = {
    "action": "cancel", "subject": "queues", "step": "1", "span": "10", "start": "2026-01-01", "end": "2026-01-02",
}  # fmt: skip
MORE = {
    "control": ("revoke", "x"),  # a command that takes words of its own
    "operations start": ("--where", "state:dead"),
    "workflow approve": ("--yes",),
    "workflow replay": ("--check",),
    "backup": ("copy.db",),
    "limits pause": ("10",),
    "dead drop": ("x",),
    **{f"workflow {verb}": ("x",) for verb in ("cancel", "terminate", "pause", "resume", "retry")},
}


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        path = (*above, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path)
        elif " ".join(path) not in OTHERS:
            yield " ".join(path), command


def words_of(name: str, command: click.Command) -> list[str]:
    needed = [one.name or "" for one in command.params if isinstance(one, click.Argument) and one.required]
    more = MORE.get(name, ())
    return [*name.split(), *(() if name == "control" else [WORDS.get(one, "x") for one in needed]), *more]


LOOKING = dict(commands(main))


@pytest.mark.parametrize("name", LOOKING)
def test_a_command_that_looks_makes_no_file(liteq, project, name):
    done = liteq("-A", "shop", *words_of(name, LOOKING[name]))
    assert "there is no file" in done.err
    assert done.code == 69
    assert not list(project.glob("shop.db*"))


@pytest.mark.parametrize("other", ["another program's database", "an empty file"])
def test_a_file_without_a_queue_stays_as_it_is(liteq, project, other):
    path = project / "shop.db"
    path.touch()
    if other != "an empty file":
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE users (id)")
    before = path.read_bytes()
    for words in ("status", "dead list", "queue pause mail", "workflow show x", "doctor", "backup copy.db", "usage"):
        done = liteq("-A", "shop", *words.split())
        assert (done.code, "shop.db has no queue yet" in done.err) == (69, True), words
        assert [one.name for one in project.glob("*.db*")] == ["shop.db"], words
    assert path.read_bytes() == before


def test_a_queue_at_rest_that_doctor_looks_at_is_no_copy(liteq, project):
    assert liteq("-A", "shop", "migrate").code == 0
    assert "is a copy" not in liteq("-A", "shop", "doctor").err
