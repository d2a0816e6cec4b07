"""Encryption at rest, with real workers: no value of a corpus stands in the file, its log, or a worker's log.

The word that is looked for is in each argument, result, error, event and chunk that is sent. It is looked for in the
bytes of all files of the folder while the workers work, and after them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography")

from liteq import LiteQ
from liteq.exceptions import CodecError, RunNotFound
from liteq.states import State
from liteq.workflow.client.run import Run
from liteq_crypt import new_key

from .worker_process import HERE, Site, wait_for

WORD = "xylophone-4711"
CORPUS = 1_000


class Sealed(Site):
    """A site whose app has a codec, in its workers and here."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "sealed_tasks")
        self.keys = folder.parent / f"{folder.name}.keys"
        self.ring: dict[str, str] = {}
        self.rotate("k1")
        self.app.close()
        self.app = LiteQ("sealed_tasks", broker=self.broker, payload_codec="liteq_crypt:Codec", set_as_current=False)

    def rotate(self, *ids: str) -> None:
        """Have the file of keys hold these, the first of which encodes. In one step: workers read it meanwhile."""
        for id_ in ids:
            self.ring.setdefault(id_, new_key())
        new = self.keys.with_suffix(".new")
        new.write_text("".join(f"{id_}:{self.ring[id_]}\n" for id_ in ids))
        new.replace(self.keys)

    def send_to(self, task: str, *args: Any, **options: Any) -> str:
        return str(self.app.send_task(f"sealed_tasks.{task}", args=args, **options).id)

    def cli(self, *args: str, app: bool = True) -> subprocess.CompletedProcess[str]:
        where = ["-A", "sealed_tasks"] if app else ["--broker", self.broker]
        environment = {
            **os.environ, "WORKER_TEST_BROKER": self.broker, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "liteq", *where, *args],
            env=environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def finds(self, word: str = WORD) -> list[str]:
        """The files of the folder that hold `word`."""
        wanted = word.encode()
        return [path.name for path in sorted(self.folder.rglob("*")) if path.is_file() and wanted in path.read_bytes()]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sealed]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PAYLOAD_KEYS_FILE", str(tmp_path / "site.keys"))
    made = Sealed(folder)
    yield made
    made.close()


def ended(site: Sealed, ids: list[str]) -> bool:
    return all(site.app.AsyncResult(id_).ready() for id_ in ids)


