"""The gateway's own API: sending, results, and leases for workers in any language."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from liteq import LiteQ, chain, group
from liteq.clock import SystemClock
from liteq.edge.keys import ANYTHING
from liteq.edge.lending import MOST_WAITING
from liteq.edge.v1 import document_of
from liteq.message import WorkerIdentity, new_id
from liteq.policy.rates import Bucket
from liteq.states import State
from liteq.storage.claiming.rates import Budget
from liteq.testing import drain

from .edge import Client, Running, key_file, running
from .worker_process import wait_for


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", set_as_current=False)

    @app.task(name="shop.add")
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="shop.once", acks_late=False)
    def once() -> None: ...

    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def served(app: LiteQ) -> Iterator[Running]:
    with running(app) as found:
        yield found


@pytest.fixture
def ask(served: Running) -> Client:
    return served.client()


def lease(ask: Client, n: int = 1, **more: Any) -> list[dict[str, Any]]:
    found = ask("POST", "/v1/leases", {"queues": ["celery"], "max": n, "wait": 20, **more})
    assert found.status == 200, found.body
    return found.json["leases"]


def settle(ask: Client, one: dict[str, Any], verb: str, **document: Any) -> int:
    return ask("POST", f"/v1/leases/{one['lease']}/{verb}", document).status


# -- sending ---------------------------------------------------------------------------------------------------------


def test_what_was_sent_is_in_the_queue_and_what_was_told_of_it_is_true(app: LiteQ, ask: Client) -> None:
    calls = [
        {"task": "shop.add", "args": [1, 2]},
        {"id": "mine", "task": "shop.add", "kwargs": {"a": 1, "b": 2}, "queue": "mail", "priority": 5},
        {"task": "another.language", "countdown": 60, "tags": ["nightly"]},
    ]
    found = ask("POST", "/v1/tasks", calls).json["tasks"]
    assert [one["new"] for one in found] == [True] * 3
    assert found[1]["id"] == "mine"
    records = [app.storage.reader.find(one["id"]) for one in found]
    assert [(one.task, one.queue, one.priority, one.state) for one in records if one] == [
        ("shop.add", "celery", 0, State.PENDING),
        ("shop.add", "mail", 5, State.PENDING),
        ("another.language", "celery", 0, State.SCHEDULED),
    ]


def test_a_body_that_is_sent_again_makes_no_second_row(app: LiteQ, ask: Client) -> None:
    calls = [{"id": f"n{n}", "task": "shop.add", "args": [n, n]} for n in range(3)]
    first = ask("POST", "/v1/tasks", calls[:2]).json["tasks"]
    again = ask("POST", "/v1/tasks", calls).json["tasks"]
    assert [one["new"] for one in first + again] == [True, True, False, False, True]
    assert sum(count.n for count in app.storage.reader.counts()) == 3


def test_one_key_makes_the_same_ids_again(app: LiteQ, ask: Client) -> None:
    calls = [{"task": "shop.add", "args": [1, 1]}, {"task": "shop.add", "args": [2, 2]}]
    first, again, other = (
        ask("POST", "/v1/tasks", calls, {"Idempotency-Key": key}).json["tasks"] for key in ("a", "a", "b")
    )
    assert [one["id"] for one in first] == [one["id"] for one in again]
    assert [one["new"] for one in again] == [False, False]
    assert [one["new"] for one in other] == [True, True]


def test_two_programs_whose_names_and_keys_read_alike_are_two(app: LiteQ, tmp_path: Path) -> None:
    keys = key_file(tmp_path, A={"name": "shop"}, B={"name": "shop eu"})
    with running(app, keys=keys) as served:
        for token, key in (("A", "eu 1"), ("B", "1")):
            calls = [{"task": "shop.add", "args": [1, 1]}]
            sent = served.client(token)("POST", "/v1/tasks", calls, {"Idempotency-Key": key})
            assert [one["new"] for one in sent.json["tasks"]] == [True]


def test_a_task_whose_result_is_ignored_is_known_by_its_id_when_it_has_run(ask: Client) -> None:
    call = [{"id": "a", "task": "shop.add", "args": [1, 1], "ignore_result": True}]
    ask("POST", "/v1/tasks", call)
    settle(ask, lease(ask)[0], "ack")
    found = ask("POST", "/v1/tasks", call).json["tasks"]
    assert [(one["id"], one["new"]) for one in found] == [("a", False)]


def test_what_another_worker_is_to_have_keeps_its_options(app: LiteQ, tmp_path: Path) -> None:
    app.tasks["shop.add"].apply_async((1, 2), task_id="a", headers={"who": "ann"})
    with running(app, keys=key_file(tmp_path, T={"name": "other", "tasks": ["other.*"]})) as served:
        assert lease(served.client("T"), wait=0) == []
    record = app.storage.reader.find("a")
    assert record is not None
    assert b"ann" in (record.options or b"")


def test_an_id_twice_in_one_body_is_one_task(ask: Client) -> None:
    calls = [{"id": "same", "task": "shop.add", "args": [1, 1]}] * 2
    assert [one["new"] for one in ask("POST", "/v1/tasks", calls).json["tasks"]] == [True, False]


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        ({"task": "shop.add"}, "list of calls"),
        ([{"args": [1]}], "task is the name"),
        ([{"task": "shop.add", "argz": [1]}], "did you mean 'args'"),
        ([{"task": "shop.add", "args": {"a": 1}}], "args is a list"),
        ([{"task": "shop.add", "args": [1]}], "missing"),
        ([{"task": "", "args": []}], "a task's name"),
        ([{"task": "x", "priority": "high"}], "priority"),
        ([{"task": "x", "eta": "tomorrow"}], "tomorrow"),
        ([{"task": "x", "id": ""}], "id has 1 to"),
        ([{"task": "x", "id": 5}], "id is a string"),
        ([{"task": "x", "queue": 5}], "a queue is a name"),
    ],
)
def test_what_is_no_call_is_refused_and_nothing_is_sent(app: LiteQ, ask: Client, calls: Any, says: str) -> None:
    more = [{"task": "shop.add", "args": [1, 1]}, *calls] if isinstance(calls, list) else calls
    found = ask("POST", "/v1/tasks", more)
    assert found.status == 400
    assert found.headers["content-type"] == "application/problem+json"
    assert says in found.json["detail"]
    assert app.storage.reader.counts() == []


@pytest.mark.parametrize("number", [2**53 + 1, 2**64 - 1, 2**64, -(2**63) - 1, 10**40])
def test_a_long_number_keeps_its_digits(app: LiteQ, ask: Client, number: int) -> None:
    (sent,) = ask("POST", "/v1/tasks", [{"task": "shop.echo", "args": [number]}]).json["tasks"]

    @app.task(name="shop.echo")
    def echo(got: int) -> str:
        return repr(got)

    drain(app)
    assert ask("GET", f"/v1/tasks/{sent['id']}").json["result"] == str(number)


def test_a_queue_that_is_not_to_be_made_is_refused(app: LiteQ, ask: Client) -> None:
    app.conf.task_create_missing_queues = False
    found = ask("POST", "/v1/tasks", [{"task": "x", "queue": "mial"}])
    assert (found.status, "no queue 'mial'" in found.json["detail"]) == (400, True)


# -- results ---------------------------------------------------------------------------------------------------------


def test_a_result_is_waited_for(app: LiteQ, ask: Client) -> None:
    (sent,) = ask("POST", "/v1/tasks", [{"task": "shop.add", "args": [1, 2]}]).json["tasks"]
    path = f"/v1/tasks/{sent['id']}"
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(ask("GET", f"{path}?wait=20").json))
    waiting.start()
    (one,) = lease(ask)
    settle(ask, one, "ack", result={"sum": 3})
    waiting.join(60)
    (told,) = found
    assert told == {
        "id": sent["id"], "task": "shop.add", "queue": "celery", "state": "SUCCESS", "result": {"sum": 3},
        "error": None,
    }  # fmt: skip


def test_a_task_that_ends_while_it_is_read_has_no_state_without_its_result(app: LiteQ) -> None:
    """A relay would keep the null as the result."""
    sent = app.tasks["shop.add"].delay(2, 3)
    read = app.storage.reader.find(sent.id)
    drain(app)
    assert document_of(app, read)["state"] == "PENDING"
    ended = document_of(app, app.storage.reader.find(sent.id))
    assert (ended["state"], ended["result"]) == ("SUCCESS", 5)


def test_an_error_is_told_with_its_type(ask: Client) -> None:
    ask("POST", "/v1/tasks", [{"id": "a", "task": "shop.add", "args": [1, 2]}])
    settle(ask, lease(ask)[0], "fail", type="shop.OutOfStock", message="none left")
    found = ask("GET", "/v1/tasks/a").json
    assert (found["state"], found["result"]) == ("FAILURE", None)
    assert "none left" in found["error"]["message"]


def test_a_task_is_revoked(app: LiteQ, ask: Client) -> None:
    ask("POST", "/v1/tasks", [{"id": "a", "task": "shop.add", "args": [1, 2]}])
    assert ask("DELETE", "/v1/tasks/a").json == {"id": "a", "state": "REVOKED"}
    assert lease(ask, wait=0) == []
    assert [ask(method, "/v1/tasks/none").status for method in ("GET", "DELETE")] == [404, 404]


# -- leases ----------------------------------------------------------------------------------------------------------


def test_a_chain_goes_through_a_worker_in_another_language(app: LiteQ, ask: Client) -> None:
    add = app.tasks["shop.add"]
    result = chain(add.s(1, 2), add.s(10)).delay()
    for expected in ([1, 2], [3, 10]):
        (one,) = lease(ask)
        assert one["args"] == expected
        settle(ask, one, "ack", result=sum(expected))
    assert result.get(timeout=60) == 13


def test_a_chord_s_body_gets_what_the_members_returned(app: LiteQ, ask: Client) -> None:
    add = app.tasks["shop.add"]
    result = (group(add.s(n, n) for n in range(3)) | add.s(0)).delay()
    for one in lease(ask, 3):
        settle(ask, one, "ack", result=sum(one["args"]))
    (body,) = lease(ask)
    assert body["args"] == [[0, 2, 4], 0]
    settle(ask, body, "ack", result="all")
    assert result.get(timeout=60) == "all"


def test_a_lease_that_ran_out_is_given_to_another_and_its_name_is_worth_nothing(app: LiteQ, ask: Client) -> None:
    ask("POST", "/v1/tasks", [{"id": "a", "task": "shop.add", "args": [1, 2]}])
    (old,) = lease(ask, visibility=1)
    (new,) = lease(ask)
    assert (old["id"], new["id"]) == ("a", "a")
    assert [settle(ask, old, verb) for verb in ("ack", "fail", "retry", "extend", "release")] == [409] * 5
    assert settle(ask, new, "ack", result=1) == 200
    assert settle(ask, new, "ack", result=2) == 409
    assert ask("GET", "/v1/tasks/a").json["result"] == 1


def test_a_lease_that_runs_out_is_looked_for_at_its_deadline(app: LiteQ, served: Running) -> None:
    """And not at the next heartbeat, which may be 10 s away."""
    app.tasks["shop.add"].delay(1, 2)
    lease(served.client(), visibility=2)
    beat = served.gateway._lender.presence._heartbeat
    assert beat is not None
    assert beat.due_at <= time.monotonic() + 2


def test_a_lease_is_extended(app: LiteQ, ask: Client) -> None:
    ask("POST", "/v1/tasks", [{"id": "a", "task": "shop.add", "args": [1, 2]}])
    (one,) = lease(ask, visibility=4)
    found = ask("POST", f"/v1/leases/{one['lease']}/extend", {"visibility": 3600}).json
    assert found["deadline"] > one["deadline"] + 3_000_000
    clock = SystemClock()
    wait_for(lambda: clock.now_ms() > one["deadline"] + 1500, what="the first deadline has passed")
    assert lease(ask, wait=0) == []
    assert settle(ask, one, "ack") == 200


def test_a_message_that_is_given_back_or_tried_again_comes_again(app: LiteQ, ask: Client) -> None:
    ask("POST", "/v1/tasks", [{"id": "a", "task": "shop.add", "args": [1, 2]}])
    settle(ask, lease(ask)[0], "release")
    (again,) = lease(ask)
    assert again["retries"] == 0
    settle(ask, again, "retry", delay=0.1, message="busy")
    (retried,) = lease(ask)
    assert (retried["id"], retried["retries"]) == ("a", 1)


def test_a_task_is_tried_again_as_often_as_it_says(app: LiteQ, ask: Client) -> None:
    ask("POST", "/v1/tasks", [{"id": "a", "task": "shop.add", "args": [1, 2]}])
    for _ in range(app.tasks["shop.add"].max_retries + 1):
        settle(ask, lease(ask)[0], "retry", delay=0, message="busy")
    found = ask("GET", "/v1/tasks/a").json
    assert found["state"] == "FAILURE"
    assert "busy" in found["error"]["message"]


def test_leases_end_with_the_gateway(app: LiteQ) -> None:
    app.tasks["shop.add"].delay(1, 2)
    with running(app) as first:
        (one,) = lease(first.client(), visibility=3600)
        (worker,) = app.storage.reader.workers()
        assert worker.facts["gateway"] is True
        wait_for(lambda: app.storage.reader.workers()[0].facts["stage"] == "ready", what="it tells that it lends")
    with running(app) as second:
        (again,) = lease(second.client())
        assert again["id"] == one["id"]


def test_a_gateway_that_stops_lends_no_more_to_those_that_wait(app: LiteQ) -> None:
    app.tasks["shop.add"].apply_async((1, 2), task_id="a")
    found: list[object] = []
    with running(app) as served:
        lender = served.gateway._lender
        lease(served.client(), visibility=3600)
        waits = threading.Thread(
            target=lambda: found.append(lender.lend(ANYTHING, ["celery"], most=1, visibility_s=3600, wait_s=20))
        )
        waits.start()
        wait_for(lambda: lender._waiting._value < MOST_WAITING, what="it waits")
    waits.join(60)
    assert found == [[]]
    record = app.storage.reader.find("a")
    assert record is not None
    assert record.state is State.PENDING


def test_what_has_expired_is_not_given_out(app: LiteQ, ask: Client) -> None:
    result = app.tasks["shop.add"].apply_async((1, 2), expires=0.001)
    wait_for(lambda: lease(ask, wait=0) == [] and result.state == "REVOKED", what="it has expired")


def test_a_task_that_is_to_run_once_at_most_is_not_given_out_again(app: LiteQ, ask: Client) -> None:
    result = app.tasks["shop.once"].delay()
    assert len(lease(ask, visibility=1)) == 1
    wait_for(lambda: result.state == "FAILURE", what="its lease ran out")


def test_what_a_workers_own_rate_holds_back_is_lent(app: LiteQ, ask: Client) -> None:
    ids = [app.tasks["shop.add"].delay(n, n).id for n in range(3)]
    worker = app.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    bucket = Bucket(0.001)
    budget = Budget(lambda _: bucket, 0.0)
    turn = app.storage.turn((), ["celery"], worker=worker, limit=5, visibility_s=60, budget=budget)
    assert [one.id for one in turn.leases] == ids[:1]
    assert [one["id"] for one in lease(ask, 5)] == ids[1:]


def test_runs_of_workflows_are_left_to_workers(app: LiteQ, ask: Client) -> None:
    @app.workflow(name="shop.flow")
    def flow() -> None: ...

    flow.start()
    app.tasks["shop.add"].delay(1, 2)
    assert [one["task"] for one in lease(ask, 10)] == ["shop.add"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "queues"),
        ({"queues": "celery"}, "queues"),
        ({"queues": ["celery"], "max": 0}, "max"),
        ({"queues": ["celery"], "visibility": True}, "visibility"),
        ({"queues": ["celery"], "wait": 21}, "wait"),
        ({"queues": ["celery"], "visibilty": 5}, "did you mean 'visibility'"),
    ],
)
def test_a_misspelt_request_is_refused(ask: Client, asked: Any, says: str) -> None:
    found = ask("POST", "/v1/leases", asked)
    assert found.status == 400
    assert says in found.json["detail"]


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "/v1/tasks/x?wiat=1", "unknown parameter 'wiat'; did you mean 'wait'?"),
        ("POST", "/v1/tasks?wait=1", "unknown parameter 'wait'; no parameter is taken here"),
        ("GET", "/health?strict=1", "unknown parameter 'strict'; no parameter is taken here"),
    ],
)
def test_a_misspelt_parameter_is_refused(ask: Client, method: str, path: str, says: str) -> None:
    found = ask(method, path, [] if method == "POST" else None)
    assert (found.status, found.json["detail"]) == (400, says)


def test_a_name_that_is_no_lease_s_is_not_found(ask: Client) -> None:
    for name in ("x", "1", "1:", "1:x", "-1:2", "1:2:3", "9" * 50 + ":1", f"{2**63}:1", f"1:{2**63}", "1:٣"):
        assert ask("POST", f"/v1/leases/{quote(name)}/ack", {}).status == 404
    assert ask("POST", "/v1/leases/1:2/ack", {}).status == 409


# -- the document ----------------------------------------------------------------------------------------------------


def test_the_document_is_openapi_and_names_every_call(ask: Client) -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    document = ask("GET", "/v1/openapi.json").json
    validator.validate(document)
    calls = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert {("POST", "/v1/tasks"), ("GET", "/v1/tasks/{id}"), ("POST", "/v1/leases/{lease}/ack")} <= calls


def test_health_and_metrics_need_no_key(app: LiteQ, tmp_path: Path) -> None:
    with running(app, keys=key_file(tmp_path, T={"name": "shop"})) as served:
        ask = served.client()
        assert ask("GET", "/health").json == {"status": "ok"}
        assert ask("POST", "/v1/tasks", []).status == 401
        told = ask("GET", "/metrics").body.decode()
    assert 'liteq_gateway_requests_total{method="POST",path="/v1/tasks",status="401"} 1' in told


def test_an_answer_has_the_position_of_its_commit(app, ask):
    from liteq.result.position import Position

    first, last = ask("POST", "/v1/tasks", [{"task": "add", "args": [1, 2]}] * 2).json["tasks"]
    assert first["position"] == last["position"]
    assert Position.parse(last["position"]).id == last["id"]
