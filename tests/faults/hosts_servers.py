"""The servers of the drill with hosts: a primary and a standby that follows it, each with an address at the switch.

What the primary has accepted is on the standby too before its caller is told (synchronous replication): so it is there
after a failover. A crash is `pg_ctl stop -m immediate`: no server says goodbye, and what no commit waited for is lost.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from .. import servers
from .harness import wait_for
from .hosts import NET, SERVERS, Switch

__all__ = ["Server", "Servers", "two_servers"]

PORT = 5432
SETTINGS = {
    "fsync": "off",  # the machine itself does not fail here, and what a process has written stays
    "max_connections": "80",
    "shared_buffers": "32MB",
    "max_wal_senders": "4",
    "wal_level": "replica",
    "wal_receiver_timeout": "5s",
    "wal_retrieve_retry_interval": "200ms",  # a standby that is not there holds up each commit that is waited for
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
ANYBODY = f"host all all {NET}.0/24 trust\nhost replication all {NET}.0/24 trust\n"


class Server:
    """One server: its data, and its socket for those that are not at the switch."""

    def __init__(self, folder: Path, address: str = "", switch: Switch | None = None) -> None:
        self.folder, self.address, self._switch = folder, address, switch
        self.data = folder / "data"
        self._programs = servers.postgresql_programs() or servers.missing("PostgreSQL is not installed")
        folder.mkdir(mode=0o755, exist_ok=True)
        self._user: dict[str, int] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            self._user = {"user": user.pw_uid, "group": user.pw_gid}
            shutil.chown(folder, "postgres", "postgres")

    def run(self, program: str, *words: str, check: bool = True) -> None:
        """Run one of the server's programs as its user, at the switch where it has one."""
        command, as_user = [str(self._programs / program), *words], self._user
        if self._switch is not None:
            command = self._switch.inside(*command, **self._user)
            as_user = {}
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        said = self.folder / "said"
        with said.open("wb") as file:  # no pipe: a server that is started here would keep it open
            done = subprocess.run(
                command, env=env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False,
                timeout=120, **as_user,
            )  # fmt: skip
        assert done.returncode == 0 or not check, f"{program}: {said.read_text()}"

    def make(self) -> None:
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write(ANYBODY)

    def follow(self, primary: Server) -> None:
        """Copy `primary` and become its standby."""
        self.run(
            *["pg_basebackup", "-D", str(self.data), "-R", "-h", primary.address, "-p", str(PORT), "-U", "postgres"],
            *["--checkpoint=fast", "--no-sync"],
        )
        self.start()

    def start(self, **settings: str) -> None:
        options = {
            **SETTINGS,
            **settings,
            "listen_addresses": self.address,
            "unix_socket_directories": str(self.folder),
        }
        words = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", words, "start")

    def crash(self) -> None:
        self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop", check=False)

    def promote(self) -> None:
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "promote")

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(host=str(self.folder), user="postgres", autocommit=True) as connection:
            cursor = connection.execute(sql)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


class Servers:
    """A primary and its standby, and the URLs of a queue on whichever of them can be written."""

    def __init__(self, folder: Path, switch: Switch) -> None:
        self.primary, self.standby = (
            Server(folder / name, address, switch) for name, address in zip("ab", SERVERS, strict=True)
        )
        self.primary.make()
        self.primary.start()
        self.standby.follow(self.primary)
        self._together()
        self.has_failed_over = False

    def _together(self) -> None:
        """From now on a commit waits for the standby, where it waits at all."""
        self.primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.ask("SELECT pg_reload_conf()")
        state = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_for(lambda: self.primary.ask(state))

    @property
    def near(self) -> str:
        """The URL for this process: by the sockets."""
        folders = f"{self.primary.folder},{self.standby.folder}"
        return f"postgresql://postgres@/postgres?host={folders}&target_session_attrs=read-write"

    @property
    def far(self) -> str:
        """The URL for a host."""
        addresses = f"{self.primary.address},{self.standby.address}"
        return f"postgresql://postgres@{addresses}/postgres?target_session_attrs=read-write"

    @property
    def writable(self) -> Server:
        return self.standby if self.has_failed_over else self.primary

    def fail_over(self) -> None:
        """The primary is gone for good, and the standby takes its place."""
        self.primary.crash()
        self.has_failed_over = True
        self.standby.promote()

    def close(self) -> None:
        self.primary.stop()
        self.standby.stop()


@contextmanager
def two_servers(switch: Switch) -> Iterator[Servers]:
    """The servers, in a folder that is gone behind it."""
    with servers.folder_of("hosts", "postgres") as (folder, _):
        started = Servers(folder, switch)
        try:
            yield started
        finally:
            started.close()