def test_the_corpus_stands_nowhere_while_keys_rotate_under_load(site: Sealed) -> None:
    workers = [site.worker("-c", "2", "-E"), site.worker("-c", "2", "--json")]
    tasks = ["echo", "refuse", "again", "tells", "sends"]
    ids: list[str] = []
    rings = [("k1", "k2"), ("k2", "k1"), ("k3", "k2", "k1"), ("k3", "k2")]
    for n in range(CORPUS):
        if n % (CORPUS // 4) == CORPUS // 8:
            site.rotate(*rings[n * 4 // CORPUS])
            if n * 4 // CORPUS == 2:  # before k1 goes
                assert site.cli("codec", "rotate").returncode == 0
        ids.append(site.send_to(tasks[n % 5], f"{WORD}-{n}", headers={"token": WORD}))
        if n % 100 == 0:
            assert site.finds() == []
    wait_for(lambda: ended(site, ids), within_s=60, what="the corpus has ended")
    for n, id_ in enumerate(ids):
        result = site.app.AsyncResult(id_)
        if tasks[n % 5] == "refuse":
            assert str(result.result) == f"{WORD}-{n} is refused"
        elif tasks[n % 5] == "sends":
            assert site.get(result.get(timeout=60)) == f"{WORD}-{n} {WORD}-{n}"
        else:
            assert result.get(timeout=60) == f"{WORD}-{n}"
    assert [chunk.data for chunk in site.app.AsyncResult(ids[3]).stream("words")] == [f"{WORD}-3"]
    for worker in workers:
        assert site.end(worker) == 0
    assert site.finds() == []
    assert "ValueError (sealed)" in site.log(0).read_text()


POOLS = {
    "threads": ["-P", "threads"],
    "solo": ["-P", "solo"],
    "asyncio": ["-P", "asyncio"],
    "spawn": ["--pool-start-method", "spawn"],
    "forkserver": ["--pool-start-method", "forkserver"],
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_in_each_pool_values_are_sealed_and_stand_in_no_log(site: Sealed, pool: list[str]) -> None:
    site.worker("-c", "2", *pool)
    ids = [site.send_to(task, WORD) for task in ("echo", "refuse", "again", "tells") * 5]
    wait_for(lambda: ended(site, ids))
    assert {str(site.app.AsyncResult(id_).result) for id_ in ids} == {WORD, f"{WORD} is refused"}
    assert site.finds() == []
    assert "ValueError (sealed)" in site.log().read_text()


def test_the_values_of_each_of_many_files_are_sealed(site: Sealed) -> None:
    places = [site.folder / f"tenant-{n}.db" for n in range(3)]
    sent = []
    for place in places:
        with site.app.using(str(place)):
            sent.append(site.send_to("echo", WORD))
    site.worker("-c", "2", "--db", f"{site.folder}/tenant-*.db")
    for place, id_ in zip(places, sent, strict=True):
        with site.app.using(str(place)):
            assert site.app.AsyncResult(id_).get(timeout=60) == WORD
    assert site.finds() == []


def test_a_cursor_and_a_kept_log_are_sealed(site: Sealed) -> None:
    site.worker("-c", "1")
    id_ = site.send_to("goes_on", WORD)
    wait_for(lambda: site.app.storage.values.count()["liteq_cursors.cursor"].present, what="its cursor is kept")
    wait_for(lambda: site.app.AsyncResult(id_).state == "FAILURE")
    assert f"at {WORD}" in site.cli("logs", id_).stdout
    assert site.finds() == ["log-0"]  # there alone, where the task has written it itself


def test_a_rotation_beside_the_work_leaves_nothing_under_the_old_key(site: Sealed) -> None:
    ids = [site.send_to("echo", f"{WORD}-{n}") for n in range(300)]
    site.worker("-c", "2")
    site.rotate("k2", "k1")
    first = site.cli("codec", "rotate", "--json")
    assert first.returncode == 0, first.stderr
    wait_for(lambda: ended(site, ids))
    assert site.cli("codec", "rotate").returncode == 0  # what was read before the change, and written after the look
    assert '"under_others":0,"plain":0' in site.cli("codec", "status", "--json").stdout.replace(" ", "")
    site.rotate("k2")
    assert {site.get(id_) for id_ in ids} == {f"{WORD}-{n}" for n in range(300)}


def state_of(run: Run) -> Any:
    """None until a worker has made a run of the message that was sent by name."""
    try:
        return run.get_state()
    except RunNotFound:
        return None


def test_a_run_keeps_none_of_its_values_in_the_open(site: Sealed) -> None:
    site.worker("-c", "2")
    run = site.app.Run(site.send_to("run", WORD))
    failing = site.app.Run(site.send_to("fails", WORD))
    wait_for(lambda: state_of(run) == {"word": WORD}, what="its step has ended")
    run.send("go", WORD)
    wait_for(run.approvals, what="it asks")
    assert run.approvals()[0].details == {"word": WORD}
    assert site.finds() == []
    run.approve("Go on?", by="ann", data=WORD, comment=WORD)
    assert run.result(timeout=60) == f"{WORD} {WORD}"
    wait_for(failing.ready)
    assert site.finds() == []


def test_a_worker_without_the_key_puts_messages_off_and_loses_none(site: Sealed) -> None:
    site.rotate("k2", "k1")
    id_ = site.send_to("echo", WORD)
    site.rotate("k1")
    site.worker("-c", "1", WORKER_TEST_HURRY="liteq.worker.apart:UNOPENED_MS=1500")
    wait_for(lambda: "put off for 1.5 s" in site.log().read_text(), what="it is put off")
    wait_for(lambda: site.state(id_) is State.SCHEDULED)
    record = site.record(id_)
    assert (record.retries, record.crashes, record.reaps) == (0, 0, 0)
    assert "sealed under the key 'k2'" in site.log().read_text()
    site.rotate("k2", "k1")
    assert site.get(id_) == WORD


def test_processes_without_the_codec_are_told(site: Sealed) -> None:
    id_ = site.send_to("echo", WORD)
    plain = LiteQ("plain", broker=site.broker, set_as_current=False)
    with pytest.raises(CodecError, match="set `payload_codec` as its workers do; nothing was written"):
        plain.send_task("sealed_tasks.echo", args=[WORD])
    plain.close()
    worker = site.cli("worker", "-P", "solo", "--without-tasks", app=False)
    assert worker.returncode == 78
    assert "are sealed by a payload codec: set `payload_codec` here" in worker.stderr
    listed = site.cli("inspect", "messages", app=False)
    assert (listed.returncode, id_ in listed.stdout) == (0, True)
    assert site.finds() == []


def test_the_command_line_shows_values_by_the_codec_of_the_app(site: Sealed) -> None:
    site.worker("-c", "1")
    failed = site.send_to("refuse", WORD)
    wait_for(lambda: ended(site, [failed]))
    assert f"ValueError: {WORD} is refused" in site.cli("dead", "list").stdout
    hidden = site.cli("dead", "list", app=False)
    assert "sealed under the key 'k1'" in hidden.stdout
    assert WORD not in hidden.stdout + hidden.stderr


def test_the_words_of_a_cause_are_sealed(site: Sealed) -> None:
    """They are kept apart from the error, without numbers and quoted words."""
    site.worker("-c", "1")
    failed = site.send_to("refuse", "xylophone")
    wait_for(lambda: ended(site, [failed]))
    (cause,) = site.app.storage.causes.list()
    assert cause.message == "xylophone is refused"
    assert site.finds("xylophone") == []


def test_what_was_sent_before_the_codec_is_executed(site: Sealed) -> None:
    plain = LiteQ("plain", broker=site.broker, set_as_current=False)
    id_ = plain.send_task("sealed_tasks.echo", args=["open"]).id
    plain.close()
    site.worker("-c", "1")
    assert site.get(id_) == "open"
    assert site.cli("codec", "rotate").returncode == 0
    assert '"plain":0' in site.cli("codec", "status", "--json").stdout.replace(" ", "")
