"""`liteq mcp`: the queue for agents, by the Model Context Protocol."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.listening import LOOPBACK, authority, listen
from liteq.cli.parts.names import filled
from liteq.cli.parts.output import emit, json_text, say
from liteq.cli.parts.session import Session, pass_session
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.service_manager import ServiceManager

if TYPE_CHECKING:
    from liteq_dashboard.access import Viewer
    from liteq_dashboard.guard.tokens import Tokens
    from liteq_mcp.options import Options

__all__ = ["mcp"]

PACKAGES = ("mcp", "starlette", "uvicorn")
CARRIED = frozenset({"CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "DJANGO_SETTINGS_MODULE"})


@click.command(cls=Command)
@click.option("--http", metavar="HOST:PORT", help="Listen there, at the path /mcp; without it: stdin and stdout.")
@click.option(
    "--allow", metavar="RIGHTS", help="Rights or roles, comma-separated, or all; default: view,payloads.",
)  # fmt: skip
@click.option("--queues", metavar="NAMES", callback=filled, help="Only these queues are there, comma-separated.")
@click.option("--tasks", metavar="NAMES", help="Tasks that get a tool of their own, run_NAME, comma-separated.")
@click.option("--workflows", metavar="NAMES", callback=filled, help="Workflows that may be started, comma-separated.")
@click.option(
    "--unasked", "--yes", "unasked", metavar="ACTIONS", multiple=True, help="Ask no person before these: delete,purge."
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help='With --http: viewers by their tokens: {"TOKEN": {"name": "ann", "rights": ["view"], "queues": ["mail*"]}}.',
)
@click.option("--print-config", is_flag=True, help="Print the entry for a client's configuration, and end.")
@pass_session
def mcp(
    session: Session, /, http: str | None, allow: str | None, queues: str | None, tasks: str | None,
    workflows: str | None, unasked: tuple[str, ...], token_file: Path | None, print_config: bool,
) -> int:  # fmt: skip
    """Show the queue to agents: tools that look, and those that act for which --allow gives the right.

    Read-only unless --allow says more. What deletes, purges, terminates, rewinds, approves or sends by any name asks a
    person first, by way of the client; --unasked turns that off for an action. --tasks and --workflows are permissions
    of their own. Over HTTP only this machine may connect, unless there is a token file.

    \b
    JSON: with --http {"url"}, when it serves; with --print-config the entry of a client
    """
    if print_config:
        say(json_text(_entry(session, http, token_file)))
        return Exit.OK
    if token_file is not None and http is None:
        raise click.UsageError("--token-file goes with --http: over stdin and stdout there is one client")
    if token_file is not None and queues:
        raise click.UsageError("with --token-file the queues of each token stand there: leave out --queues")
    from liteq_dashboard.hosts import check_packages

    check_packages(*PACKAGES)
    from liteq_dashboard.access import RIGHTS
    from liteq_mcp.options import DEFAULT_RIGHTS, Options, rights_of

    chosen = Options(_globs(tasks) or (), _globs(workflows), frozenset(_globs(",".join(unasked)) or ()))
    rights = rights_of(allow) if allow is not None else RIGHTS if token_file is not None else DEFAULT_RIGHTS
    viewer = _viewer(session, rights, _globs(queues))
    with contextlib.redirect_stdout(sys.stderr):  # stdout is the client's, whatever the app's modules print
        _open(session, viewer, chosen)
        if http is None:
            chosen.own_tasks(session.app)
    if http is None:
        from liteq_mcp.stdio import serve_stdio

        with _ended_by_interrupts():
            serve_stdio(session.app, viewer, chosen)
    else:
        _serve(session, http, viewer, chosen, token_file)
    session.app.close()
    return Exit.OK


@contextlib.contextmanager
def _ended_by_interrupts() -> Iterator[None]:
    """Have Ctrl-C end this process at once: the thread that reads stdin would be waited for until the next line."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _globs(text: str | None) -> tuple[str, ...] | None:
    return None if not text else tuple(part.strip() for part in text.split(",") if part.strip())


