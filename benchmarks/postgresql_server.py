"""A PostgreSQL server of the tool's own, over a socket in an empty folder; stopped and deleted afterwards."""

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

__all__ = ["HOW_TO_GET", "postgresql_server"]

HOW_TO_GET = "PostgreSQL is not there: `apt-get install -y postgresql`, or your system's way"
SYNCS = {"relaxed": "off", "durable": "on"}


def programs() -> Path:
    """The folder of the newest installed server's programs. Raises FileNotFoundError."""
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if installed:
        return max(installed, key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    if found is None:
        raise FileNotFoundError(HOW_TO_GET)
    return Path(found).parent


@contextmanager
def postgresql_server(durability: str) -> Iterator[str]:
    """The URL of an empty database. relaxed: synchronous_commit is off; durable: on, as shipped."""
    bin_ = programs()
    as_user: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="liteq-pg-", dir="/tmp"))  # a socket's path is short
    folder.chmod(0o755)
    if as_user:
        shutil.chown(folder, pwd.getpwnam("postgres").pw_name)

    def run(program: str, *args: str, check: bool = True) -> None:
        command = [bin_ / program, "-D", str(folder / "data"), *args]
        subprocess.run(command, check=check, stdout=subprocess.DEVNULL, cwd=folder, **as_user)

    try:
        run("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8")
        asked = f"-c listen_addresses='' -k {folder} -c synchronous_commit={SYNCS[durability]}"
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", asked, "start")
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-m", "immediate", "stop", check=False)
        shutil.rmtree(folder, ignore_errors=True)
