"""`liteq relay`: carry what is sent here to a gateway."""

from __future__ import annotations

import stat
from pathlib import Path

import click

from liteq.cli.parts.names import names
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.processes.process_options import ProcessCommand, log_level_option
from liteq.exceptions import ImproperlyConfigured

__all__ = ["relay"]


@click.command(cls=ProcessCommand)
@click.option("--to", required=True, metavar="URL", help="The gateway: https://queue.example.org, before its /v1.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with the gateway's token alone, mode 600.",
)
@click.option("-Q", "--queues", metavar="NAMES", help="The queues to carry, comma-separated; default: as a worker's.")
@click.option("--results", is_flag=True, help="Bring results back: a task ends here as it has ended there.")
@click.option("-n", "--hostname", metavar="NAME", help="The relay's name among the workers.")
@log_level_option("warnings")
@pass_session
def relay(
    session: Session, /, to: str, token_file: Path | None, queues: str | None, results: bool,
    hostname: str | None, loglevel: str | None,
) -> int:  # fmt: skip
    """Carry each message of this queue to a gateway, once, until TERM or INT.

    Programs send into the file here, online or not. A message that the gateway has taken has succeeded here; one that
    it refuses is a dead letter with the reason. While the gateway is away the messages wait, in their order.

    \b
    JSON: {"name", "queues", "to", "results"}, when it begins
    """
    from liteq.cli import logs
    from liteq.context.identity import expand_name
    from liteq.edge.relaying import Relay
    from liteq.edge.relaying.client import Client

    client = Client(to, "" if token_file is None else _token(token_file))
    name = expand_name(hostname or "relay@%h")
    wanted = names(queues)
    carried = wanted or session.app.default_queues()
    document = {"name": name, "queues": list(carried), "to": client.url, "results": results}
    emit(session, document, lambda: say(f"carries {', '.join(carried)} to {client.url}"))
    logs.set_up(session.app, loglevel, None, color=not session.no_color, form=session.log_form, worker=name)
    return Relay(session.app, client, results=results, queues=wanted, hostname=name).run()


def _token(path: Path) -> str:
    """The token in the file. Raises ImproperlyConfigured where others may read it, and for what is none."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ImproperlyConfigured(f"the file of the token {path} cannot be read: {exc}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise ImproperlyConfigured(f"others may read the file of the token {path}: chmod 600 {path}")
    if not text or len(text.split()) != 1 or text.startswith("{"):
        raise ImproperlyConfigured(f"the file {path} holds the token alone, without a blank")
    return text
