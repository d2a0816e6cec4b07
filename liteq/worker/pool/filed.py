"""Leases of several files in one pool: each takes the URL of its file along, to where it is executed.

A worker of one file has none of this, and a lease no field for it: where there is a file, it stands before what `run`
has, under a flag that is asked for together with others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

from liteq.context import App
from liteq.message import Flag, Lease

__all__ = ["at_its_file", "filed", "unfiled"]

P = ParamSpec("P")
R = TypeVar("R")

FILED = Flag.FILED


def filed(lease: Lease, url: str) -> Lease:
    """`lease` as one of the file `url`."""
    return lease._replace(flags=lease.flags | FILED, run=(url, lease.run))


def unfiled(lease: Lease) -> tuple[str, Lease]:
    """The URL of the file of a lease that was made by `filed`, and the lease as its storage knows it."""
    url, run = lease.run or ("", None)
    return url, lease._replace(flags=lease.flags & ~FILED, run=run)


def at_its_file(
    function: Callable[Concatenate[App, Lease, P], R],
) -> Callable[Concatenate[App, Lease, P], R]:
    """Have `function`, of an app and a lease, called where the file of the lease counts."""

    @wraps(function)
    def inside(app: App, lease: Lease, *args: P.args, **kwargs: P.kwargs) -> R:
        if not lease.flags & FILED:
            return function(app, lease, *args, **kwargs)
        url, own = unfiled(lease)
        with app.at_home(url):
            return function(app, own, *args, **kwargs)

    return cast("Callable[Concatenate[App, Lease, P], R]", inside)
