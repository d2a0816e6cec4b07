"""`liteq status`: the workers that live."""

from __future__ import annotations

import click

from liteq.cli.exits import Exit
from liteq.cli.group import Command
from liteq.cli.output import age, counted, emit, table
from liteq.cli.session import Session, pass_session
from liteq.cli.workers import documents, live

__all__ = ["status"]


@click.command(cls=Command)
@click.option("-d", "--destination", metavar="NAMES", help="Only these workers, comma-separated.")
@click.option("-t", "--timeout", type=float, expose_value=False, hidden=True)
@pass_session
def status(session: Session, /, destination: str | None) -> int:
    """Show the workers that live.

    Exits with 69 when there is none. Read from the file, so it returns at once. A worker that did not beat for
    `visibility_timeout` seconds, or whose process is gone, does not count.

    \b
    JSON: [{"name", "host", "pid", "leased", "started", "heartbeat", "queues", "concurrency", "pool", "processed", ...}]
    """
    workers = live(session, destination)
    found = documents(workers)
    now_ms = session.app.clock.now_ms()

    def show() -> None:
        head = ("worker", "status", "pid", "pool", "queues", "running", "processed", "heartbeat")
        table(
            session,
            head,
            [
                (
                    w["name"], "OK", w["pid"], f"{w.get('pool', '?')} x {w.get('concurrency', '?')}",
                    ",".join(w.get("queues", [])), w["leased"], w.get("processed"), age(now_ms, worker.heartbeat_ms),
                )
                for w, worker in zip(found, workers, strict=True)
            ],
            empty="no worker answers",
        )  # fmt: skip
        if found and session.on_terminal:
            click.echo(f"{counted(len(found), 'node')} online.")

    emit(session, found, show)
    return Exit.OK if workers else Exit.UNAVAILABLE
