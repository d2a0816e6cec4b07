"""Rows of what people type: the commands and their options."""

from __future__ import annotations

from collections.abc import Iterator

import click
from surface_row import Row

from liteq.cli import main

__all__ = ["commands", "of_commands", "shown_value"]


def of_commands() -> Iterator[Row]:
    """Each command with its arguments, then each option once, with the commands that have it."""
    found = dict(commands())
    for path, command in found.items():
        arguments = [one for one in command.params if isinstance(one, click.Argument)]
        words = " ".join(one.make_metavar(click.Context(command)) for one in arguments)
        yield Row("command", path, f"`{words}`" if words else "", command.get_short_help_str(160))
    takers: dict[tuple[str, str], list[str]] = {}
    for path, command in found.items():
        for option in options(command):
            names = " ".join((*option.opts, *option.secondary_opts))
            takers.setdefault((names, shown_value(option)), []).append(path.removeprefix("liteq ") or "all")
    for (names, value), paths in sorted(takers.items(), key=lambda one: (one[0][0].lstrip("-").lower(), one[0])):
        yield Row("flag", names, value, ", ".join("all" if path == "liteq" else path for path in paths))


def commands() -> Iterator[tuple[str, click.Command]]:
    """Each command by its path, `liteq` itself first."""
    yield from _below(main, "liteq")


def _below(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            if sub is not None and not sub.hidden:
                yield from _below(sub, f"{path} {name}")


def options(command: click.Command) -> list[click.Option]:
    """The options of a command that its help shows, without `--help` and the global ones."""
    return [one for one in command.params if isinstance(one, click.Option) and not one.hidden]


def shown_value(option: click.Option) -> str:
    """The word behind an option in its help; "" for a switch."""
    return "" if option.is_flag or option.count else option.metavar or option.type.name.upper()
