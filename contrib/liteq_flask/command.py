"""`flask liteq ...`: the whole command line `liteq`, for the queue of the app that `flask` has found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from liteq.app import LiteQ

__all__ = ["command_of"]


def command_of(queue: LiteQ) -> click.Command:
    """The command for `queue`; liteq reads the words after it, `--help` too."""

    @click.command(
        "liteq",
        short_help="The task queue: worker, beat, status, dead, inspect, ...",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )
    @click.argument("args", nargs=-1, type=click.UNPROCESSED)
    def liteq(args: tuple[str, ...]) -> None:
        from liteq.cli import main
        from liteq.cli.parts.session import Session

        session = Session()
        session.app_name = queue
        main.main(args=list(args), prog_name="flask liteq", obj=session)

    return liteq
