"""`liteq gateway`: the queue over HTTP, for programs in any language, and for those that speak SQS."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.listening import LOOPBACK, authority, is_loopback, listen
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.utils.service_manager import ServiceManager

__all__ = ["PORT", "gateway"]

PORT = 9324


@click.command(cls=Command)
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="The port; 0: any.")
@click.option(
    "--host", default=LOOPBACK, show_default=True, metavar="ADDRESS", help="The address; another one needs --key-file."
)
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help='Programs by their tokens: {"TOKEN": {"name": "shop", "queues": ["mail*"], "tasks": ["shop.*"]}}, mode 600.',
)
@pass_session
def gateway(session: Session, /, port: int, host: str, key_file: Path | None) -> int:
    """Take tasks, give out leases and results over HTTP, until TERM or INT.

    `POST /v1/tasks` sends, `POST /v1/leases` leases for a worker in any language; /v1/openapi.json describes all calls.
    The same address speaks SQS. Only programs of this machine may ask, unless there is a file of keys. TLS is a
    proxy's.

    \b
    JSON: {"url"}, when it serves
    """
    if not is_loopback(host) and key_file is None:
        raise click.UsageError(f"{host} lets other machines connect: give --key-file")
    from liteq.edge import gateway as made
    from liteq.edge.server import Server

    session.storage.reader.next_due_ms()  # a file that cannot be read is told now
    door = made(session.app, key_file=key_file)
    with listen(host, port) as listening:
        server = Server(listening, door, read_timeout_s=session.app.conf.gateway_read_timeout)
        at = f"http://{authority(host, listening.getsockname()[1])}/"
        emit(session, {"url": at}, lambda: say(at))  # first: who started this reads it

        def stop(_signum: int, _frame: FrameType | None) -> None:
            server.is_ending = True
            threading.Thread(target=server.shutdown, daemon=True).start()  # it waits for the loop that is interrupted

        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, stop)
        if (manager := ServiceManager.take()) is not None:
            manager.ready(f"serves {at}")
        server.serve_forever(poll_interval=0.1)
    door.close()
    session.app.close()
    return Exit.OK
