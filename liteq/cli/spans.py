"""Options that are spans of time: seconds, or a number with a unit."""

from __future__ import annotations

import click

from liteq.policy.durations import limit_s

__all__ = ["span_option"]


def span_option(_ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A callback: "90", "30s", "1m", "2h" in seconds. Raises UsageError for what is no span of time."""
    if value is None:
        return None
    try:
        return limit_s(float(value) if value.replace(".", "", 1).isdigit() else value, param.opts[-1])
    except (TypeError, ValueError) as exc:
        raise click.UsageError(str(exc)) from None
