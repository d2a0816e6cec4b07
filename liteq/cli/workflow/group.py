"""The group `liteq workflow`, in the order in which its commands are listed."""

from __future__ import annotations

import click

from liteq.cli.group import Group

__all__ = ["workflow"]


class InOrder(Group):
    """A group that lists its commands as they were added."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder)
def workflow() -> None:
    """Runs of workflows: list, show, approve, cancel, resume after a deploy, replay against new code."""
