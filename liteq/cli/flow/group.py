"""The group `liteq flow`."""

from __future__ import annotations

import click

from liteq.cli.workflow.group import InOrder

__all__ = ["flow"]


@click.group(cls=InOrder)
def flow() -> None:
    """Flows: a YAML file is a run. Validate, draw, run and schedule it."""
