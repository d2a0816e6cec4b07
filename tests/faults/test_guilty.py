"""A bad value harms its own task alone: it ends no worker, and holds up no neighbour."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from liteq import LiteQ
from liteq.beat import Beat
from liteq.serialization import decode_error
from liteq.states import FINISHED, State
from liteq.storage.reading.inspect import Record
from liteq.testing import start_worker

ROW = """
INSERT INTO liteq_messages (id, task, queue, priority, state, payload, options, due_ms, created_ms, flags, position)
VALUES ({id}, 'neighbour', 'celery', {priority}, {state}, {payload}, {options}, {due}, 1000, {flags}, 0)
"""
PLAIN = {
    "id": "'x1'", "priority": "0", "state": "'pending'", "payload": "CAST('[[2],{}]' AS BLOB)", "options": "NULL",
    "due": "1000", "flags": "0",
}  # fmt: skip
MESSAGES = {
    "an empty payload": {"payload": "x''"},
    "a payload that is no JSON": {"payload": "x'00ff'"},
    "time limits of text": {"options": """CAST('{"timelimit": ["a", "b"]}' AS BLOB)"""},
    "options that are no JSON": {"options": "x'00'"},
    "a priority of text": {"priority": "'high'"},
    "a due time of text": {"due": "'2020-01-01'", "state": "'scheduled'"},
    "flags of text": {"flags": "'x'"},
    "an id that is no UTF-8": {"id": "CAST(x'ff41' AS TEXT)"},
}
RUNS_ALL_THE_SAME = "a priority of text"  # SQLite orders it too
OTHERS = {
    "a worker's facts": """
        INSERT INTO liteq_workers (uuid, name, host, boot, pid, started, started_ms, heartbeat_ms, info)
        SELECT 'u', 'n', host, boot, pid, '1', 1, 1, x'00' FROM liteq_workers LIMIT 1""",
    "a command's destination": """
        INSERT INTO liteq_commands (name, arguments, destination, wants_reply, expires_ms)
        VALUES ('ping', '{}', 'nope', 1, 99999999999999)""",
    "a rate": "INSERT INTO liteq_limits (key, rate) VALUES ('task:neighbour', 'fast')",
    "a schedule": """
        INSERT INTO liteq_schedules (name, owner, source, schedule, signature, enabled, next_due_ms, created_ms)
        VALUES ('s', '', '', 'nope', '{}', 1, 1, 1)""",
}


@pytest.fixture
def app(tmp_path):
    with LiteQ("guilty", broker=f"sqlite:///{tmp_path}/q.db") as made:

        @made.task(name="neighbour")
        def neighbour(n: int) -> int:
            return n

        made.storage.migrate()
        yield made


WRITE = """
import json, sqlite3, sys
path, statements = json.load(sys.stdin)
connection = sqlite3.connect(path, timeout=20, isolation_level=None)
refused = 0
for sql in statements:
    try:
        connection.execute(sql)
    except sqlite3.IntegrityError:  # the schema lets nothing in: as good
        refused += 1
