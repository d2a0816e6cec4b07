"""A folder, or the files in it, closed to their user while processes work there, and opened again."""

from __future__ import annotations

import multiprocessing
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.exceptions import StorageUnavailable
from liteq.states import State
from liteq.storage.sqlite import base
from liteq.testing import drain

from .harness import integrity

NOBODY = 65_534
Ask = Callable[[str], str]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="becomes a user who is not root, for whom modes count"
)
libraries = pytest.mark.parametrize("library", ["apsw", "stdlib"])


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of that user's. pytest's own folders are closed to him, and shared with tests beside this one."""
    with tempfile.TemporaryDirectory(prefix="liteq-closed-") as home:
        os.chown(home, NOBODY, NOBODY)
        if not all(above.stat().st_mode & stat.S_IXOTH for above in Path(home).parents):
            pytest.skip(f"other users may not enter {home}: set TMPDIR")
        folder = Path(home, "queue")
        folder.mkdir()
        os.chown(folder, NOBODY, NOBODY)
        yield folder
        folder.chmod(0o700)


def user(url: str, pipe: Connection) -> None:
    """Send, or execute, or open anew, as often as asked to, with one app that stays open; tell what came of it."""
    base.FILE_CHECK_S = 0.0  # looks at its file before each transaction
    with LiteQ("modules", broker=url.replace("queue/queue.db", "other.db"), set_as_current=False) as app:
        # As root, once: that user may perhaps not read the modules that are imported on the way.
        app.task(name="double")(lambda n: 2 * n)
        app.send_task("double", (4,))
        drain(app)
    os.chdir("/")
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    app = LiteQ("here", broker=url, set_as_current=False)
    app.task(name="double")(lambda n: 2 * n)
    while (asked := pipe.recv()) is not None:
        try:
            if asked == "send":
                pipe.send(app.send_task("double", (4,)).id)
            elif asked == "drain":
                drain(app)
                pipe.send("done")
            else:
                with LiteQ("anew", broker=url, set_as_current=False) as anew:
                    pipe.send(anew.send_task("double", (4,)).id)
        except StorageUnavailable as exc:
            pipe.send(exc)
    app.close()


@pytest.fixture
def ask(folder: Path, library: str) -> Iterator[Ask]:
    ours, theirs = multiprocessing.Pipe()
    url = f"sqlite:///{folder}/queue.db?driver={library}"
    process = multiprocessing.get_context("fork").Process(target=user, args=(url, theirs))
    process.start()
    theirs.close()  # so that its end is heard of

    def ask(what: str) -> str:
        ours.send(what)
        answer = ours.recv()
        if isinstance(answer, BaseException):
            raise answer
        return str(answer)

    yield ask
    ours.send(None)
    process.join()
    assert process.exitcode == 0


def ended(folder: Path, ids: list[str]) -> None:
    with LiteQ("look", broker=f"sqlite:///{folder}/queue.db", set_as_current=False) as app:
        assert {app.storage.reader.find(id_).state for id_ in ids} == {State.SUCCEEDED}  # type: ignore[union-attr]
        assert sum(one.n for one in app.storage.reader.counts()) == len(ids)
    assert integrity(folder / "queue.db") == "ok"


@libraries
@pytest.mark.parametrize("closed", ["folder", "files", "both"])
def test_who_has_the_queue_open_works_on_while_it_is_read_only_and_others_are_told(
    folder: Path, ask: Ask, closed: str
) -> None:
    """A send that reached the queue is not reported as failed: its caller would send once more."""
    ids = [ask("send")]
    if closed != "folder":
        for path in folder.iterdir():
            path.chmod(0o444)
    if closed != "files":
        folder.chmod(0o555)
    ids += [ask("send"), ask("send")]
    assert ask("drain") == "done"
    with pytest.raises(StorageUnavailable, match=r"the (file|folder) .* is read-only for this user"):
        ask("open anew")
    folder.chmod(0o700)
    for path in folder.iterdir():
        path.chmod(0o600)
    ids += [ask("send"), ask("open anew")]
    assert ask("drain") == "done"
    ended(folder, ids)


@libraries
def test_a_folder_that_cannot_be_entered_is_told_as_such_and_not_as_an_empty_or_damaged_queue(
    folder: Path, ask: Ask
) -> None:
    ids = [ask("send"), ask("send")]
    folder.chmod(0o000)
    for what in ("send", "drain", "open anew", "send"):
        with pytest.raises(StorageUnavailable, match=r"queue\.db cannot be reached \(Permission denied\)"):
            ask(what)
    folder.chmod(0o700)
    ids += [ask("send"), ask("open anew")]
    assert ask("drain") == "done"
    ended(folder, ids)
