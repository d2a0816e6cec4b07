"""`liteq move`: all that waits goes to another store, once; killed at any step, it is finished by the next call."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result

from liteq import LiteQ
from liteq.cli import main
from liteq.clock import FakeClock
from liteq.context.identity import me
from liteq.exceptions import ReadOnly, StorageError
from liteq.message import Ack, Batch, DeadLetter, Exclusion, Flag, Group, Message, Outcome, WorkerIdentity, new_id
from liteq.operating import moving
from liteq.operating.moving import MoveRefused
from liteq.serialization import encode_error
from liteq.serialization.sealing import Vault
from liteq.storage.facades.keeping.sessions import Sessions
from liteq.storage.graphs.records import HASH, LIST, Blob, Checkpoint, Value
from liteq.storage.kept.conversations import Entry, Record
from liteq.storage.moving import rows
from liteq.storage.moving.tables import MESSAGES, MOVED
from liteq.storage.runs import executing
from liteq.storage.sealed import seal, vault_of
from liteq.storage.storage import Storage, open_storage
from liteq.workflow import ctx

from .. import postgresql
from ..codecs import Backwards
from .runs import Worker

PAYLOAD = b"[[],{}]"
LARGE = b"[[" + b"1," * 1_000 + b"1],{}]"
DEAD = DeadLetter(encode_error(ValueError("no")))
SCHEMAS = ("move_from", "move_to")
NO_PSYCOPG = importlib.util.find_spec("psycopg") is None
ENDS = [("file", "file"), ("file", "server"), ("server", "file")]

Stores = tuple[Storage, Storage]


def fresh_url(request: pytest.FixtureRequest, kind: str, schema: str, folder: Path) -> str:
    if kind == "file":
        return f"sqlite:///{folder}/{schema}.db"
    if NO_PSYCOPG:
        pytest.skip("psycopg is not installed (extra postgres)")
    import psycopg

    server = request.getfixturevalue("postgresql_server")
    with psycopg.connect(host=server, user="postgres", autocommit=True) as connection:
        connection.execute(f"SET client_min_messages TO warning; DROP SCHEMA IF EXISTS {schema} CASCADE")
    return postgresql.url(server, schema)


def opened(urls: list[str]) -> Stores:
    source, target = (open_storage(url, durability="relaxed") for url in urls)
    source.migrate()
    target.migrate()
    return source, target


@pytest.fixture(params=ENDS, ids="-to-".join)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """The source, and an empty target."""
    both = opened([fresh_url(request, *end, tmp_path) for end in zip(request.param, SCHEMAS, strict=True)])
    yield both
    for storage in both:
        storage.close()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Stores]:
    both = opened([f"sqlite:///{tmp_path}/{name}.db" for name in SCHEMAS])
    yield both
    for storage in both:
        storage.close()


def row(name: str, flags: int = 0, **fields: Any) -> Message:
    return Message(**{"id": name, "task": name, "payload": PAYLOAD, "flags": flags, **fields})


class Hands:
    """A worker without processes, which leaves when it has done its work."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.number = storage.register_worker(WorkerIdentity(new_id(), "hands", "elsewhere", "", 1, ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.storage.unregister_worker(self.number)

    def run(self, *, most: int = 100, **outcomes: Outcome) -> dict[str, bytes | None]:
        """Run what is due, `most` messages; the input of each. Each returns its own name, unless told otherwise."""
        inputs: dict[str, bytes | None] = {}
        for _ in range(most):
            leases = self.storage.claim(["celery"], worker=self.number, limit=1, visibility_s=60)
            if not leases:
                break
            (lease,) = leases
            inputs[lease.task] = lease.input
            self.storage.settle([(lease, outcomes.get(lease.task, Ack(f'"{lease.task}"'.encode())))])
        return inputs


def fill(storage: Storage) -> None:
    """A finished task, a dead letter, half a chain, half a chord, large arguments, and one that is due in an hour."""
    with Hands(storage) as hands:
        storage.enqueue(Batch([row("finished"), row("broken")]))
        storage.enqueue(Batch([row("first", Flag.LINKED), row("next", Flag.TAKES_INPUT, awaits="first")]))
        members = [row(f"m{i}", Flag.LINKED, group_id="g", position=i) for i in range(2)]
        storage.enqueue(Batch([*members, row("body", Flag.TAKES_INPUT, awaits="g")], [Group("g", 2)]))
        hands.run(most=4, broken=DEAD)  # "m1" waits, and "next"
    storage.enqueue(Batch([row("large", payload=LARGE)]))
    later = storage.clock.now_ms() + 3_600_000
    storage.enqueue(Batch([row("later", due_ms=later, delay_ms=3_600_000)]))


