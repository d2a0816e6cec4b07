"""Runs a drill: workers and a sender that are killed for a time, then rest, then the word of the oracle on all of it.

Children, whole workers and the sender are killed at random; and, on purpose, whoever runs the body of a chord, or a
member of it when most of the others have ended.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from liteq.serialization import decode_error
from liteq.states import State
from liteq.storage.groups.append_members import GIVE_UP

from .shop import HERE, Shop

__all__ = ["Drill", "Sent"]

REST_WITHIN_S = 300.0
LOOK_S = 1.0  # of a killer for its prey


@dataclass
class Sent:
    """A canvas that was accepted, as its sender printed it."""

    n: int
    kind: str
    id: str
    parts: list[str]
    value: Any


@dataclass
class Drill:
    """A shop under fire. `early`: its tasks are acknowledged before they run. `liteq`: with a worker of liteq's."""

    shop: Shop
    seed: int
    early: bool = False
    liteq: bool = False
    kills: Counter[str] = field(default_factory=Counter)
    sent: list[Sent] = field(default_factory=list)
    _sender: subprocess.Popen[bytes] | None = None
    _said: list[Path] = field(default_factory=list)
    _next: int = 0
    _noted: list[tuple[str, str, int, int, Any]] = field(default_factory=list)
    _read: int = 0  # bytes of the ledger
    rows: dict[str, Any] = field(default_factory=dict)  # at rest, by their ids

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.shop.modules = ("drill_shop", "drill_liteq")
        self.shop.env["DRILL_LEDGER"] = str(self.shop.folder / "ledger")
        if self.early:
            self.shop.env["DRILL_EARLY"] = "1"

    # -- processes -----------------------------------------------------------------------------------------------------

    def run(self, seconds: float, least: int) -> None:
        """Kill for so long, and until there were `least` kills; then wait for the rest of all that was accepted."""
        self.shop.start()
        self.shop.start_liteq() if self.liteq else self.shop.start()
        self._send()
        end = time.monotonic() + seconds
        self.shop.wait(lambda: len(self.notes()) > 5)
        while time.monotonic() < end or self.kills.total() < least:
            time.sleep(self.dice.uniform(0.2, 1.4))
            self._kill()
        self._stop_sending()
        try:
            self.shop.wait(self._is_at_rest, within_s=REST_WITHIN_S)
        except AssertionError as error:
            error.add_note(f"{dict(self.kills)}, and not at rest:\n" + "\n".join(map(str, self._moving())))
            raise

    def _send(self) -> None:
        said = self.shop.folder / f"sent-{len(self._said)}"
        self._said.append(said)
        with said.open("wb") as out, (self.shop.folder / f"{said.name}.log").open("wb") as log:
            self._sender = subprocess.Popen(
                [sys.executable, str(HERE / "drill_sender.py"), str(self.seed), str(self._next)], env=self.shop.env,
                cwd=self.shop.folder, stdin=subprocess.PIPE, stdout=out, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _heed(self) -> None:
        """Take down what the sender has printed; the one behind that may be there or not."""
        lines = self._said[-1].read_text(encoding="utf-8").splitlines(keepends=True)
        self.sent += [Sent(*json.loads(line)) for line in lines if line.endswith("\n")]
        self._next = max([self._next, *(one.n + 2 for one in self.sent)])

    def _stop_sending(self) -> None:
        sender = self._sender
        assert sender is not None
        assert sender.stdin is not None
        sender.stdin.close()
        assert sender.wait(timeout=60) == 0, self._said[-1].with_suffix(".log").read_text()
        self._heed()

    # -- kills ---------------------------------------------------------------------------------------------------------

    def _kill(self) -> None:
        how = self.dice.choices(("child", "worker", "sender", "body", "closing"), (4, 3, 1, 3, 3))[0]
        match how:
            case "child":
                killed = self._kill_pid(self.dice.choice([0, *self._children()]))
            case "worker":
                killed = self._kill_worker(self.dice.choice(self.shop.workers))
            case "sender":
                killed = self._kill_sender()
            case _:
                killed = self._kill_in("body" if how == "body" else "step")
        self.kills[how] += killed

    def _children(self) -> list[int]:
        found: list[int] = []
        for worker in self.shop.workers:
            with suppress(OSError):
                found += map(int, Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split())
        return found

    @staticmethod
    def _kill_pid(pid: int) -> bool:
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def _kill_worker(self, worker: subprocess.Popen[bytes]) -> bool:
        self.shop.kill(worker)
        is_liteq = worker.args[2] == "liteq"  # type: ignore[index]
        self.shop.workers.remove(worker)
        self.shop.start_liteq() if is_liteq else self.shop.start()
        return True

    def _kill_sender(self) -> bool:
        assert self._sender is not None
        self.shop.kill(self._sender)
        self._heed()
        self._send()
        return True

    def _kill_in(self, what: str) -> bool:
        """Kill the process that begins the next task of a kind, alone or with its worker."""
        seen, until = len(self.notes()), time.monotonic() + LOOK_S
        while time.monotonic() < until:
            prey = [pid for kind, _, _, pid, _ in self.notes()[seen:] if kind == what]
            if prey:
                return self._kill_pid(prey[-1])
            time.sleep(0.002)
        return False

    # -- what has happened ---------------------------------------------------------------------------------------------

    def notes(self) -> list[tuple[str, str, int, int, Any]]:
        """Notes of the tasks: kind, id, milliseconds, process, what they were given."""
        path = self.shop.folder / "ledger"
        if path.exists():
            with path.open("rb") as ledger:
                ledger.seek(self._read)
                for line in ledger:
                    if not line.endswith(b"\n"):  # the rest of the write is not seen yet
                        break
                    self._read += len(line)
                    what, id_, at_ms, pid, given = json.loads(line)
                    self._noted.append((what, id_, at_ms, pid, given))
        return self._noted

    def happened(self) -> dict[str, Any]:
        """How much there was of what was to be survived, and what was told of as lost."""
        again = Counter((kind, id_) for kind, id_, *_ in self.notes() if kind in ("step", "body"))
        dead = sum(row.state is State.DEAD for row in self.rows.values())
        return {
            "kills": dict(self.kills), "canvases": len(self.sent), "runs": len(self.notes()),
            "runs again": again.total() - len(again), "dead": dead,
        }  # fmt: skip

    def _is_at_rest(self) -> bool:
        if self.shop.liteq.storage.reader.waiting(["celery"], limit=1):
            return False
        ids = [one.id for one in self.sent]
        found = self.shop.liteq.storage.reader.find_many(ids)
        return all(one.has_ended for one in found.values()) and not self._moving()

    def _moving(self) -> list[Any]:
        """Messages without an end, but for those of a group whose sender was killed: they come in an hour."""
        moving = (State.PENDING, State.SCHEDULED, State.LEASED, State.HELD)
        rows = (row for state in moving for row in self.shop.liteq.storage.reader.messages(state))
        return [row for row in rows if row.task != GIVE_UP]

    def troubles(self) -> dict[str, Any]:
        """Everything that must not be, and is; by its name."""
        find = self.shop.liteq.storage.reader.find_many
        self.rows = find([id_ for one in self.sent for id_ in {one.id, *one.parts}])
        found = {
            "lost": [one for one in self.sent if one.id not in self.rows],
            "without an end": [id_ for id_, row in self.rows.items() if not row.has_ended],
            "wrong": [(one, self._end(one)) for one in self.sent if not self._is_right(one)],
            "ran after its end": self._ran_after_the_end(),
            "bodies on other input": self._other_input(),
            "errbacks": self._errbacks(),
            "ran twice": self._ran_twice() if self.early else [],
            "failed, and not by a kill": self._failed_otherwise(),
        }
        return {name: trouble for name, trouble in found.items() if trouble}

    def _end(self, one: Sent) -> Any:
        result = self.shop.app.AsyncResult(one.id)
        return result.state, result.result

    def _is_right(self, one: Sent) -> bool:
        if one.id not in self.rows:
            return True  # it is lost, and told as that
        state, value = self._end(one)
        if one.kind == "broken":
            return bool(state == "FAILURE")
        if self.early and state == "FAILURE":
            return True  # told: whether by a kill is asked elsewhere
        return bool(state == "SUCCESS" and value == one.value)

    def _failed_otherwise(self) -> list[Any]:
        """Failures that no kill explains; with late acks there is none that one does."""
        found = []
        for one in self.sent:
            for id_ in one.parts:
                row = self.rows.get(id_)
                if row is None or row.error is None or one.kind == "broken" or row.state is State.SUCCEEDED:
                    continue
                error = decode_error(row.error)
                if not self.early or (row.state is State.DEAD and error.type != "WorkerLostError"):
                    found.append((one, id_, row.state, f"{error.type}: {error.message}"))
        return found

    def _ran_after_the_end(self) -> list[Any]:
        """Executions that began after the row of their task had ended well: it was done, and was done again."""
        found = []
        for kind, id_, at_ms, _, _ in self.notes():
            row = self.rows.get(id_)
            if kind in ("step", "body", "again") and row is not None and row.state is State.SUCCEEDED:
                found += [(kind, id_, at_ms, row.finished_ms)] if at_ms > row.finished_ms else []
        return found

    def _other_input(self) -> list[Any]:
        given = defaultdict(set)
        for kind, id_, _, _, value in self.notes():
            if kind == "body":
                given[id_].add(json.dumps(value))
        values = {one.id: json.dumps(one.value) for one in self.sent}
        return [
            (id_, texts) for id_, texts in given.items() if len(texts) > 1 or (id_ in values and texts != {values[id_]})
        ]

    def _ran_twice(self) -> list[Any]:
        """Tasks that were acknowledged early and began twice; of one that retries itself, three times."""
        ran = Counter((kind, id_) for kind, id_, *_ in self.notes() if kind in ("step", "body", "again", "spread"))
        return [(kind, id_, n) for (kind, id_), n in ran.items() if n > (2 if kind == "again" else 1)]

    def _errbacks(self) -> list[Any]:
        """Errbacks that were told though nothing failed, or were not told of what did."""
        find = self.shop.liteq.storage.reader.find_many
        told = {given[0] for kind, _, _, _, given in self.notes() if kind == "told all"}
        watched = [one for one in self.sent if one.kind in ("watched", "broken") and one.id in self.rows]
        rows = find([f"told-{one.n}" for one in watched])
        found: list[Any] = []
        for one in watched:
            first = self.rows.get(one.parts[-1])
            failed = one.kind == "broken" or (first is not None and first.state is State.DEAD)
            row = rows.get(f"told-{one.n}")
            as_row = row is not None and row.has_ended
            if as_row is not failed or (one.n in told) is not failed:
                found.append((one, failed, row and row.state, one.n in told))
        return found
