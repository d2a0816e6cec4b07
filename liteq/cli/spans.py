"""Options that are spans of time: seconds, or a number with a unit."""

from __future__ import annotations

import click

from liteq.policy.durations import seconds

__all__ = ["span_option"]


def span_option(_ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A callback: "90", "30s", "1m", "2h" in seconds. Raises UsageError for what is no span of time."""
    if value is None:
        return None
    name = param.opts[-1]
    try:
        found = seconds(float(value) if value.replace(".", "", 1).isdigit() else value, name)
        if not found:
            raise ValueError(f"{name} must be longer than 0: write 30s, 5m or 1h")
        return found
    except (TypeError, ValueError) as exc:
        raise click.UsageError(str(exc)) from None
