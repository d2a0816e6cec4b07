"""Fills a file with the liteq that is imported, and leaves it as after a power loss, for test_upgrade.py.

    PYTHONPATH=OLDER_CHECKOUT:$PWD/tests/faults python tests/faults/upgrade_fill.py tests/faults/older/schema-3

It starts a real worker and beat of that liteq, has them do a half of everything, and kills them. The file is written to
`schema-3.db.xz`, with what must become of it in `schema-3.json`. Names of this machine and its folders are replaced.
"""

from __future__ import annotations

import itertools
import json
import lzma
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FAR = datetime(2100, 1, 1, tzinfo=UTC)
LATER = {"queue": "later"}
EARLIER_S = 3 * 365 * 86_400  # before now: whatever was put off by an hour is due when the file is carried on
NAMED = 5  # elements of the named send that were sent


class Filling:
    """The ids of all that was sent, by what must become of it."""

    def __init__(self, module: Any, folder: Path) -> None:
        self.m, self.app, self.folder = module, module.app, folder
        self.told: dict[str, Any] = {"ended": {}, "values": {}, "dead": {}, "upstream": {}, "runs": {}}

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "liteq", "-A", "upgrade_app", *args]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)

    def notes(self, kind: str) -> int:
        path = self.folder / "ledger"
        return path.read_text().count(f"{kind} ") if path.exists() else 0

    def state(self, id_: str) -> str:
        with self.app.storage.driver.read() as tx:
            return str(tx.execute("SELECT state FROM liteq_messages WHERE id = :id", {"id": id_})[0][0])

    def finish(self) -> None:
        """Send and end under the older one: results, small, large, of groups; dead letters and their followers."""
        from liteq import chain, chord, group

        m, told = self.m, self.told
        told["ended"][m.work.delay(7).id] = 7
        told["ended"][m.large.delay(8).id] = 8
        told["ended"][chain(m.work.s(1), m.add.s(2)).apply_async().id] = 3
        told["ended"][chord([m.work.s(1), m.work.s(2)], m.total.s()).apply_async().id] = 3
        results = group(m.work.s(4), m.work.s(5)).apply_async()
        results.save()
        told["group"] = [results.id, [4, 5]]
        told["dead"][m.flaky.apply_async((9,), link_error=m.failed.s()).id] = 9
        chained = chain(m.flaky.s(1), m.add.s(2)).apply_async()
        told["dead"][chained.parent.id] = 1
        told["upstream"][chained.id] = 3
        broken = chord([m.work.s(1), m.flaky.s(2)], m.total.s()).apply_async()
        told["upstream"][broken.id] = 3
        told["dead"][broken.parent.results[1].id] = 2
        told["retried"] = m.again.delay(1).id
        told["values"][told["retried"]] = 2
        for task in (m.shared, m.paced):
            told["values"].update({task.delay(n).id: n for n in range(3)})
        for id_ in [*told["ended"], *told["upstream"], *told["dead"]]:
            wait_for(lambda id_=id_: self.state(id_) in {"succeeded", "dead", "upstream_failed"})  # type: ignore[misc]
        wait_for(lambda: self.state(told["retried"]) == "scheduled")
        wait_for(lambda: self.notes("shared") and self.notes("paced") and self.notes("failed"))

    def begin(self) -> None:
        """Leave under way: canvases half done, a chord in a chain, tasks under a lease."""
        from liteq import chain, chord

        m, values = self.m, self.told["values"]
        one, two = m.work.s(1), m.work.s(2).set(**LATER)
        values[chain(m.work.s(1), m.add.s(2).set(**LATER), m.add.s(3)).apply_async().id] = 6
        values[chord([one.clone(), two.clone()], m.total.s()).apply_async().id] = 3
        values[chain(chord([one.clone(), two.clone()], m.total.s()), m.add.s(10)).apply_async().id] = 13
        inner = chain(one.clone(), m.add.s(1).set(**LATER))
        values[chord([inner, m.work.s(4)], m.total.s()).apply_async().id] = 6
        wait_for(lambda: not self.waiting("celery"))
        self.told["leased"] = [m.until.delay(n).id for n in range(2)]
        values.update(zip(self.told["leased"], range(2), strict=True))
        wait_for(lambda: self.notes("until") == 2)

    def waiting(self, queue: str) -> list[Any]:
        with self.app.storage.driver.read() as tx:
            states = "('pending', 'leased')"
            return list(tx.execute(f"SELECT id FROM liteq_messages WHERE queue = '{queue}' AND state IN {states}"))

    def begin_runs(self) -> None:
        """Runs that sleep, wait for an event, a person, a child; one in a step; limits, batches, cursors, sends."""
        m, told = self.m, self.told
        asked = m.asks.options(id="asked").start("why")
        wait_for(lambda: asked.status == "succeeded")
        told["runs"] = {"sleeps": 30, "listens": 13, "approves": "yes", "gathers": [1, 2], "undoes": None}
        for name in told["runs"]:
            run = getattr(m, name).options(id=name).start()
            wait_for(lambda run=run: run.status == "waiting")  # type: ignore[misc]
        self.app.Run("listens").send("go", 1)
        told["runs"]["interrupted"] = 42
        m.interrupted.options(id="interrupted").start()
        wait_for(lambda: self.notes("held") == 1)
        told["values"].update({m.narrow.delay(n, "ann").id: n for n in range(3)})
        wait_for(lambda: self.notes("narrow") == 1)
        told["values"].update({m.together.apply_async((n,), **LATER).id: n for n in range(3)})
        self.app.control.pause_queue("quiet", reason="the upgrade")
        told["quiet"] = m.work.apply_async((5,), queue="quiet").id
        told["values"][told["quiet"]] = 5
        try:
            m.work.send_many(interrupted_elements(), name="an import", chunk=NAMED, **LATER)
        except EOFError:
            told["named"] = NAMED
        if m.HAS_CURSORS:
            told["pieces"] = m.pieces.delay(3).id
            told["values"][told["pieces"]] = [1, 2]
            wait_for(lambda: self.notes("cursor") == 1)

    def leave(self) -> None:
        """Send when nobody is there to do it."""
        m, told, values = self.m, self.told, self.told["values"]
        values[m.work.delay(11).id] = 11
        values[m.large.apply_async((12,), priority=5).id] = 12
        values[m.work.apply_async((13,), countdown=m.HOUR_S).id] = 13
        told["unique"] = m.work.apply_async((14,), unique_key="the one", **LATER).id
        values[told["unique"]] = 14
        told["far"] = m.work.apply_async((15,), eta=FAR).id
        told["expired"] = m.work.apply_async((16,), expires=m.HOUR_S).id
        told["cancelled"] = m.work.apply_async((17,), **LATER).id
        self.app.control.revoke(told["cancelled"])

    def fill(self) -> dict[str, Any]:
        worker, beat = self.start("worker", "-c", "8", "-Q", "celery", "-E", "-n", "older@host"), self.start("beat")
        try:
            self.finish()
            wait_for(lambda: self.notes("tick") >= 2)
            os.killpg(beat.pid, signal.SIGKILL)
            self.begin()
            if self.m.HAS_RUNS:
                self.begin_runs()
        except AssertionError:
            print((self.folder / "log").read_text(), file=sys.stderr)
            raise
        finally:
            for process in (worker, beat):
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.leave()
        self.app.close()
        return self.told


