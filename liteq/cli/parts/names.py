"""Names on the command line: lists of them, and the error for one that is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import click

from liteq.exceptions.texts import alike

__all__ = ["filled", "names", "one_of", "unknown"]

Callback = Callable[[click.Context, click.Parameter, str | None], str | None]
NO_HINTS: Mapping[str, str] = {}


def names(text: str | None) -> list[str] | None:
    """The parts of a comma-separated list; None for none."""
    return None if text is None else [part for name in text.split(",") if (part := name.strip())]


def filled(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A callback for an option that narrows what is acted on: one without a name in it would let all pass.

    So a script's variable that is empty, as in `purge --force -Q "$QUEUES"`, deletes nothing.
    """
    if value is not None and not names(value):
        raise click.BadParameter("there is no name in it; leave it out where all are meant")
    return value


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> click.UsageError:
    """The error for a `name` of some `kind` that is not among `known`: it tells the nearest, and all that there are."""
    names_known = [str(one) for one in known]
    plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
    near = alike(name.lower(), names_known)
    nearest = f"nearest: {', '.join(repr(one) for one in near)}; " if near else ""
    return click.UsageError(f"unknown {kind} {name!r}; {nearest}{plural}: {', '.join(names_known) or 'none'}{hint}")


def one_of(kind: str, known: Iterable[str], hints: Mapping[str, str] = NO_HINTS) -> Callback:
    """A callback for an option whose value is one of several names, in either case. `hints`: more on wrong ones."""
    names_known = [str(one) for one in known]

    def check(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
        if value is None or value.lower() in names_known:
            return value and value.lower()
        error = unknown(kind, value, names_known, hint=hints.get(value, ""))
        error.ctx = ctx
        raise error

    return check
