"""`liteq demo --dashboard`: the dashboard over the demo's file, and work that goes on."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Iterator

from liteq.cli.parts.output import say
from liteq.cli.serving.dashboard import LOOPBACK, PORT
from liteq.exceptions import ImproperlyConfigured

__all__ = ["go_on", "shown"]

ROUND_S = 2.0
PATIENCE_S = 10.0  # for its end


@contextlib.contextmanager
def shown(url: str, env: dict[str, str], *, opens: bool) -> Iterator[None]:
    """The dashboard of the file at `url`, as a process of its own; its link is written, and opened where `opens`."""
    command = [sys.executable, "-m", "liteq", "-A", "liteq.cli.demo.demo_shop", "-b", url, "dashboard"]
    port = _free_port()
    process = subprocess.Popen(
        [*command, "--port", str(port)], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        if not link:
            raise ImproperlyConfigured("the dashboard did not start")
        say(f"dashboard: {link}")
        if opens and _has_display():
            webbrowser.open(link)
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:  # somebody's browser holds it up
            process.kill()
            process.wait()


def go_on(process: subprocess.Popen[bytes]) -> None:
    """Send one round of work after the other, until Ctrl-C or until the worker has gone."""
    from liteq.cli.demo.demo_shop import send_round

    say("work goes on; Ctrl-C ends it")
    for n in itertools.count():
        send_round(n)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ROUND_S)
            return


def _free_port() -> int:
    """The dashboard's own port where nothing has it, so that the address is the one in the documentation; else any."""
    for port in (PORT, 0):
        with contextlib.suppress(OSError), socket.create_server((LOOPBACK, port)) as found:
            return int(found.getsockname()[1])
    return 0


def _has_display() -> bool:
    """Whether a browser can be opened: not one in a terminal, in the middle of what is written there."""
    return sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