def interrupted_elements() -> Any:
    """The elements of a send that ends after its first chunk."""
    for n in range(10):
        if n == NAMED:
            raise EOFError
        yield (n,)


def wait_for(fact: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not fact():
        if time.monotonic() > end:
            raise AssertionError(f"not within a minute: {fact}")
        time.sleep(0.01)


def without_this_machine(path: Path, words: dict[str, str]) -> None:
    """Replace `words` in each text and document of the file, and fold its log."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for column in [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]:
                for (word, other), kind in itertools.product(words.items(), ("text", "blob")):
                    changed = f"CAST(replace(CAST({column} AS TEXT), ?, ?) AS {kind})"
                    where = f"typeof({column}) = '{kind}' AND instr(CAST({column} AS TEXT), ?)"
                    sql = f"UPDATE {table} SET {column} = {changed} WHERE {where}"
                    connection.execute(sql, (word, other, word))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        db = folder / "queue.db"
        os.environ |= {"DRILL_BROKER": f"sqlite:///{db}", "DRILL_FOLDER": name, "LITEQ_VISIBILITY_TIMEOUT": "30"}
        os.environ["UPGRADE_EARLIER_S"] = str(EARLIER_S)
        import upgrade_app

        import liteq

        told = Filling(upgrade_app, folder).fill()
        places = {str(Path(liteq.__file__).parents[1]): "/srv/older", str(Path(__file__).parent): "/srv/app"}
        places |= {name: "/srv/run", sys.prefix: "/srv/python", sys.base_prefix: "/srv/python"}
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        without_this_machine(db, {**places, os.uname().nodename: "host", boot: "another boot"})
        target.with_suffix(".db.xz").write_bytes(lzma.compress(db.read_bytes(), preset=9))
    target.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
