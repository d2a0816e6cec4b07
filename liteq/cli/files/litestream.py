"""`liteq litestream`: a configuration by which Litestream copies the queue elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.exceptions import ImproperlyConfigured

__all__ = ["litestream"]

LONGEST_SOCKET = 107  # sun_path of Linux, less the final zero


@click.command(cls=Command)
@click.option("--to", "replica", metavar="REPLICA_URL", required=True, help="s3://BUCKET/PATH, sftp://..., file:///...")
@click.option("--socket", metavar="PATH", help="Its control socket; default: the setting, else one beside the queue.")
@pass_session
def litestream(session: Session, /, replica: str, socket: str | None) -> int:
    """Print a configuration for Litestream, which copies the queue to REPLICA_URL while it is used.

    Write it to a file, and start `litestream replicate -config FILE` before the workers. A replica comes back into use
    by `liteq restore litestream://REPLICA_URL` alone. Nothing is written, and no process is started.

    \b
    JSON: {"path", "replica", "socket", "configuration"}
    """
    from liteq.operating.litestream.configuration import Configuration
    from liteq.operating.litestream.source import checked_replica
    from liteq.storage import describe_url

    conf = session.app.conf
    place = describe_url(session.app.broker_url, conf.sqlite_driver)
    if place.kind != "file":
        raise ImproperlyConfigured(f"{place.where} is no file: Litestream copies files, a server has its own replicas")
    path = str(Path(place.where).resolve())  # as a driver has it: by this path Litestream is asked for it
    control = socket or conf.litestream_socket or f"{path}-litestream.sock"
    if len(os.fsencode(Path(control).absolute())) > LONGEST_SOCKET:
        raise ImproperlyConfigured(
            f"{control} is no socket's path: it has {LONGEST_SOCKET} bytes at most: name a shorter one with --socket"
        )
    made = Configuration(path, checked_replica(replica), str(Path(control).expanduser().absolute()), conf.file_mode)
    document = {"path": path, "replica": replica, "socket": made.socket, "configuration": made.text()}
    emit(session, document, lambda: say(made.text().rstrip()))
    return Exit.OK
