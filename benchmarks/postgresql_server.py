"""A PostgreSQL server of the tool's own: in a new folder, on a Unix socket, without TCP; stopped afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["HOW_TO_GET", "postgresql_server", "version"]

HOW_TO_GET = "PostgreSQL is not there: `apt-get install -y postgresql`, or your system's way"
SETTINGS = {"relaxed": "synchronous_commit=off", "durable": "synchronous_commit=on"}
CONNECTIONS = 300
ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C"}


def _programs() -> Path | None:
    """The folder of the newest one's programs, where Debian puts it, else where PATH says."""
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if installed:
        return max(installed, key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    return Path(found).parent if found else None


def version() -> str:
    """The words of `postgres --version`; empty where there is none."""
    programs = _programs()
    if programs is None:
        return ""
    return subprocess.run(
        [programs / "postgres", "--version"], check=True, capture_output=True, text=True
    ).stdout.strip()


@contextmanager
def postgresql_server(durability: str) -> Iterator[tuple[str, int]]:
    """The URL of its database, and its process id. As root it runs as the user `postgres`: it refuses root."""
    programs = _programs()
    if programs is None:
        raise FileNotFoundError(HOW_TO_GET)
    as_user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-", dir="/tmp"))  # a socket's path is short
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            as_user = {"user": pwd.getpwnam("postgres").pw_name}
            shutil.chown(folder, "postgres")
        data = str(folder / "data")
        _run([programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8"], folder, as_user)
        options = f"-c listen_addresses='' -c max_connections={CONNECTIONS} -c {SETTINGS[durability]} -k {folder}"
        start = [programs / "pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"]
        _run(start, folder, as_user)
        try:
            server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
            yield f"postgresql://postgres@/postgres?host={folder}", server
        finally:
            _run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], folder, as_user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[Any], folder: Path, as_user: dict[str, Any]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT, cwd=folder, **as_user)