connection.close()
print(refused)
"""


def write(app: LiteQ, *statements: str) -> int:
    """Write as another program would: a second SQLite in this process would drop the locks. How many were refused."""
    given = json.dumps([app.storage.driver.path, statements])
    done = subprocess.run([sys.executable, "-c", WRITE], input=given, capture_output=True, text=True, check=True)
    return int(done.stdout)


def records(app: LiteQ) -> list[Record]:
    return [record for state in State for record in app.storage.reader.messages(state)]


@pytest.mark.parametrize("fault", MESSAGES)
def test_a_message_written_by_hand_is_a_dead_letter_and_the_next_one_runs(app, fault):
    write(app, ROW.format(**{**PLAIN, **MESSAGES[fault]}))
    with start_worker(app):
        assert app.tasks["neighbour"].delay(7).get(timeout=60) == 7
        wait_for_ends(app)
        assert app.tasks["neighbour"].delay(8).get(timeout=60) == 8
    for dead in app.storage.reader.messages(State.DEAD):
        assert decode_error(dead.error).message
    if fault != RUNS_ALL_THE_SAME:
        assert len(app.storage.reader.messages(State.DEAD)) == 1


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_text_that_is_none_stops_no_queue_behind_any_number_of_rows(tmp_path, library):
    with LiteQ("guilty", broker=f"sqlite+{library}:///{tmp_path}/many.db", set_as_current=False) as app:
        neighbour = app.task(name="neighbour")(lambda n: n)
        app.storage.migrate()
        app.enqueue_many(neighbour.s(n).set(queue="another") for n in range(1_001))
        write(app, ROW.format(**{**PLAIN, **MESSAGES["an id that is no UTF-8"], "priority": "9"}))
        with start_worker(app):
            assert neighbour.delay(7).get(timeout=60) == 7
        assert len(app.storage.reader.messages(State.DEAD)) == 1


@pytest.mark.parametrize("table", OTHERS)
def test_what_another_program_wrote_beside_the_messages_stops_no_worker(app, table):
    with start_worker(app, chores=[Beat(app)]):
        write(app, OTHERS[table])
        assert app.tasks["neighbour"].delay(7).get(timeout=60) == 7
        assert app.control.ping(timeout=60)
    with start_worker(app, chores=[Beat(app)]):  # nor the start of the next one
        assert app.tasks["neighbour"].delay(8).get(timeout=60) == 8


def wait_for_ends(app: LiteQ) -> None:
    for record in records(app):
        if record.state not in FINISHED:
            app.AsyncResult(record.id).get(timeout=60, propagate=False)


ODD = ["'text'", "x'ff'", "NULL", "1e300", "-9223372036854775808", "9223372036854775807", "''", "x''", "0.5", "'é'"]


@pytest.mark.parametrize("seed", range(4))
def test_any_values_in_any_columns(app, seed):
    """Rows of arbitrary values: whatever the schema lets in, the neighbour runs and nothing keeps waiting."""
    chance = random.Random(seed)
    rows = []
    for n in range(60):
        columns = {**PLAIN, "id": f"'odd-{n}'"}
        for name in chance.sample(sorted(set(PLAIN) - {"state"}), k=chance.randint(1, 3)):
            columns[name] = chance.choice(ODD)
        rows.append(ROW.format(**columns))
    assert write(app, *rows) < 40
    with start_worker(app):
        assert app.tasks["neighbour"].delay(7).get(timeout=60) == 7
        assert [n for n in range(5) if app.tasks["neighbour"].delay(n).get(timeout=60) != n] == []


# -- what a task comes to ----------------------------------------------------------------------------------------------

OUTCOMES = {
    "a retry beyond all time": lambda task: task.retry(countdown=1e17),
    "a retry at no number": lambda task: task.retry(countdown=float("nan")),
    "a key that is no text": lambda task: task.replace(task.app.tasks["neighbour"].si(1).set(unique_key=2**70)),
    "a key that is a list": lambda task: task.replace(task.app.tasks["neighbour"].si(1).set(unique_key=["k"])),
    "a key of half a character": lambda task: task.replace(task.app.tasks["neighbour"].si(1).set(unique_key="\ud800")),
    "a priority beyond all numbers": lambda task: task.replace(task.app.tasks["neighbour"].si(1).set(priority=2**70)),
}


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_task_of_which_no_outcome_can_be_stored_fails_alone(app, pool, checked, monkeypatch):
    if not checked:  # then it is the file that refuses it
        monkeypatch.setattr("liteq.sending.publisher.checked_priority", lambda priority: priority)

    @app.task(name="guilty", bind=True)
    def guilty(self, how: str) -> None:
        OUTCOMES[how](self)

    neighbour = app.tasks["neighbour"]
    with start_worker(app, pool=pool, concurrency=2):
        sent = [(guilty.delay(how), neighbour.delay(n)) for n, how in enumerate(OUTCOMES)]
        assert [result.get(timeout=60) for _, result in sent] == list(range(len(OUTCOMES)))
        for failed, _ in sent:
            failed.get(timeout=60, propagate=False)
            assert failed.state == "FAILURE"
        assert neighbour.delay(9).get(timeout=60) == 9


@pytest.mark.parametrize("rate", ["1e-12/h", "0.0000001/h"])
def test_a_rate_that_no_file_can_hold_is_refused_where_it_is_said(app, rate):
    with pytest.raises(ValueError, match="no rate"):
        app.control.global_rate_limit("neighbour", rate)
