"""The conformance suite runs once per storage engine: what it says must hold for each of them.

A further engine is added by one more element of DRIVERS; `LITEQ_TEST_URL` runs the suite against a URL alone
("{folder}" in it: a test's own folder), as `tox -e engines-watch` does with the libraries of tests/engines_watch.
"sealed", a part of the nightly run, is apsw with a payload codec over it: no verb may see a difference. "postgresql"
has a server of its own, and one schema, which is emptied before each test. "postgresql-pooled" is that behind a
pgbouncer in transaction mode: the files POOLED are a part of every run, all others of the nightly one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from liteq.message import LATER, Ack, Batch, Flag, Group, Lease, Message, Outcome, WorkerIdentity, new_id
from liteq.serialization import encode_error
from liteq.serialization.sealing import Vault
from liteq.states import FINISHED, LEGAL, STORABLE, State
from liteq.storage.driver import Driver, Params, Row, Transaction
from liteq.storage.rows import results
from liteq.storage.runs import again
from liteq.storage.sealed import seal
from liteq.storage.storage import Storage, open_storage
from liteq.testing import FakeClock

from .. import lasting
from ..codecs import Backwards
from ..postgresql import empty

GIVEN = os.environ.get("LITEQ_TEST_URL")
OURS = ["apsw", "stdlib", "postgresql", "postgresql-pooled", pytest.param("sealed", marks=pytest.mark.nightly)]
DRIVERS = ["given"] if GIVEN else OURS
POOLED = {"test_queue_verbs", "test_continuation", "test_waiting_queues"}
OF_SIZES = {"test_one_run_computes_for_all[sealed]"}  # it tells sizes: those in the file, where values are sealed
# These ask SQLite itself: for its plans, its log, its count of changes, its triggers.
OF_SQLITE = {
    "test_a_hot_statement_builds_no_temporary_b_tree", "test_a_reading_statement_looks_at_no_more_than_it_may",
    "test_the_look_finds_one_where_there_is_one", "test_the_look_finds_a_statement_without_a_bound",
    "test_readers_that_overlap_without_end_do_not_make_the_log_grow",
    "test_a_held_message_is_written_twice_in_its_life_besides_its_end",
    "test_the_end_of_a_task_wakes_one_row_however_many_lines_wait",
}  # fmt: skip
PAYLOAD = b"[[],{}]"
ERROR = encode_error(ValueError("no"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what is not in POOLED to the nightly run: in every one it would be as long as the plain engine's."""
    for item in items:
        if "postgresql-pooled" in item.name and item.path.stem not in POOLED:
            item.add_marker(pytest.mark.nightly)


def opened_storage(request: pytest.FixtureRequest, folder: Path, clock: FakeClock) -> Storage:
    """The storage of this test's engine, with its tables and nothing in them."""
    driver = request.param
    if driver == "postgresql-pooled":
        if request.node.originalname in OF_SQLITE:
            pytest.skip("it asks SQLite itself")
        return empty(request.getfixturevalue("postgresql_pooled"), clock)
    if driver == "postgresql":
        if request.node.originalname in OF_SQLITE:
            pytest.skip("it asks SQLite itself")
        return lasting.emptied(request.getfixturevalue("postgresql_server"), clock)
    library = "apsw" if driver == "sealed" else driver
    url = GIVEN.format(folder=folder, name="queue") if GIVEN else f"sqlite:///{folder}/queue.db?driver={library}"
    opened = open_storage(url, clock=clock)
    if driver == "sealed":
        if request.node.name in OF_SIZES:
            pytest.skip("it compares sizes in the file, and a sealed value is longer")
        seal(opened.driver, Vault(Backwards(), "tests"))
    opened.migrate()
    return opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


Transition = tuple[State, State]
CHANGES_STATES = re.compile(r"liteq_messages.*\bSET\b(?:(?!\bWHERE\b).)*?\bstate = ", re.DOTALL)


class Watched:
    """A transaction that notes which message goes from which state to which."""

    def __init__(self, tx: Transaction, made: set[Transition], stored: set[Transition]) -> None:
        self._tx, self._made, self._stored = tx, made, stored

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        with self._watching(sql):
            return self._tx.execute(sql, params)

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        with self._watching(sql):
            return self._tx.executemany(sql, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    @contextmanager
    def _watching(self, sql: str) -> Iterator[None]:
        before = states(self._tx) if CHANGES_STATES.search(sql) else {}
        yield
        if before:
            note(sql, before, states(self._tx), self._made, self._stored)


@contextmanager
def watching_outside(driver: Driver, sql: str, made: set[Transition], stored: set[Transition]) -> Iterator[None]:
    """Likewise for a statement that is a transaction of its own."""
    if not CHANGES_STATES.search(sql):
        yield
        return
    with driver.read() as tx:
        before = states(tx)
    yield
    with driver.read() as tx:
        note(sql, before, states(tx), made, stored)


def states(tx: Transaction) -> dict[int, State]:
    return {seq: State(state) for seq, state in tx.execute("SELECT seq, state FROM liteq_messages")}


def note(
    sql: str, before: dict[int, State], after: dict[int, State], made: set[Transition], stored: set[Transition]
) -> None:
    if sql == again.AGAIN:  # an operator's: it may undo the end of a run
        before = {seq: state for seq, state in before.items() if state not in FINISHED}
    found = stored if sql == results.STORE else made
    found |= {(before[seq], state) for seq, state in after.items() if before.get(seq, state) != state}


@pytest.fixture
def transitions() -> set[Transition]:
    """The (old, new) states through which messages have gone in this test."""
    return set()


@pytest.fixture(params=DRIVERS)
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock, transitions: set[Transition]
) -> Iterator[Storage]:
    opened = opened_storage(request, tmp_path, clock)
    write, change, stored = opened.driver.write, opened.driver.change, set[Transition]()

    @contextmanager
    def watched(block: AbstractContextManager[Transaction]) -> Iterator[Watched]:
        with block as tx:
            yield Watched(tx, transitions, stored)

    def changed(sql: str, *args: Any, **options: Any) -> int:
        with watching_outside(opened.driver, sql, transitions, stored):
            return change(sql, *args, **options)

    opened.driver.change = changed  # type: ignore[method-assign]
    opened.driver.write = lambda *args, **options: watched(write(*args, **options))  # type: ignore[method-assign]
    yield opened
    opened.close()
    assert {(old, new) for old, new in transitions if new not in LEGAL[old]} == set(), "transitions that are not LEGAL"
    assert {(old, new) for old, new in stored if old not in FINISHED or new not in STORABLE} == set()
    transitions |= stored


