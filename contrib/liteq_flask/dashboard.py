"""The dashboard as a blueprint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from flask import Blueprint, Request

if TYPE_CHECKING:
    from liteq_dashboard import Viewer

__all__ = ["dashboard"]


def dashboard(
    *,
    access: Callable[[Request], Awaitable[Viewer | None] | Viewer | None] | None = None,
    name: str = "liteq_dashboard",
    read_only: bool = False,
    origins: Iterable[str] = (),
    framed_by: Iterable[str] = (),
) -> Blueprint:
    """The blueprint, for the queue of the app that it is registered on, with a `url_prefix`.

    `access`: a function, which may be async, that makes a `liteq_dashboard.Viewer` of Flask's request; None: 401.
    Without it this machine alone may look, not by way of a proxy. `read_only`: nobody may act. `origins`: other origins
    from which forms may come. `framed_by`: origins that may show it in a frame. Raises ImproperlyConfigured where
    Jinja2 is not installed.
    """
    from liteq_dashboard.hosts import check_packages

    check_packages("jinja2")
    from liteq_flask.board import blueprint_of

    options = {"read_only": read_only, "origins": tuple(origins), "framed_by": tuple(framed_by)}
    return blueprint_of(name, access, options)
