"""`liteq version`: the versions of what matters."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click

from liteq._version import __version__
from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit
from liteq.cli.parts.session import Session, pass_session

__all__ = ["version", "versions"]

LIBRARIES = ("apsw", "orjson", "click", "pydantic-settings", "rich", "setproctitle")


def versions() -> dict[str, str | None]:
    """liteq, Python, the platform, and the libraries that liteq stands on."""
    return {
        "liteq": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _installed(name) for name in LIBRARIES},
    }


def _installed(name: str) -> str | None:
    try:
        return installed(name)
    except PackageNotFoundError:
        return None


@click.command(cls=Command)
@pass_session
def version(session: Session, /) -> int:
    """Show the versions of liteq and its libraries.

    \b
    JSON: {"liteq", "python", "platform", "apsw", ...}
    """
    found = versions()
    emit(session, found, lambda: click.echo("\n".join(f"{name:<18} {value}" for name, value in found.items())))
    return Exit.OK
