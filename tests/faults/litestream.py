"""Litestream over the file of a drill, and remotes to copy it to: a folder, and S3 as moto's server has it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from liteq.exceptions import StorageError
from liteq.operating.litestream.configuration import Configuration
from liteq.operating.litestream.source import Source
from liteq.operating.litestream.tool import find, restored
from liteq.storage.sqlite.litestream.control import Control

from ..servers import missing
from .harness import wait_for

BUCKET = "drill"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


def program() -> str:
    """The path of the program; ends the test where there is none."""
    try:
        return find()
    except StorageError as exc:
        missing(str(exc))


@contextmanager
def remote(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty remote, "file" or "s3"; it goes on whatever is killed."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    if kind == "file":
        yield f"file://{folder}/remote"
        return
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        import boto3

        boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}/queue?endpoint=http://{host}:{port}&region=us-east-1&forcePathStyle=true"
    finally:
        server.stop()


class Litestream:
    """The process that copies `db` to the remote `url`, by the configuration that `liteq litestream` prints.

    Each life of the queue has a place of its own there, as docs/howto/litestream.md has it.
    """

    def __init__(self, db: Path, url: str) -> None:
        self.db = db
        self._url = url
        self._lives = 0
        self.source = Source(url)
        self._sockets = Path(tempfile.mkdtemp(prefix="liteq-"))  # the path of a socket is short
        self.socket = self._sockets / "control"
        self._configuration = db.parent / "litestream.yml"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it for a new life of the queue, and wait until it takes commands."""
        self._lives += 1
        place, mark, query = self._url.partition("?")
        self.source = Source(f"{place}/{self._lives}{mark}{query}")
        self._configuration.write_text(Configuration(str(self.db), self.source.replica, str(self.socket)).text())
        self.go_on()

    def go_on(self) -> None:
        """Start it for the same life of the queue, and wait until it takes commands."""
        with (self.db.parent / "litestream.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "replicate", "-config", str(self._configuration)], stdout=log, stderr=log
            )
        wait_for(self._answers, within_s=60)

    def _answers(self) -> bool:
        try:
            Control(str(self.socket), str(self.db)).close()
        except StorageError:
            return False
        return True

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def burn(self, *, state: bool) -> None:
        """Lose the machine: the database, and with `state` what Litestream itself keeps beside it."""
        for suffix in ("", "-wal", "-shm"):
            self.db.with_name(self.db.name + suffix).unlink(missing_ok=True)
        if state:
            shutil.rmtree(self.db.with_name(f".{self.db.name}-litestream"), ignore_errors=True)

    @contextmanager
    def copy(self) -> Iterator[sqlite3.Connection]:
        """The newest copy, as Litestream alone gives it back, which is whole; to be looked at."""
        with restored(self.source, self.db) as path, closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            yield connection

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._sockets, ignore_errors=True)
