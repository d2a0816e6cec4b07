"""A redis-server of the tool's own, on a free loopback port, with an empty folder; stopped afterwards."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["HOW_TO_GET", "redis_server", "version"]

HOW_TO_GET = "redis-server is not there: `apt-get install -y redis-server`, or your system's way"
START_S = 10.0
PERSISTENCE = {
    "none": ["--appendonly", "no"],
    "relaxed": ["--appendonly", "yes", "--appendfsync", "everysec"],
    "durable": ["--appendonly", "yes", "--appendfsync", "always"],
}


def version() -> str:
    """The words of `redis-server --version`; empty where there is none."""
    if shutil.which("redis-server") is None:
        return ""
    said = subprocess.run(["redis-server", "--version"], check=True, capture_output=True, text=True).stdout
    return said.split("sha=")[0].strip()


@contextmanager
def redis_server(folder: Path, durability: str) -> Iterator[tuple[str, int]]:
    """Its URL, without the number of a database, and its process id."""
    if not version():
        raise FileNotFoundError(HOW_TO_GET)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen([*command, *PERSISTENCE[durability]], stdout=log, stderr=log)
    try:
        _wait_for(port, process)
        yield f"redis://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as link:
                link.sendall(b"PING\r\n")
                if link.recv(64).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > give_up:
            raise TimeoutError("redis-server did not answer")
        time.sleep(0.02)
