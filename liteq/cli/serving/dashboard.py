"""`liteq dashboard`: the pages over a queue's file, as a server of its own."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.listening import LOOPBACK, authority, is_loopback, listen
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.clock import SystemClock
from liteq.exceptions import ImproperlyConfigured, StorageUnavailable
from liteq.utils.service_manager import ServiceManager

if TYPE_CHECKING:
    from liteq.app import LiteQ
    from liteq_dashboard.guard.door import Door

__all__ = ["LOOPBACK", "PORT", "dashboard", "packages_are_there"]

PORT = 8765
OF_THE_LIST = frozenset({"enter", "leave", "login", "static"})  # the first words of paths beside those of the files


@click.command(cls=Command)
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="The port; 0: any.")
@click.option(
    "--host",
    default=LOOPBACK,
    show_default=True,
    metavar="ADDRESS",
    help="The address; another needs tokens or a proxy.",
)
@click.option("--read-only", is_flag=True, help="Nobody may act.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help='Viewers by their tokens: {"TOKEN": {"name": "ann", "rights": ["operator"], "queues": ["mail*"]}}, mode 600.',
)
@click.option("--user-header", metavar="NAME", help="The header in which a proxy names the user; with --trust.")
@click.option("--trust", metavar="NETWORK", multiple=True, help="The proxy's network: 10.0.0.0/8. May be repeated.")
@click.option(
    "--user-rights", metavar="RIGHTS", default="viewer", show_default=True,
    help="The rights of users that the proxy names and the token file does not: roles or rights, comma-separated.",
)  # fmt: skip
@click.option("--root-path", metavar="PATH", default="", help="The path below which a proxy shows it: /ops.")
@click.option("--db", metavar="PATHS", multiple=True, help="Files of several queues: 'tenants/*.db'. May be repeated.")
@pass_session
def dashboard(
    session: Session, /, port: int, host: str, read_only: bool, token_file: Path | None, user_header: str | None,
    trust: tuple[str, ...], user_rights: str, root_path: str, db: tuple[str, ...],
) -> int:  # fmt: skip
    """Show the queue in a browser: what waits, runs, fails and why.

    Writes a link that opens it: the link works once, within a minute. Only this machine may connect, unless users have
    tokens, or a proxy names them. Ends with Ctrl-C.

    \b
    JSON: {"url"}, when it serves
    """
    packages_are_there()
    is_local = is_loopback(host)
    if bool(user_header) != bool(trust):
        raise click.UsageError("--user-header and --trust belong together: the header, and its proxy's network")
    if user_rights != "viewer" and not user_header:
        raise click.UsageError("--user-rights are of users whom a proxy names: give --user-header and --trust, too")
    if not is_local and token_file is None and user_header is None:
        raise click.UsageError(f"{host} lets other machines connect: give --token-file, or --user-header and --trust")
    door = _door(port, root_path, token_file, user_header, trust, user_rights)
    apps = _apps(session, db)
    from liteq_dashboard import Viewer
    from liteq_dashboard.standalone import serve, standalone_app

    server = standalone_app(apps, door, read_only=read_only)
    with listen(host, port) as listening:
        at = f"http://{authority(host, listening.getsockname()[1])}{door.root}/"
        # The first line: a program that has started this reads the address off it.
        link = f"{at}enter/{door.key(Viewer('this machine', 'admin'))}" if is_local else at
        emit(session, {"url": link}, lambda: say(link))
        if (manager := ServiceManager.take()) is not None:
            manager.ready(f"serves {at}")
        serve(server, listening)
    for app in apps.values():
        app.close()
    return Exit.OK


def packages_are_there() -> None:
    """Raise ImproperlyConfigured where one of those is missing that the server needs."""
    from liteq_dashboard.hosts import check_packages

    check_packages("jinja2", "starlette", "uvicorn")


def _door(
    port: int, root_path: str, token_file: Path | None, user_header: str | None, trust: Sequence[str], user_rights: str
) -> Door:  # fmt: skip
    from liteq_dashboard.guard.door import Door, Proxy
    from liteq_dashboard.guard.tokens import Tokens

    rights = [right.strip() for right in user_rights.split(",") if right.strip()]
    root = f"/{root_path.strip('/')}" if root_path.strip("/") else ""
    return Door(
        clock=SystemClock(),
        tokens=Tokens.read(token_file) if token_file is not None else Tokens(),
        proxy=Proxy.of(user_header, trust, rights) if user_header else None,
        root=root,
        cookie=f"liteq_session_{port}",  # cookies of one host are common to all its ports
    )


def _apps(session: Session, patterns: Sequence[str]) -> dict[str, LiteQ]:
    """The apps by the names of their files; the session's own where no files are named."""
    if not patterns:
        session.storage.reader.next_due_ms()  # a file that cannot be read is told now
        session.tell_hidden(())
        return {"": session.app}
    from liteq.app import LiteQ
    from liteq.app.files import url_of
    from liteq.storage.engines import is_beside, is_followed

    found: dict[str, LiteQ] = {}
    names: list[str] = []
    for pattern in patterns:
        names += sorted(glob.glob(pattern))  # noqa: PTH207 - Path.glob takes no absolute pattern
    for path in dict.fromkeys(Path(name).absolute() for name in names):  # one of two patterns is one file
        if is_beside(path.name):
            continue
        if path.stem in OF_THE_LIST:
            raise ImproperlyConfigured(f"{path.name}: the dashboard uses /{path.stem} itself; rename the file")
        if path.stem in found:
            raise ImproperlyConfigured(f"two files are called {path.stem}: they would have the same path")
        mode = "?mode=ro" if is_followed(str(path)) else ""
        found[path.stem] = LiteQ(path.stem, broker=url_of(path) + mode)
    if not found:
        raise StorageUnavailable(f"there is no file {' '.join(patterns)}")
    return found
