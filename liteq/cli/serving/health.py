"""`liteq health`: the probe of an init system or a container platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.voice import VOICE

if TYPE_CHECKING:
    from liteq.monitor.health import Health

__all__ = ["health"]


@click.command(cls=Command)
@click.option("--live", is_flag=True, help="Whether a worker of this host lives.")
@click.option("--ready", is_flag=True, help="Whether one of them takes tasks; so too where neither is said.")
@click.option("-n", "--hostname", metavar="NAME", help="Only the worker of this name; %h in it is the host.")
@pass_session
def health(session: Session, /, live: bool, ready: bool, hostname: str | None) -> int:
    """Tell whether a worker of this host lives and takes tasks, for probes.

    Exits with 69, and says why, when none does, or when the file is absent or locked. It asks the file and the
    kernel, not the worker, so it answers at once while tasks run. In a container it sees the workers of that one.
    A worker that is silent while another process has the write lock lives, but is not ready.

    \b
    JSON: {"ok", "probe": "live"|"ready", "reason", "workers": [{"name", "pid", "state", "heartbeat_s", "detail"}]}
    """
    probe = "live" if live and not ready else "ready"
    found = _look(session, ready=probe == "ready", name=hostname)
    workers = [one._asdict() for one in found.workers]
    document = {"ok": found.ok, "probe": probe, "reason": found.reason, "workers": workers}

    def show() -> None:
        if found.ok:
            say(f"{probe}: {found.reason}")
        else:
            VOICE.say("error", f"not {probe}: {found.reason}")

    emit(session, document, show)
    return Exit.OK if found.ok else Exit.UNAVAILABLE


def _look(session: Session, *, ready: bool, name: str | None) -> Health:
    """Ask the file that the session names. No app is imported where the environment says which: a probe runs often."""
    from liteq.clock import SystemClock
    from liteq.context.identity import expand_name
    from liteq.context.living import late_after_ms
    from liteq.monitor.health import PATIENCE_S, Health, health
    from liteq.settings import Source
    from liteq.storage import describe_url, open_driver

    conf = session.conf_without_app()
    by_app = session.has_app and conf.given("broker_url").source < Source.ENVIRONMENT  # which outranks an app's code
    if by_app:
        conf = session.app.conf
    url = session.app.broker_url if by_app else str(conf.broker_url)
    if missing := describe_url(url).missing:
        return Health(False, missing, [])
    if by_app:  # a framework may have a way of its own to open it
        driver = session.app.open_storage(busy_timeout_s=PATIENCE_S).driver
    else:
        network = conf.allow_network_filesystem
        driver = open_driver(
            url, driver=conf.sqlite_driver, busy_timeout_s=PATIENCE_S, allow_network_filesystem=network
        )
    late_ms, now_ms = late_after_ms(conf.visibility_timeout), driver.clock_over(SystemClock()).now_ms()
    return health(driver, now_ms=now_ms, late_ms=late_ms, ready=ready, name=expand_name(name) if name else None)
