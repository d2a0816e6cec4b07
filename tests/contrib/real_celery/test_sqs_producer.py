"""Celery itself as a producer: `broker_url = "sqs://..."` at the gateway, its code as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.states import State
from liteq.testing import drain

IS_THERE = any(found.name == "celery" for found in distributions(name="celery"))
pytestmark = [pytest.mark.skipif(not IS_THERE, reason="Celery itself is not installed")]

KEYS = {"AKSHOP": {"name": "shop", "queues": ["celery", "mail"], "tasks": ["shop.*"], "secret": "s3cret"}}
PRODUCER = """
import json, os
from celery import Celery, chain, chord, group

app = Celery("shop", broker=os.environ["BROKER"], backend="cache+memory://")
app.conf.broker_transport_options = {"region": "eu-central-1", "is_secure": False}
app.conf.task_publish_retry = False


@app.task(name="shop.add")
def add(a, b): ...


@app.task(name="shop.note")
def note(*args): ...


def error_of(send):
    try:
        send()
    except Exception as exc:
        return str(exc)


print(json.dumps({
    "plain": add.delay(1, 2).id,
    "chain": chain(add.s(1, 2), add.s(10), note.si("end").set(queue="mail")).delay().id,
    "linked": add.apply_async((5, 5), link=note.s("after"), link_error=note.s("failed")).id,
    "options": add.apply_async((1, 1), priority=3, countdown=3600, expires=7200, headers={"who": "ann"}).id,
    "group": [one.id for one in group(add.s(n, n) for n in range(3)).delay()],
    "behind": chain(note.si("first"), chord([add.s(1, 1), add.s(2, 2)], note.s())).delay().id,
    "chord": error_of(chord([add.s(1, 1), add.s(2, 2)], note.s()).delay),
    "task": error_of(app.signature("other.pay").delay),
    "queue": error_of(add.s(1, 1).set(queue="vip").delay),
}))
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", set_as_current=False)
    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def address(app: LiteQ, tmp_path: Path) -> Iterator[str]:
    """A gateway of its own process, as `liteq gateway` starts it: host and port."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(KEYS))
    keys.chmod(0o600)
    command = [sys.executable, "-m", "liteq", "-b", str(app.broker_url), "gateway", "--port", "0"]
    with subprocess.Popen([*command, "--key-file", str(keys)], stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        yield serving.stdout.readline().strip().removeprefix("http://").rstrip("/")
        serving.terminate()
    assert serving.returncode == 0


@pytest.fixture
def sent(address: str, tmp_path: Path) -> dict[str, Any]:
    """The ids, and the errors, of a program that knows Celery alone."""
    env = {**os.environ, "BROKER": f"sqs://AKSHOP:s3cret@{address}//"}
    done = subprocess.run(
        [sys.executable, "-c", PRODUCER], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_its_calls_are_rows_under_its_ids_and_what_cannot_be_one_is_told(app: LiteQ, sent: dict[str, Any]) -> None:
    find = app.storage.reader.find
    plain, options, link = find(sent["plain"]), find(sent["options"]), find(sent["linked"])
    assert plain is not None
    assert options is not None
    assert link is not None
    assert (plain.task, plain.queue, plain.state, plain.payload) == ("shop.add", "celery", State.PENDING, b"[[1,2],{}]")
    assert (options.priority, options.state) == (3, State.SCHEDULED)
    assert options.expires_ms is not None
    assert options.expires_ms > options.due_ms
    assert json.loads(options.options or b"{}")["headers"]["who"] == "ann"
    assert [record.task for one in sent["group"] if (record := find(one))] == ["shop.add"] * 3
    last = find(sent["chain"])
    assert last is not None
    assert (last.task, last.queue, last.state) == ("shop.note", "mail", State.BLOCKED)
    assert "a chord's members come one by one" in sent["chord"]
    assert "may not send the task 'other.pay'" in sent["task"]
    assert "queue is not there" in sent["queue"]


def test_a_chord_behind_a_task_comes_as_a_whole_and_joins(app: LiteQ, sent: dict[str, Any]) -> None:
    @app.task(name="shop.add")
    def add(*args: Any) -> Any:
        return sum(args[-2:])

    @app.task(name="shop.note")
    def note(*args: object) -> list[object]:
        return list(args)

    drain(app)
    assert app.AsyncResult(sent["behind"]).get(timeout=60) == [[2, 4]]


def test_a_worker_of_liteq_carries_its_chain_through(app: LiteQ, sent: dict[str, Any]) -> None:
    @app.task(name="shop.add")
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="shop.note")
    def note(*args: object) -> list[object]:
        return list(args)

    drain(app)
    assert app.AsyncResult(sent["chain"]).get(timeout=60) == ["end"]
    assert app.AsyncResult(sent["linked"]).get(timeout=60) == 10
