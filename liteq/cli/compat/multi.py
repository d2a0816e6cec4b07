"""`liteq multi`: several workers in the background, started and ended by their names."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from liteq.cli.compat.nodes import Cluster, Node, expand, parse
from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import unknown
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.processes.daemon import holder, lives

__all__ = ["multi"]

LOOK_S = 0.1  # between two looks whether a process has ended


class Multi:
    """One call: the nodes, and the options of `liteq` before `multi`."""

    def __init__(self, cluster: Cluster, global_options: list[str], *, quiet: bool) -> None:
        self.cluster = cluster
        self.global_options = global_options
        self.quiet = quiet or bool({"--quiet", "-q"} & cluster.flags)

    def start(self) -> int:
        """Start those that do not run yet; 1 when one could not be."""
        self.say("> Starting nodes...")
        started = [self.start_node(node) for node in self.cluster.nodes]
        return Exit.OK if all(started) else Exit.FAILED

    def stop(self) -> int:
        """Tell them to end, and return at once."""
        self.signalled(self.signum(signal.SIGTERM))
        return Exit.OK

    def stopwait(self) -> int:
        """Tell them to end, and wait until all have."""
        self.wait(self.signalled(self.signum(signal.SIGTERM)))
        return Exit.OK

    def restart(self) -> int:
        """End them, and start each that has ended; 1 when one could not be started."""
        self.stopwait()
        return self.start()

    def kill(self) -> int:
        """End them at once; what they were doing runs again elsewhere."""
        self.signalled(signal.SIGKILL)
        return Exit.OK

    def show(self) -> int:
        """Write the command line of each."""
        for node in self.cluster.nodes:
            click.echo(shlex.join(self.command(node)))
        return Exit.OK

    def names(self) -> int:
        """Write their whole names."""
        for node in self.cluster.nodes:
            click.echo(node.name)
        return Exit.OK

    # -- parts -------------------------------------------------------------------------------------------------------

    def command(self, node: Node) -> list[str]:
        """The command line that starts `node`."""
        program = [self.cluster.executable or sys.executable]
        if self.cluster.cmd is None:
            program += ["-m", "liteq", *self.global_options, "worker", "--detach"]
        else:
            program += shlex.split(self.cluster.cmd)
        return [*program, *node.arguments]

    def start_node(self, node: Node) -> bool:
        """Start one; it lives, under its pidfile, when this returns True."""
        command = self.command(node)
        if "--verbose" in self.cluster.flags:
            self.say(f"\t{shlex.join(command)}")
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
        self.say(f"\t> {node.name}: " + ("OK" if done.returncode == 0 else f"FAILED (exit code {done.returncode})"))
        return done.returncode == 0

    def signum(self, default: signal.Signals) -> signal.Signals:
        """That which the words named, else `default`."""
        said = self.cluster.signal
        if said is None:
            return default
        try:
            return signal.Signals(int(said)) if said.isdigit() else signal.Signals["SIG" + said.removeprefix("SIG")]
        except (KeyError, ValueError):
            raise click.UsageError(f"unknown signal {said!r}; write -TERM, -QUIT, -HUP and the like") from None

    def signalled(self, signum: signal.Signals) -> dict[Node, int]:
        """Send a signal to those that live; the process of each."""
        self.say("> Stopping nodes...")
        living: dict[Node, int] = {}
        for node in self.cluster.nodes:
            pid = holder(node.pidfile)
            if pid is None:
                self.say(f"\t> {node.name}: DOWN")
                continue
            self.say(f"\t> {node.name}: {signum.name.removeprefix('SIG')} -> {pid}")
            try:
                os.kill(pid, signum)
            except ProcessLookupError:
                continue
            except PermissionError:
                raise click.ClickException(f"process {pid} of {node.name} is another user's") from None
            living[node] = pid
        return living

    def wait(self, living: dict[Node, int]) -> None:
        """Until these have ended, however long their tasks take."""
        if living:
            self.say(f"> Waiting for {len(living)} node{'s' * (len(living) > 1)}...")
        while living:
            for node, pid in list(living.items()):
                if not lives(pid):
                    del living[node]
                    self.say(f"\t> {node.name}: OK")
            if living:
                time.sleep(LOOK_S)

    def say(self, text: str) -> None:
        if not self.quiet:
            click.echo(text)


ACTIONS: dict[str, Callable[[Multi], int]] = {
    "start": Multi.start,
    "stop": Multi.stop,
    "stopwait": Multi.stopwait,
    "stop_verify": Multi.stopwait,  # Celery's older name
    "restart": Multi.restart,
    "kill": Multi.kill,
    "show": Multi.show,
    "names": Multi.names,
}


# All words after ACTION are for the workers: click would look for options of ours, and find -b in -ldebug.
@click.command(cls=Command, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="ACTION NODES [OPTIONS]...")
@pass_session
def multi(session: Session, /, words: tuple[str, ...]) -> int:
    """Start and end several workers in the background, as `celery multi` does.

    ACTION: start, stop (tell them to end), stopwait (and wait), restart, kill, show (the command lines), names,
    expand TEMPLATE, get NAME. NODES: names (name, name@host, name@%h), or a number. OPTIONS: those of `liteq worker`;
    `-c:1 10`, `-c:2-3 4`, `-c:name 10` for some nodes only. A pidfile for each (--pidfile, else %n.pid) tells stop and
    restart which process is meant; a log for each (--logfile, else %n.log). With stop and restart, -QUIT or another
    signal instead of TERM.

    \b
    liteq multi start 3 -A proj -c 4 -c:1 16 --pidfile=/run/proj/%n.pid --logfile=/var/log/proj/%n.log
    liteq multi stopwait 3 --pidfile=/run/proj/%n.pid
    """
    action, *rest = words or ("help",)
    if action == "help" or {"--help", "-h"} & set(rest):
        click.echo(click.get_current_context().get_help())
        return Exit.OK
    if action == "expand":
        return _expand(rest)
    if action == "get":
        return _get(session, rest)
    if action not in ACTIONS:
        raise unknown("action", action, [*ACTIONS, "expand", "get"])
    return ACTIONS[action](_multi(session, rest))


def _expand(words: list[str]) -> int:
    """Write a template such as %n.log for each node."""
    if len(words) < 2:
        raise click.UsageError("usage: liteq multi expand TEMPLATE NODES")
    for node in parse(words[1:]).nodes:
        click.echo(expand(words[0], node.name))
    return Exit.OK


def _get(session: Session, words: list[str]) -> int:
    """Write the options of one node; 1 where there is none of that name."""
    made = _multi(session, words[1:])
    found = [node for node in made.cluster.nodes if words[0] in (node.name, node.name.partition("@")[0])]
    for node in found:
        click.echo(shlex.join(node.arguments))
    return Exit.OK if found else Exit.FAILED


def _multi(session: Session, words: list[str]) -> Multi:
    global_options: list[Any] = []
    for option, value in (("-A", session.app_name), ("-b", session.broker), ("--config", session.config)):
        if isinstance(value, str):
            global_options += [option, value]
    global_options += ["-C"] * session.no_color + ["-q"] * session.quiet + ["--json"] * session.json
    return Multi(parse(words), global_options, quiet=session.quiet)
