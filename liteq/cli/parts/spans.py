"""Options that are times: spans, as 90, 90s or 2h30m, and moments, as a date in ISO format or a span before now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from liteq.clock import to_ms
from liteq.utils.durations import seconds, to_span_ms

__all__ = ["SPAN", "since", "span_option"]


class Span(click.ParamType):  # type: ignore[type-arg] # newer versions of click alone have one
    """A span of time: "90", "30s", "1m", "2h30m"; the command gets seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, _ctx: click.Context | None) -> float:
        """`value` in seconds. Raises UsageError for what is no span of time."""
        name = param.opts[-1] if isinstance(param, click.Option) else "SPAN"
        try:
            return seconds(value, name)
        except (TypeError, ValueError) as exc:
            raise click.UsageError(str(exc)) from None


SPAN = Span()


def span_option(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A callback: as `SPAN`, of which there is some. Raises UsageError for what is no span of time, and for 0."""
    if value is None:
        return None
    found = SPAN.convert(value, param, ctx)
    if not found:
        raise click.UsageError(f"{param.opts[-1]} must be longer than 0: write 30s, 5m or 1h")
    return found


def since(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """A callback for a time in the past, in ms: a span up to now, as 2h, or a date in ISO format (without a zone: UTC).

    A span is negative: it is counted back from the app's clock, which is known later.
    """
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        pass
    else:
        return to_ms(at if at.tzinfo else at.replace(tzinfo=UTC))
    try:
        return -to_span_ms(value)
    except ValueError:
        text = f"{value!r} is neither a span, as 2h or 7d, nor a date, as 2026-11-28 or 2026-11-28T09:30"
        raise click.BadParameter(text) from None
