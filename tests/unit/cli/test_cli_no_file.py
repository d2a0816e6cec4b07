"""Commands that look, where nothing was sent yet: each says that there is no file, and makes none."""

from __future__ import annotations

from collections.abc import Iterator

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