def states(storage: Storage) -> dict[str, str]:
    with storage.driver.read() as tx:
        return dict(tx.execute("SELECT id, state FROM liteq_messages"))


def everything(storage: Storage) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that are to go, by table."""
    return {table: [one for page in rows.pages(storage.driver, table) for one in page] for table in MOVED}


def move(stores: Stores) -> list[moving.Progress]:
    return list(moving.move(*stores))


# -- what goes, and what stays ----------------------------------------------------------------------------------------


def test_what_waits_goes_with_what_it_needs_and_the_rest_stays(stores: Stores) -> None:
    source, target = stores
    fill(source)
    assert move(stores)[-1].doing == "done"
    left = states(source)
    assert left.pop("finished") == "succeeded"
    assert left == {}
    assert states(target) == {
        "broken": "dead", "first": "succeeded", "next": "pending", "m0": "succeeded", "m1": "pending",
        "body": "blocked", "large": "pending", "later": "scheduled",
    }  # fmt: skip


def test_what_was_moved_runs_at_the_target_in_its_order_with_its_inputs(stores: Stores) -> None:
    source, target = stores
    fill(source)
    move(stores)
    with Hands(target) as hands:
        inputs = hands.run()
        assert inputs == {"next": b'"first"', "m1": None, "body": b'["m0","m1"]', "large": None}
        assert target.dead.requeue(["broken"]) == ["broken"]
        assert list(hands.run()) == ["broken"]
    with Hands(source) as hands:
        assert hands.run() == {}


def test_what_excludes_others_for_a_time_goes_with_its_result(files: Stores) -> None:
    source, target = files
    unique = {"unique_key": "k", "unique": Exclusion(within_ms=3_600_000)}
    source.enqueue(Batch([row("a", **unique)]))
    with Hands(source) as hands:
        hands.run()
    move(files)
    assert target.enqueue(Batch([row("b", **unique)])) == ["a"]
    assert states(target) == {"a": "succeeded"}


def test_moved_again_there_is_nothing_to_do_also_while_workers_live_at_the_target(stores: Stores) -> None:
    source, target = stores
    fill(source)
    move(stores)
    target.register_worker(me("alive"))
    assert move(stores) == []


def test_there_and_back(stores: Stores) -> None:
    source, target = stores
    fill(source)
    before = states(source)
    move(stores)
    target.enqueue(Batch([row("new")]))
    move((target, source))
    assert states(target) == {}
    assert states(source) == {**before, "new": "pending"}
    with Hands(source) as hands:
        assert set(hands.run()) == {"next", "m1", "body", "large", "new"}


def test_numbers_and_tokens_go_on_above_those_that_came(stores: Stores) -> None:
    source, target = stores
    source.enqueue(Batch([row("a")]))
    with source.driver.write() as tx:
        given = tx.tokens(1) + 1
    move(stores)
    target.enqueue(Batch([row("b")]))
    with target.driver.write() as tx:
        assert tx.tokens(1) >= given
        assert tx.execute("SELECT id FROM liteq_messages ORDER BY seq") == [("a",), ("b",)]


def test_what_has_ended_at_the_target_is_no_message_of_its_own(stores: Stores) -> None:
    """Numbers that are taken there do not clash, and an id that comes back takes the place of what ended under it."""
    source, target = stores
    with Hands(target) as hands:
        target.enqueue(Batch([row("old"), row("large")]))
        hands.run()
    fill(source)
    move(stores)
    assert states(target) | {"old": "succeeded", "large": "pending", "m1": "pending"} == states(target)
    with Hands(target) as hands:
        lease = next(one for one in target.claim(["celery"], worker=hands.number, limit=9, visibility_s=60)
                     if one.task == "large")  # fmt: skip
        assert target.reader.with_payload(lease).payload == LARGE


NUMBER = 7


def sample(table: str, types: dict[str, str]) -> tuple[Any, ...]:
    """A row with a value in each column, of the message NUMBER, which waits."""
    own: dict[str, Any] = {}
    match table:
        case "liteq_messages":
            own = {"state": "pending", "options": b"{}", "finished_ms": None, "token": None, "worker": None}
        case "liteq_groups":
            own = {"finished_ms": None, "remaining": 1}
        case "liteq_bodies":
            own = {"ref": 2 * NUMBER}
    values = {"TEXT": lambda name: f"{name} of {table}", "BLOB": lambda name: f"\0{name}".encode()}
    return tuple(own.get(name, values.get(types[name], lambda _: NUMBER)(name)) for name in MOVED[table].all_columns)


def test_each_table_arrives_as_it_was(stores: Stores, tmp_path: Path) -> None:
    source, target = stores
    scratch = open_storage(f"sqlite:///{tmp_path}/scratch.db")
    scratch.migrate()
    with scratch.driver.read() as tx:
        types = {table: dict(tx.execute(f"SELECT name, type FROM pragma_table_info('{table}')")) for table in MOVED}
    scratch.close()
    with source.driver.write() as tx:
        for table in MOVED:
            rows.insert(tx, table, [sample(table, types[table])], 0)
    before = everything(source)
    assert all(len(found) == 1 for found in before.values())
    move(stores)
    assert everything(target) == before
    assert all(found == [] for found in everything(source).values())


def test_a_page_is_bounded_by_rows_and_by_bytes(files: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PAGE_ROWS", 3)
    monkeypatch.setattr(rows, "PAGE_BYTES", 2 * len(LARGE))
    source, target = files
    source.enqueue_many([row(f"r{i}", payload=LARGE) for i in range(8)])
    sizes = {table: [len(page) for page in rows.pages(source.driver, table)] for table in (MESSAGES, "liteq_bodies")}
    assert sizes == {MESSAGES: [3, 3, 2], "liteq_bodies": [2, 2, 2, 2]}
    move(files)
    assert set(states(target)) == {f"r{i}" for i in range(8)}


def app_of(storage: Storage) -> LiteQ:
    app = LiteQ("wf", broker=storage.driver.url, clock=FakeClock(), durability="relaxed", set_as_current=False)

    @app.step(name="note")
    def note(text: str) -> str:
        return f"noted {text}"

    @app.workflow(name="greets")
    def greets(name: str) -> list[str]:
        return [note(name), str(ctx.wait_event("go"))]

    return app


def test_a_run_goes_on_at_the_target_where_it_waited(stores: Stores) -> None:
    before, after = map(app_of, stores)
    with before, after:
        run = before.tasks["greets"].start("Ada")
        Worker(before).run()
        assert before.Run(run.id).send("go", "now")  # it lies in the inbox
        move(stores)
        Worker(after).run()
        assert after.Run(run.id).result(0) == ["noted Ada", "now"]


def test_a_failed_run_has_its_events_at_the_target_under_another_number_too(stores: Stores) -> None:
    _, target = stores
    with Hands(target) as hands:
        target.enqueue(Batch([row("ended")]))  # its number is taken
        hands.run()
    fails = [True]
    before, after = map(app_of, stores)
    with before, after:
        for app in (before, after):

            @app.workflow(name="fails")
            def body() -> str:
                if fails.pop() if fails else False:
                    raise ValueError("not yet")
                return str(ctx.wait_event("go"))

        run = before.tasks["fails"].start()
        before.Run(run.id).send("go", "now")
        Worker(before).run()
        move(stores)
        assert after.Run(run.id).retry()
        Worker(after).run()
        assert after.Run(run.id).result(0) == "now"


def test_sealed_values_go_as_they_stand(files: Stores, tmp_path: Path) -> None:
    """Nobody needs the key to move them; who has it reads them at the target."""
    source, target = files
    sealed, there = (open_storage(one.driver.url, durability="relaxed") for one in files)
    seal(sealed.driver, Vault(Backwards(), "tests"))
    sealed.migrate()
    sealed.enqueue(Batch([row("secret", payload=b'[["card"],{}]')]))
    move((source, target))
    with target.driver.read() as tx:
        ((stored,),) = tx.execute("SELECT payload FROM liteq_messages")
    assert b"card" not in stored
    there.migrate()
    assert vault_of(there.driver) is not None, "the target does not know that its values are sealed"
    seal(there.driver, Vault(Backwards(), "tests"))
    with Hands(there) as hands:
        (lease,) = there.claim(["celery"], worker=hands.number, limit=1, visibility_s=60)
        assert lease.payload == b'[["card"],{}]'
    sealed.close()
    there.close()


# -- refused: nothing is changed --------------------------------------------------------------------------------------


def test_a_living_worker_at_either_end_refuses(stores: Stores) -> None:
    source, target = stores
    fill(source)
    before = states(source)
    for end in stores:
        worker = end.register_worker(me("alive@here"))
        with pytest.raises(MoveRefused, match=r"workers live at .*: alive@here; stop them first"):
            move(stores)
        end.unregister_worker(worker)
    assert (states(source), states(target)) == (before, {})
    assert source.enqueue(Batch([row("still taken")])) == ["still taken"]


def test_a_target_with_messages_of_its_own_refuses(stores: Stores) -> None:
    source, target = stores
    fill(source)
    target.enqueue(Batch([row("own")]))
    before = states(source)
    with pytest.raises(MoveRefused, match=r"holds messages of its own \(1 that wait"):
        move(stores)
    assert (states(source), states(target)) == (before, {"own": "pending"})


def checkpoint(storage: Storage, thread: str, *elements: str) -> None:
    """A checkpoint of a graph, with a list of these in its channel."""
    hashes = [name.ljust(HASH, "_") for name in elements]
    value = Value("c", "1", LIST, "".join(hashes).encode())
    blobs = {hash_: Blob("m", hash_.encode()) for hash_ in hashes}
    storage.graphs.put(Checkpoint(thread, "", "1", None, None, b'{"c":"1"}', "m", b"body"), [value], blobs)


def test_what_clients_keep_beside_messages_is_refused_meanwhile_and_not_lost(stores: Stores) -> None:
    source, target = stores
    fill(source)
    checkpoint(source, "t", "a")
    Sessions(source.driver, source.clock).add("s", [b'"before"'])
    steps = moving.move(source, target)
    for _ in range(3):
        next(steps)  # both ends are shut
    for end in stores:
        record, entry = Record("c", None, "1", b"{}", 1), Entry("e", None, b"{}")
        writes: list[Callable[[], object]] = [
            partial(checkpoint, end, "t2", "a", "b"),
            partial(Sessions(end.driver, end.clock).add, "s", [b'"meanwhile"']),
            partial(end.conversations.write, record, ["e"], [entry], expected=None, head=None),
            partial(end.limits.set, "api", rate="1/s"),
        ]
        for write in writes:
            with pytest.raises(StorageError, match="is being moved"):
                write()
    list(steps)
    for end in stores:
        checkpoint(end, "t2", "a", "b")
    assert Sessions(target.driver, target.clock).items("s") == [b'"before"']
    with target.driver.read() as tx:
        found = tx.execute("SELECT hash, refs FROM liteq_graph_blobs ORDER BY hash")
    assert [(hash_.rstrip("_"), refs) for hash_, refs in found] == [("a", 2), ("b", 1)]


def test_an_event_that_was_put_back_is_not_lost_where_the_target_has_events(stores: Stores) -> None:
    source, target = stores
    fill(source)
    source.runs.send("run", "go", b'"second"')
    for first in (b'"first"', b'"before it"'):
        with source.driver.write() as tx:
            tx.executemany(executing.IN_FRONT, [("run", "go", first, 1)])
    target.runs.send("other", "go", b'"theirs"')
    move(stores)
    with target.driver.read() as tx:
        found = tx.execute("SELECT run_id, payload FROM liteq_inbox ORDER BY id")
    assert found == [
        ("other", b'"theirs"'), ("run", b'"before it"'), ("run", b'"first"'), ("run", b'"second"'),
    ]  # fmt: skip
    target.runs.send("run", "go", b'"third"')
    with source.driver.read() as tx:
        assert tx.execute("SELECT 1 FROM liteq_inbox") == []


def test_the_events_of_a_failed_run_go_with_it(stores: Stores) -> None:
    source, target = stores
    target.enqueue(Batch([row("theirs")]))
    with Hands(target) as hands:
        hands.run(most=1)  # numbers go on above it
    source.enqueue(Batch([row("r", Flag.RUN)]))
    source.runs.send("r", "go", b"1")
    with Hands(source) as hands:
        hands.run(most=1, r=DEAD)
    move(stores)
    assert target.runs.retry("r")
    assert [name for name, _ in target.runs.inbox("r")] == ["go"]


def test_graphs_are_not_put_over_those_of_the_target(files: Stores) -> None:
    source, target = files
    fill(source)
    checkpoint(target, "theirs", "a")
    before = states(source)
    checkpoint(source, "ours", "a")
    with pytest.raises(MoveRefused, match="both hold checkpoints of LangGraph"):
        move(files)
    assert (states(source), states(target)) == (before, {})
    target.graphs.delete_thread("theirs")
    move(files)
    assert target.graphs.load("ours", "", "1") is not None


def test_a_target_that_gets_messages_in_between_refuses_and_the_source_opens_again(files: Stores) -> None:
    source, target = files
    fill(source)
    before = states(source)
    steps = moving.move(source, target)
    next(steps)  # the source is shut, the target not yet
    target.enqueue(Batch([row("own")]))
    with pytest.raises(MoveRefused, match="messages of its own"):
        next(steps)
    source.enqueue(Batch([row("more")]))
    assert states(source) == {**before, "more": "pending"}


def test_a_target_that_cannot_be_written_leaves_the_source_open(files: Stores) -> None:
    source, target = files
    fill(source)
    before = states(source)
    with closing(open_storage(f"{target.driver.url}?mode=ro")) as read, pytest.raises(ReadOnly):
        move((source, read))
    source.enqueue(Batch([row("more")]))
    assert states(source) == {**before, "more": "pending"}


def test_what_a_silent_worker_may_still_do_is_waited_for(files: Stores) -> None:
    source, _ = files
    silent = source.register_worker(WorkerIdentity(new_id(), "far", "elsewhere", "", 1, ""))
    source.enqueue(Batch([row("leased")]))
    assert source.claim(["celery"], worker=silent, limit=1, visibility_s=600)
    with source.driver.write() as tx:
        tx.execute("UPDATE liteq_workers SET heartbeat_ms = 0")
    with pytest.raises(MoveRefused, match=r"leased by workers that fell silent \(1, the last of them until 20"):
        move(files)
    with source.driver.write() as tx:
        tx.execute("UPDATE liteq_messages SET deadline_ms = 1")
    move(files)
    assert states(files[1]) == {"leased": "pending"}


def test_a_move_is_finished_to_the_target_that_it_began_with(files: Stores, tmp_path: Path) -> None:
    source, target = files
    fill(source)
    (other,) = opened([f"sqlite:///{tmp_path}/other.db"] * 2)[:1]
    list(islice(moving.move(source, target), 4))
    for ends in ((source, other), (other, target), (target, other)):
        other.enqueue(Batch([row(new_id())]))
        with pytest.raises(MoveRefused):
            move(ends)
    move(files)
    assert "next" in states(target)
    other.close()


def test_a_source_of_which_nothing_has_gone_opens_again(files: Stores) -> None:
    source, target = files
    fill(source)
    before = states(source)
    list(islice(moving.move(source, target), 5))
    with pytest.raises(StorageError, match="this queue is being moved"):
        source.enqueue(Batch([row("refused")]))
    told = CliRunner().invoke(main, ["-b", source.driver.url, "doctor"])
    assert (told.exit_code, "shut by a `liteq move` that has not ended" in told.stdout) == (1, True), told.output
    assert moving.give_up(source)
    source.enqueue(Batch([row("taken")]))
    assert states(source) == {**before, "taken": "pending"}
    assert not moving.give_up(source)


# -- killed -----------------------------------------------------------------------------------------------------------


class Undone(Exception):
    """Rolls back."""


def claimable(storage: Storage) -> set[str]:
    """The messages that a worker could have now; none of a store that is shut."""
    found: set[str] = set()
    with suppress(Undone, StorageError), storage.driver.write() as tx:
        rows_ = tx.execute("UPDATE liteq_messages SET state = 'leased' WHERE state = 'pending' RETURNING id")
        found = {id_ for (id_,) in rows_}
        raise Undone
    return found


@pytest.mark.parametrize("stores", [*ENDS, ("server", "server")], ids="-to-".join, indirect=True)
def test_ended_after_any_step_it_is_finished_by_the_next_call(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call ends after one step, the second after two, and so on: each goes on where the one before was."""
    monkeypatch.setattr(rows, "PAGE_ROWS", 2)
    source, target = stores
    fill(source)
    before, waiting = everything(source), claimable(source)
    assert waiting == {"next", "m1", "large"}
    for steps in range(1, 200):
        is_done = len(list(islice(moving.move(source, target), steps))) < steps
        assert claimable(target) == (waiting if is_done else set())
        assert claimable(source) == set()
        if is_done:
            break
    assert everything(target) == before
    assert move(stores) == []


