"""Database servers of our own for a test: a folder, a socket and no TCP; gone when the test is.

Where PostgreSQL is not installed its tests are skipped. On CI they fail: a check that never runs shows nothing.
MariaDB's one test is skipped there too, as the default run installs no MariaDB.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

MARIADB = ("mariadbd", "mariadb-install-db", "mariadb-admin")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def missing(why: str) -> NoReturn:
    """End the test: what it needs is not installed."""
    pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)


def program(name: str) -> str:
    """Where the program `name` is; ends the test where it is not installed."""
    return shutil.which(name, path=PATH) or missing(f"{name} is not installed")


def free_ports(n: int) -> list[int]:
    """`n` ports that nothing listens on, below those that systems give to connections of their own."""
    chance, found = random.SystemRandom(), list[int]()
    while len(found) < n:
        port = chance.randrange(12_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found += [port] if port not in found else []
    return found


def postgresql_programs() -> Path | None:
    """The folder of PostgreSQL's programs: of the newest one that is installed.

    `LITEQ_TEST_POSTGRESQL_PROGRAMS` names that of another one. Else it is where Debian puts it, else where PATH says.
    """
    if given := os.environ.get("LITEQ_TEST_POSTGRESQL_PROGRAMS"):
        return Path(given)
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if installed:
        return max(installed, key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    return Path(found).parent if found else None


@contextmanager
def folder_of(kind: str, user: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder for a server's data and socket, and under whom it runs: as `user` where this is root."""
    folder = Path("/tmp") / f"liteq-{kind}-{os.getpid()}"  # a socket's path is short, and another user's to enter
    as_user = {}
    if os.geteuid() == 0:
        try:
            as_user = {"user": pwd.getpwnam(user).pw_name}
        except KeyError:
            missing(f"there is no user {user}, and root may not run the server")
    folder.mkdir(mode=0o755)
    if as_user:
        shutil.chown(folder, user)
    try:
        yield folder, as_user
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgresql() -> Iterator[str]:
    """The folder of a PostgreSQL server's socket; its user is `postgres`."""
    programs = postgresql_programs()
    if programs is None:
        missing("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    with folder_of("pg", "postgres") as (folder, as_user):
        data = str(folder / "data")
        try:
            subprocess.run(
                [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"],
                check=True, capture_output=True, env=env, cwd=folder, **as_user,
            )  # fmt: skip
            subprocess.run(
                [
                    programs / "pg_ctl", "-D", data, "-w", "-l", str(folder / "log"),
                    "-o", f"-c listen_addresses='' -k {folder} -F", "start",
                ],
                check=True, stdout=subprocess.DEVNULL, env=env, cwd=folder, **as_user,
            )  # fmt: skip
            yield str(folder)
        finally:
            subprocess.run(
                [programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"],
                capture_output=True, env=env, cwd="/", **as_user,
            )  # fmt: skip


def stop_postgresql(folder: str) -> None:
    """Stop the server that `postgresql` has given, without a wait for those that use it."""
    _control(folder, "-m", "fast", "stop")


def start_postgresql(folder: str) -> None:
    """Start it again, where it was."""
    _control(folder, "-w", "-l", f"{folder}/log", "-o", f"-c listen_addresses='' -k {folder} -F", "start")


def _control(folder: str, *command: str) -> None:
    programs = postgresql_programs()
    assert programs is not None
    subprocess.run(
        [programs / "pg_ctl", "-D", f"{folder}/data", *command], check=True, stdout=subprocess.DEVNULL, cwd="/",
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, **({"user": "postgres"} if os.geteuid() == 0 else {}),
    )  # fmt: skip


@contextmanager
def pgbouncer(server: str, *, pool_size: int = 8, mode: str = "transaction") -> Iterator[str]:
    """The folder of the socket of a pgbouncer, before the PostgreSQL whose socket is in the folder `server`.

    Each of its clients has one of `pool_size` connections of the server for the time of a transaction, or, where `mode`
    is "session", until it leaves. Roles are as on
    the server; nobody has a password.
    """
    program = shutil.which("pgbouncer", path=PATH)
    if program is None:
        missing("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    with folder_of(f"pgb-{mode[0]}{pool_size}", "postgres") as (folder, as_user):
        (folder / "users").write_text('"postgres" ""\n"worker" ""\n"stranger" ""\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host={server}\n"
            f"[pgbouncer]\nunix_socket_dir = {folder}\nlisten_addr =\nlisten_port = 5432\n"
            f"auth_type = trust\nauth_file = {folder / 'users'}\npool_mode = {mode}\n"
            f"default_pool_size = {pool_size}\nmax_client_conn = 200\n"
        )
        log = folder / "log"
        with log.open("wb") as out:
            running = subprocess.Popen([program, folder / "ini"], stdout=out, stderr=out, cwd=folder, **as_user)
        try:
            _until((folder / ".s.PGSQL.5432").exists, running, log)
            yield str(folder)
        finally:
            running.kill()
            running.wait()


@contextmanager
def mysql() -> Iterator[str]:
    """The URL of an empty database: on the server of LITEQ_TEST_MYSQL_URL, else on a MariaDB of our own."""
    if given := os.environ.get("LITEQ_TEST_MYSQL_URL"):
        with _database_on(given) as url:
            yield url
        return
    programs = [shutil.which(name, path=PATH) for name in MARIADB]
    if None in programs:
        pytest.skip("there is no MariaDB, and LITEQ_TEST_MYSQL_URL names no server")
    with _mariadb(*programs) as socket, _database_on(f"mysql://root@localhost/?unix_socket={socket}") as url:
        yield url


@contextmanager
def _mariadb(server: str, install: str, admin: str) -> Iterator[Path]:
    """The socket of a MariaDB server; its user is `root`, without a password."""
    with folder_of("my", "mysql") as (folder, as_user):
        data, socket = folder / "data", folder / "s.sock"
        if as_user:
            as_user["group"] = as_user["user"]
        subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
             "--skip-test-db", "--innodb-flush-log-at-trx-commit=0"],
            check=True, capture_output=True, cwd=folder, **as_user,
        )  # fmt: skip
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen(
                [server, "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--skip-networking",
                 f"--pid-file={folder / 'pid'}", "--innodb-flush-log-at-trx-commit=0"],
                stdout=log, stderr=log, cwd=folder, **as_user,
            )  # fmt: skip
        try:
            ping = [admin, "--no-defaults", "-uroot", f"--socket={socket}", "ping"]
            _until(lambda: subprocess.run(ping, capture_output=True).returncode == 0, running, folder / "log")
            yield socket
        finally:
            running.kill()
            running.wait()


def _until(fact: Callable[[], bool], running: subprocess.Popen[bytes], log: Path, within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not fact():
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


@contextmanager
def _database_on(url: str) -> Iterator[str]:
    """A database of our own on the server of `url`, and its URL."""
    import pymysql

    parts = urlsplit(url)
    name = f"liteq_test_{os.getpid()}"
    connection = pymysql.connect(
        host=parts.hostname or "localhost", port=parts.port or 3306, user=unquote(parts.username or "root"),
        password=unquote(parts.password or ""), **dict(parse_qsl(parts.query)),
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        cursor.execute("SET wait_timeout = 600")
        try:
            yield parts._replace(path=f"/{name}").geturl()
        finally:
            cursor.execute(f"DROP DATABASE {name}")
