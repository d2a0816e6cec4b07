"""The small things that adapters to host frameworks share. Imports no package of the extra."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from liteq.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from liteq_dashboard.access import Viewer

__all__ = ["as_written", "check_packages", "path_below", "viewer_of"]


def check_packages(*names: str) -> None:
    """Raise ImproperlyConfigured where one of the packages is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        several = "s" if len(missing) > 1 else ""
        raise ImproperlyConfigured(
            f"the dashboard needs the package{several} {' and '.join(missing)}: pip install {' '.join(missing)}"
        )


def path_below(whole: str, line: str, rest: str | None) -> tuple[str, str]:
    """The dashboard's base as a browser writes it, and the path below it, out of the `whole` path of a request.

    `line` is the path of the route that the host has found, `rest` what its last route of all has caught.
    """
    n = len(rest) if rest is not None else len("/".join(whole.split("/")[-len(line.split("/")) :])) if line else 0
    return as_written(whole[: len(whole) - n].rstrip("/")), whole[len(whole) - n :]


def as_written(base: str) -> str:
    """A path of a host's, decoded, as a browser writes it."""
    return quote(base, safe="/~@:+$,;=")


def viewer_of(access: Callable[[Any], Any], request: object) -> Viewer | None:
    """The viewer that `access` makes of the request of a framework that has threads; it may be async."""
    found: Any = access(request)
    if inspect.iscoroutine(found):
        from liteq.utils.coroutines import run_coroutine

        found = run_coroutine(found)
    viewer: Viewer | None = found
    return viewer
