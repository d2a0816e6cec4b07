"""The group `liteq flow`."""

from __future__ import annotations

import click

from liteq.cli.workflow.group import InOrder

__all__ = ["flow", "package_is_there"]


@click.group(cls=InOrder)
def flow() -> None:
    """Flows: a YAML file is a run. Validate, draw, run and schedule it."""


def package_is_there() -> None:
    """Raises UsageError where the extra `flow` is not installed."""
    try:
        import liteq_flow  # noqa: F401 - asked for, to say what is missing
    except ModuleNotFoundError as exc:
        raise click.UsageError(f"liteq flow needs the extra `flow`: pip install 'liteq[flow]' ({exc})") from None
