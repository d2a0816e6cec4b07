"""A week of commands on a replica that follows: it stays sound, goes on to follow, and has the bytes of an unseen one.

Each round is every command that looks, once, while the leader works. A monitor that asks each minute does 10,080 in a
week; the rounds here come without a pause, so that they meet the follower's writes more often.
"""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.cli import main
from liteq.testing import drain
from tests.faults.sizes import size
from tests.followers import followed_twice

ROUNDS = size("READER_ROUNDS", 3, 400)
LOOKS = ["status", "inspect messages --limit 5", "inspect workers", "doctor", "why {id}", "dead list"]
if find_spec("prometheus_client"):
    LOOKS.append("metrics")


@contextmanager
def leader_at_work(path: Path) -> Iterator[list[str]]:
    """Send and execute tasks on `path` in a thread until the end; the ids that are sent so far."""
    ids: list[str] = []
    stop = threading.Event()
    chance = random.Random(1)
    with LiteQ("shop", broker=f"sqlite:///{path}", set_as_current=False) as app:
        app.task(name="add")(lambda a, b: a + b)

        def work() -> None:
            while not stop.is_set():
                text = "x" * chance.choice((10, 3_000))
                ids.extend(app.send_task("add", (text, "y"), countdown=chance.choice((None, 3600))).id for _ in "123")
                drain(app)
                app.storage.driver.fold_log()

        app.storage.migrate()
        ids.append(app.send_task("add", ("a", "b")).id)
        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield ids
        finally:
            stop.set()
            worker.join()


def look(url: str, words: str) -> tuple[int, str]:
    """Run a command; its exit code, and all that it wrote."""
    said = io.TextIOWrapper(io.BytesIO())
    with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as ended:
        main(["-b", url, *words.split()])
    return int(ended.value.code or 0), _text(said)


def _text(said: io.TextIOWrapper) -> str:
    said.seek(0)
    return said.read()


def pages(path: Path) -> bytes:
    """The file's content, but for the bytes of its header that each follower makes up: the mode, the schema's count."""
    data = bytearray(path.read_bytes())
    data[18:20], data[24:28] = bytes(2), bytes(4)
    return bytes(data)


def test_a_week_of_commands_leaves_a_replica_sound(tmp_path, eventually):
    path = tmp_path / "q.db"
    LiteQ("shop", broker=f"sqlite:///{path}", set_as_current=False).storage.close()
    with followed_twice(path, tmp_path / "ls") as (seen, unseen):
        with leader_at_work(path) as ids:
            eventually(lambda: look(seen.url, f"why {ids[0]}")[0] == 0, within_s=20)
            for _ in range(ROUNDS):
                for words in LOOKS:
                    code, said = look(seen.url, words.format(id=ids[0]))
                    allowed = {0, 69} if words == "inspect workers" else {0}  # nobody works under a name of its own
                    assert code in allowed, (words, said)
                    assert " old" in said, (words, said)
            assert len(ids) > 1
        with LiteQ("shop", broker=f"sqlite:///{path}", set_as_current=False) as app:
            last = app.send_task("add", ("the", "end")).id
        eventually(lambda: look(seen.url, f"why {last}")[0] == 0, within_s=60)  # it still follows
        eventually(lambda: seen.txid == unseen.txid and pages(seen.replica) == pages(unseen.replica), within_s=60)
        assert seen.files() == ["q.db", "q.db-txid"]
        assert look(seen.url, "doctor")[0] == 0  # it reads every page
        assert seen.follower.poll() is None
        assert "level=ERROR" not in seen.log.read_text()
