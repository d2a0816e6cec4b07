"""A worker that runs the jobs of flows: `liteq worker --commands`."""

from __future__ import annotations

from collections.abc import Callable

import click

from liteq.context import App

__all__ = ["OF_COMMANDS", "afresh", "package_is_there", "with_commands"]

OF_COMMANDS = "*#commands"  # queues of flows' jobs: a glob of a worker without --commands does not mean them


def package_is_there() -> None:
    """Raises UsageError where the extra `flow` is not installed."""
    try:
        import liteq_flow  # noqa: F401 - asked for, to say what is missing
    except ModuleNotFoundError as exc:
        raise click.UsageError(f"flows need the extra `flow` of liteq: {exc}") from None


def with_commands(app: App, queues: list[str]) -> list[str]:
    """Have the app run jobs of flows; the queues with those of the jobs. Raises UsageError without the extra `flow`."""
    package_is_there()
    from liteq_flow.installing import take_commands

    return take_commands(app, queues)


def afresh(find: Callable[[], App]) -> Callable[[], App]:
    """`find`, by which a process that is started afresh finds its app, for one that runs jobs of flows."""
    from liteq_flow.installing import with_commands as having

    return having(find)