def number_comes_again(storage: Storage, seq: int) -> None:
    """Have the next message get the number `seq`, which is free: a file does so by itself, a server after a restore."""
    if not storage.driver.one_machine:
        with storage.driver.write() as tx:
            tx.execute("SELECT setval(pg_get_serial_sequence('liteq_messages', 'seq'), ?, false)", (seq,))


Send = Callable[..., str]
StateOf = Callable[[str], State | None]


@pytest.fixture
def send(storage: Storage) -> Send:
    """Enqueue one message of task "t"; keyword arguments are those of Message. Its id."""

    def send(**fields: object) -> str:
        message = Message(**{"id": new_id(), "task": "t", "payload": PAYLOAD, **fields})  # type: ignore[arg-type]
        return storage.enqueue(Batch([message]))[0]

    return send


class FakeWorker:
    """A worker without processes: it claims and settles by hand."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage = storage
        self.number = storage.register_worker(WorkerIdentity(new_id(), name, "host", "boot", 1, "1"))

    def claim(self, limit: int = 10, queue: str = "celery", visibility_s: float = 60) -> list[Lease]:
        return self.storage.claim([queue], worker=self.number, limit=limit, visibility_s=visibility_s)

    def claim_one(self) -> Lease:
        (lease,) = self.claim(1)
        return lease

    def arguments(self, lease: Lease | None = None) -> bytes:
        """Those of `lease`, or of the next message, as they are read where it is executed."""
        return self.storage.reader.with_payload(lease or self.claim_one()).payload

    def input(self) -> bytes | None:
        """The result that the next message awaited, likewise."""
        lease = self.claim_one()
        return self.storage.reader.input_of(lease.awaits or "") if lease.input == LATER else lease.input


@pytest.fixture
def worker(storage: Storage) -> FakeWorker:
    return FakeWorker(storage, "a")


@pytest.fixture
def other(storage: Storage) -> FakeWorker:
    return FakeWorker(storage, "b")


# -- canvases driven by hand -----------------------------------------------------------------------------------------


def row(name: str, flags: int = 0, **fields: object) -> Message:
    """A message whose id is its task's name, so that a test reads as the graph it draws."""
    return Message(**{"id": name, "task": name, "payload": PAYLOAD, "flags": flags, **fields})  # type: ignore[arg-type]


def chain_of(*names: str) -> list[Message]:
    rows = [row(names[0], Flag.LINKED)]
    for before, name in pairwise(names):
        rows.append(row(name, Flag.LINKED | Flag.TAKES_INPUT, awaits=before))
    return [*rows[:-1], replace(rows[-1], flags=Flag.TAKES_INPUT)]


def chord_of(members: int, body: str = "body", group: str = "g") -> Batch:
    header = [row(f"m{i}", Flag.LINKED, group_id=group, position=i) for i in range(members)]
    return Batch([*header, row(body, Flag.TAKES_INPUT, awaits=group)], [Group(group, members)])


def close(storage: Storage, size: int | None = None) -> None:
    """Say that the group g is whole."""
    storage.groups.enter(Batch(closing=[("g", size)]))


class Run:
    """Drives a storage by hand: runs whatever is claimable, in order, with an outcome for each task."""

    def __init__(self, storage: Storage, worker: FakeWorker) -> None:
        self.storage, self.worker = storage, worker
        self.order: list[str] = []
        self.inputs: dict[str, bytes | None] = {}

    def __call__(self, **outcomes: Outcome) -> list[str]:
        """Run until nothing is claimable; tasks that `outcomes` does not name return their own name."""
        while leases := self.worker.claim(100):
            self.order += [lease.task for lease in leases]
            self.inputs |= {lease.task: lease.input for lease in leases}
            self.storage.settle([(lease, self._outcome(lease, outcomes)) for lease in leases])
        return self.order

    @staticmethod
    def _outcome(lease: Lease, outcomes: dict[str, Outcome]) -> Outcome:
        return outcomes.get(lease.task, Ack(f'"{lease.task}"'.encode()))


@pytest.fixture
def run(storage: Storage, worker: FakeWorker) -> Run:
    return Run(storage, worker)


@pytest.fixture
def state(storage: Storage) -> Callable[[str], State | None]:
    def state(message_id: str) -> State | None:
        record = storage.reader.find(message_id)
        return record.state if record else None

    return state
