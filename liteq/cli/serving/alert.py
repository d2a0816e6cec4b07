"""`liteq alert`: tell somebody of what is wrong, without another server."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from liteq.alerts import Target, Watch, alerts
from liteq.alerts.targets import deliver
from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import counted, emit, table
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import span_option
from liteq.cli.processes.beat import stopped_by_signals
from liteq.exceptions import ImproperlyConfigured, LiteqError
from liteq.settings import Source

__all__ = ["alert"]


@click.command(cls=Command)
@click.option(
    "--to", "targets", multiple=True, metavar="TARGET",
    help="A URL, mailto:ADDRESS, or a command of the shell; may be given several times. Default: the setting alert_to.",
)  # fmt: skip
@click.option(
    "--every", metavar="SPAN", callback=span_option, help="Time between two looks: 30s, 1m. Default: alert_every."
)
@click.option("--once", is_flag=True, help="Look once, tell, and exit, for cron: with 1 if a target was not told.")
@click.option("--test", is_flag=True, help="Send a test to each target, and exit: with 1 if one was not told.")
@click.option("--deliver", "is_teller", is_flag=True, hidden=True, help="Tell a target of what stands on stdin.")
@pass_session
def alert(
    session: Session, /, targets: tuple[str, ...], every: float | None, once: bool, test: bool, is_teller: bool
) -> int:
    """Tell targets of trouble: once when it begins, once when all is well again. Without a target, show it and exit.

    Trouble is: no worker, a queue whose head waits, failures of a task, new dead letters, a late schedule, a stuck run,
    an approval that waits, and warnings of the storage. The settings alert_* say how much of it is trouble. The file
    keeps which target was told what, so several watches, and workers with alert_to, may run: a target is told once.

    \b
    JSON, without a target: [{"rule", "subject", "text"}]
    """
    if is_teller:
        return _deliver()
    app = session.app
    if every is not None:
        app.conf.apply({"alert_every": every}, Source.COMMAND_LINE, "the command line")
    chosen = [Target.of(address) for address in targets or map(str, app.conf.alert_to)]
    storage = session.storage
    if not chosen:
        if once or test or every is not None:
            raise click.UsageError("name a target: --to URL, --to mailto:ADDRESS or --to 'COMMAND'")
        return _show(session)
    storage.migrate()
    watch = Watch(app, chosen)
    if test:
        return Exit.OK if watch.test() else Exit.FAILED
    if once:
        return Exit.OK if watch.once() else Exit.FAILED
    session.note(f"looking each {app.conf.alert_every:g} s for {counted(len(chosen), 'target')}")
    stop = stopped_by_signals()
    while not stop.is_set():
        watch.turn()
        stop.wait(max(0.0, watch.due_at - time.monotonic()))
    watch.finish()
    return Exit.OK


def _show(session: Session) -> int:
    found = alerts(session.app)
    document = [{"rule": one.rule, "subject": one.subject, "text": one.text} for one in found]
    rows = [(one.rule, one.subject, one.text) for one in found]
    emit(session, document, lambda: table(session, ("rule", "subject", "text"), rows, empty="all is well"))
    return Exit.FAILED if found else Exit.OK


def _deliver() -> int:
    given: dict[str, Any] = json.load(sys.stdin)
    try:
        deliver(given["address"], given["document"], given["mail"])
    except LiteqError:
        raise
    except OSError as exc:  # of urllib, smtplib, ssl and socket alike
        raise ImproperlyConfigured(f"{type(exc).__name__}: {exc}") from None
    return Exit.OK