KILLED = """
import os, signal, sys
from liteq.operating import moving
from liteq.serialization.sealing import Vault
from liteq.storage.moving import rows
from liteq.storage.storage import open_storage

verb, calls = sys.argv[3], int(sys.argv[4])
original = getattr(rows, verb)

def last(*args):
    global calls
    calls -= 1
    done = original(*args)
    if calls == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

setattr(rows, verb, last)
for _ in moving.move(open_storage(sys.argv[1]), open_storage(sys.argv[2])):
    pass
"""


@pytest.mark.parametrize("stores", ENDS[1:], ids="-to-".join, indirect=True)
@pytest.mark.parametrize("verb", ["insert", "delete"])
def test_killed_inside_a_step_it_is_finished_by_the_next_call(stores: Stores, verb: str) -> None:
    source, target = stores
    fill(source)
    before = everything(source)
    urls = [one.driver.url for one in stores]
    killed = subprocess.run([sys.executable, "-c", KILLED, *urls, verb, "2"], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert claimable(source) == claimable(target) == set()
    move(stores)
    assert everything(target) == before
    assert states(source) == {"finished": "succeeded"}


# -- the command ------------------------------------------------------------------------------------------------------


def command(*args: str) -> Result:
    return CliRunner().invoke(main, ["move", *args])


def test_the_command_moves_tells_and_refuses(stores: Stores) -> None:
    source, target = stores
    fill(source)
    ends = ("--from", source.driver.url, "--to", target.driver.url)
    looked = command(*ends, "--dry-run", "--json")
    assert json.loads(looked.stdout)["rows"] == {"messages": 8, "bodies": 1, "groups": 1, "attempts": 1, "causes": 1}
    worker = source.register_worker(me("alive@here"))
    refused = command(*ends)
    assert (refused.exit_code, refused.stderr.count("\n")) == (75, 1), refused.stderr
    assert f"workers live at {source.driver.where()}" in refused.stderr
    source.unregister_worker(worker)
    moved = json.loads(command(*ends, "--json").stdout)
    assert (moved["from"], moved["to"], moved["moved"]) == (source.driver.where(), target.driver.where(), 8)
    again = command(*ends)
    assert (again.exit_code, again.stdout) == (0, f"Nothing to move: nothing waits at {source.driver.where()}.\n")


def test_a_dry_run_makes_no_target(files: Stores, tmp_path: Path) -> None:
    fill(files[0])
    before = states(files[0])
    done = command("--from", files[0].driver.url, "--to", f"sqlite:///{tmp_path}/none.db", "--dry-run")
    assert (done.exit_code, done.stdout.startswith("Would move from")) == (0, True), done.stderr
    assert not (tmp_path / "none.db").exists()
    assert states(files[0]) == before


def test_a_dry_run_leaves_a_backup_as_it_is(files: Stores, tmp_path: Path) -> None:
    fill(files[0])
    backup = tmp_path / "backup.db"
    files[0].backup(backup)
    before = backup.read_bytes()
    done = command("--from", f"sqlite:///{backup}", "--to", files[1].driver.url, "--dry-run")
    assert (done.exit_code, done.stdout.startswith("Would move from")) == (0, True), done.stderr
    assert backup.read_bytes() == before


def test_where_nothing_waits_no_target_is_made(files: Stores, tmp_path: Path) -> None:
    done = command("--from", files[0].driver.url, "--to", f"sqlite:///{tmp_path}/none.db")
    assert (done.exit_code, done.stdout.startswith("Nothing to move")) == (0, True), done.stderr
    assert not (tmp_path / "none.db").exists()


def test_the_settings_of_a_store_hold_for_both_ends(
    files: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(files[0])
    monkeypatch.setenv("LITEQ_FILE_MODE", "660")
    done = command("--from", files[0].driver.url, "--to", f"sqlite:///{tmp_path}/new.db")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o660


def test_a_source_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = command("--from", f"sqlite:///{tmp_path}/none.db", "--to", f"sqlite:///{tmp_path}/other.db")
    assert done.exit_code == 69
    assert list(tmp_path.iterdir()) == []
