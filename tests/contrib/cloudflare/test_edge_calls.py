"""A Durable Object and D1 take calls, and carry them to a gateway: in Cloudflare's runtime."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from liteq import LiteQ
from liteq.storage.reading.inspect import Record
from tests.integration.edge import Running, key_file, running

from .edges import KINDS, Edge

pytestmark = pytest.mark.timeout(180)

Eventually = Callable[..., None]
MIB = 1 << 20


@pytest.fixture(scope="module")
def served(home: LiteQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    keys = key_file(tmp_path_factory.mktemp("keys"), T={"name": "edge", "rights": ["send"], "tasks": ["shop.*"]})
    with running(home, keys=keys) as found:
        yield found


@pytest.fixture(scope="module", params=KINDS)
def edge(
    request: pytest.FixtureRequest, installed: Path, served: Running, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    state, gateway = tmp_path_factory.mktemp("state"), f"http://127.0.0.1:{served.port}"
    edge = Edge(installed, request.param, gateway, GATEWAY_TOKEN="T", STATE=str(state))
    yield edge
    edge.end()


@pytest.fixture
def name(edge: Edge, request: pytest.FixtureRequest) -> str:
    """The beginning of ids that no other test uses."""
    return str(request.node.name)


def found(home: LiteQ, id_: str) -> Record:
    record = home.storage.reader.find(id_)
    assert record is not None
    return record


def test_a_call_is_in_the_queue_under_the_id_that_the_edge_has_told(
    edge: Edge, home: LiteQ, name: str, eventually: Eventually
) -> None:
    reply = edge.send({"task": "shop.bill", "args": [17], "queue": "mail"}, {"task": "shop.bill", "id": name})
    assert reply.status == 202
    made, given = (one["id"] for one in reply.json["tasks"])
    assert given == name
    eventually(lambda: home.storage.reader.find(made) and home.storage.reader.find(given))
    assert (found(home, made).task, found(home, made).queue) == ("shop.bill", "mail")
    eventually(lambda: edge.look()["waiting"] == 0)


def test_one_key_makes_the_same_ids_again(edge: Edge) -> None:
    one, two = ({"task": "shop.bill", "args": [n]} for n in (1, 2))
    first, again = (edge.send(one, two, Idempotency_Key="k17").json["tasks"] for _ in range(2))
    other = edge.send(one, two, Idempotency_Key="k18").json["tasks"]
    assert first == again
    assert len({call["id"] for call in [*first, *other]}) == 4


def test_numbers_arrive_as_they_were_written(edge: Edge, home: LiteQ, name: str, eventually: Eventually) -> None:
    body = b'[{"task": "shop.bill", "id": "%s", "args": [1.0, 9007199254740993, 0.1, -0.0]}]' % name.encode()
    assert edge("POST", "/v1/tasks", body).status == 202
    eventually(lambda: home.storage.reader.find(name))
    with home.storage.driver.read() as tx:
        ((payload,),) = tx.execute("SELECT payload FROM liteq_messages WHERE id = ?", (name,))
    assert repr(orjson.loads(payload)[0]) == "[1.0, 9007199254740993, 0.1, -0.0]"


def test_what_the_gateway_refuses_is_kept_with_the_reason_and_holds_up_nobody(
    edge: Edge, home: LiteQ, name: str, eventually: Eventually
) -> None:
    bad = {"task": "shop.bill", "id": f"{name} bad", "argz": [1]}
    forbidden = {"task": "bank.pay", "id": f"{name} forbidden"}
    good = [{"task": "shop.bill", "id": f"{name} {n}"} for n in range(20)]
    assert edge.send(*good[:7], bad, *good[7:15], forbidden, *good[15:]).status == 202
    eventually(lambda: all(home.storage.reader.find(call["id"]) for call in good))
    eventually(lambda: {bad["id"], forbidden["id"]} <= edge.refused().keys())
    assert "did you mean 'args'" in edge.refused()[bad["id"]]
    assert "may not send the task 'bank.pay'" in edge.refused()[forbidden["id"]]
    assert edge("GET", f"/v1/refused/{bad['id'].replace(' ', '%20')}").json == bad

    edge.send({"task": "shop.bill", "id": bad["id"], "args": [1]})  # as it should have been
    eventually(lambda: bad["id"] not in edge.refused())
    assert home.storage.reader.find(bad["id"])


def test_what_was_refused_is_sent_again_or_dropped(edge: Edge, name: str, eventually: Eventually) -> None:
    edge.send({"task": "bank.pay", "id": name})
    eventually(lambda: name in edge.refused())
    assert edge("POST", "/v1/refused/again").json["again"] >= 1
    eventually(lambda: name in edge.refused())
    assert edge("DELETE", f"/v1/refused/{name}").json == {"id": name}
    assert name not in edge.refused()
    assert edge("DELETE", f"/v1/refused/{name}").status == 404


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "no JSON"),
        (b"[{]", 400, "no JSON"),
        (b'["\xff"]', 400, "no UTF-8"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "nested too deeply"),
        ({"task": "shop.bill"}, 400, "a list of calls"),
        ([17], 400, "a list of calls"),
        (b"[1.0]", 400, "a list of calls"),
        ([{"args": [1]}], 400, "call 0, counted from 0: task is the name"),
        ([{"task": "shop.bill"}, {"task": ""}], 400, "call 1, counted from 0: task is the name"),
        ([{"task": "shop.bill", "args": {"a": 1}}], 400, "args is a list"),
        ([{"task": "shop.bill", "kwargs": []}], 400, "kwargs an object"),
        ([{"task": "shop.bill", "id": 5}], 400, "id is a text"),
        ([{"task": "shop.bill", "id": "x" * 256}], 400, "id is a text"),
        ([{"task": "shop.bill", "id": "\0"}], 400, "id is a text"),
        ([{"task": "shop.bill"}] * 1001, 413, "1000 are taken"),
        (b" " * (MIB + 1), 413, f"at most {MIB} bytes"),
    ],
    ids=lambda value: value.decode("latin-1")[:9] if isinstance(value, bytes) else None,
)
def test_what_is_no_list_of_calls_is_refused_and_nothing_is_stored(
    edge: Edge, body: Any, status: int, says: str, eventually: Eventually
) -> None:
    eventually(lambda: edge.look()["waiting"] == 0)
    reply = edge("POST", "/v1/tasks", body)
    assert (reply.status, reply.json["status"]) == (status, status)
    assert says in reply.json["detail"]
    assert edge.look()["waiting"] == 0


def test_a_body_without_a_length_is_counted(edge: Edge) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(3):
            yield b" " * MIB

    assert edge("POST", "/v1/tasks", parts()).status == 413


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/tasks", 405), ("GET", "/", 404)])
def test_a_path_that_is_not_there_says_where_calls_go(edge: Edge, method: str, path: str, status: int) -> None:
    reply = edge(method, path)
    assert (reply.status, "POST" in reply.json["detail"]) == (status, True)


@pytest.mark.parametrize("kind", KINDS)
def test_while_the_gateway_is_away_calls_wait_and_say_for_what(
    installed: Path, home: LiteQ, kind: str, tmp_path: Path, eventually: Eventually
) -> None:
    with running(home) as served:
        port = served.port
    edge = Edge(installed, kind, f"http://127.0.0.1:{port}", STATE=str(tmp_path), EDGE_TOKEN="s3cret")
    token = {"Authorization": "Bearer s3cret"}
    try:
        calls = [{"task": "shop.bill", "id": f"{kind} away", "countdown": 3600}]
        assert edge("POST", "/v1/tasks", calls).status == 401
        assert edge("POST", "/v1/tasks", calls, {"Authorization": "Bearer other"}).status == 401
        before_ms = home.clock.now_ms()
        assert edge("POST", "/v1/tasks", calls, token).status == 202
        eventually(lambda: edge("GET", "/v1/outbox", None, token).json["away"])
        seen = edge("GET", "/v1/outbox", None, token).json
        assert (seen["waiting"], "does not answer" in seen["away"]) == (1, True)
        assert edge.says(r"(calls wait here, and are tried again)")

        edge.kill_npm()  # the others follow it
        eventually(lambda: not edge.is_running())
        edge.start()
        back_ms = home.clock.now_ms()
        with running(home, port=port):
            eventually(lambda: home.storage.reader.find(f"{kind} away"), within_s=60)
            eventually(lambda: edge("GET", "/v1/outbox", None, token).json["away"] is None)
        due_ms = found(home, f"{kind} away").due_ms
        assert before_ms <= due_ms - 3600_000 <= back_ms  # counted from when the edge took it
    finally:
        edge.end()


def test_a_request_without_a_body_of_calls_stores_nothing_and_is_no_error(edge: Edge) -> None:
    assert edge("POST", "/v1/tasks", json.dumps([]).encode()).json == {"tasks": []}