def _viewer(session: Session, rights: tuple[str, ...], queues: tuple[str, ...] | None) -> Viewer:
    """The user of this command, with these rights. Raises ImproperlyConfigured for a right that is none."""
    from liteq_dashboard.access import Viewer

    try:
        return Viewer(session.actor().name, rights, queues)
    except ValueError as exc:
        raise ImproperlyConfigured(str(exc)) from None


def _open(session: Session, viewer: Viewer, options: Options) -> None:
    """Open the file and import the app's tasks: they say what is sensitive, and what can be sent.

    A server that sends makes the file where there is none, as a producer does; one that looks does not.
    """
    if options.tasks or options.workflows:
        session.import_commands()
    else:
        session.tell_hidden(())
    sends = bool(options.tasks or options.workflows) or viewer.can("send") or viewer.can("workflows")
    storage = session.app.storage if sends and session.has_app else session.storage
    storage.reader.next_due_ms()  # a file that cannot be read is told now


def _serve(
    session: Session, http: str, viewer: Viewer, options: Options, token_file: Path | None
) -> None:  # fmt: skip
    from liteq_mcp.http import PATH, http_app, is_loopback, serve

    host, port = _address(http)
    tokens: Tokens | None = None
    if token_file is not None:
        from liteq_dashboard.guard.tokens import Tokens

        tokens = Tokens.read(token_file)
    elif not is_loopback(host):
        raise click.UsageError(f"{host} lets other machines connect: give --token-file")
    server = http_app(session.app, viewer, options, host=host, tokens=tokens)
    with listen(host, port) as listening:
        at = f"http://{authority(host, listening.getsockname()[1])}{PATH}"
        emit(session, {"url": at}, lambda: say(at))  # first: who started this reads it
        if (manager := ServiceManager.take()) is not None:
            manager.ready(f"serves {at}")
        serve(server, listening)


def _address(text: str) -> tuple[str, int]:
    """The host and the port of `--http`; a port alone is this machine's."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise click.UsageError(f"--http takes HOST:PORT, as in {LOOPBACK}:8766, not {text!r:.100}")
    return host.strip("[]") or LOOPBACK, int(port)


def _entry(session: Session, http: str | None, token_file: Path | None) -> dict[str, Any]:
    """The entry for a client's configuration: this command as it was called; with --http the address of its server.

    A client starts the command in another folder and environment: so the entry says all that the command finds here.
    """
    if http is not None:
        from liteq_mcp.http import PATH

        host, port = _address(http)
        if not port:
            raise click.UsageError("--print-config with --http takes the port of the server, not 0")
        headers = {"headers": {"Authorization": "Bearer TOKEN"}} if token_file is not None else {}
        return {"mcpServers": {"liteq": {"type": "http", "url": f"http://{authority(host, port)}{PATH}", **headers}}}
    found = shutil.which("liteq")
    program = [found] if found else [sys.executable, "-m", "liteq"]
    here = str(Path.cwd())
    words = [*program[1:], *_without_workdir(sys.argv[1:]), "--workdir", here]
    env = {name: text for name, text in os.environ.items() if name in CARRIED or name.startswith("LITEQ_")}
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(Path(session.started_in or here, one)) for one in before if one]
    if session.has_app:
        paths.insert(0, here)
    if paths:
        env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return {"mcpServers": {"liteq": {"command": program[0], "args": words, **({"env": env} if env else {})}}}


def _without_workdir(words: list[str]) -> list[str]:
    """The words of this command without --print-config, and without --workdir, for which the whole path is added."""
    kept: list[str] = []
    given = iter(words)
    for word in given:
        if word == "--workdir":
            next(given)
        elif word != "--print-config" and not word.startswith("--workdir="):
            kept.append(word)
    return kept
