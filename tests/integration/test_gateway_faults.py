"""Whose fault it is: what passes is to be sent again, and what no queue takes never is."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from liteq import LiteQ
from liteq.exceptions import StorageDenied

from .edge import Client, Reply, running
from .locked import locked

URL = "http://localhost/000000000000/mail"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ(
        "shop", broker=f"sqlite:///{tmp_path}/shop.db", set_as_current=False,
        gateway_tasks={"mail": "mail.plain"}, busy_timeout=0.2,
    )  # fmt: skip
    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def ask(app: LiteQ) -> Iterator[Client]:
    with running(app) as found:
        yield found.client()


def sqs(ask: Client, action: str, **asked: Any) -> Reply:
    return ask("POST", "/", {"QueueUrl": URL, **asked}, {"X-Amz-Target": f"AmazonSQS.{action}"})


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json["__type"].partition("#")[2]


def entries(*bodies: str) -> list[dict[str, str]]:
    return [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]


def failed(reply: Reply) -> list[tuple[str, str, bool]]:
    assert reply.status == 200
    return [(one["Id"], one["Code"], one["SenderFault"]) for one in reply.json["Failed"]]


def envelope(id_: str, task: str = "mail.send", **embed: Any) -> str:
    """A message as Celery's producers send it."""
    body = base64.b64encode(json.dumps([[1], {}, embed]).encode()).decode()
    found = {"body": body, "headers": {"task": task, "id": id_}, "properties": {"body_encoding": "base64"}}
    return base64.b64encode(json.dumps(found).encode()).decode()


def n_messages(app: LiteQ) -> int:
    return sum(count.n for count in app.storage.reader.counts())


# -- a file that is locked, which passes -------------------------------------------------------------------------------


def test_a_locked_file_is_an_answer_that_says_when_to_ask_again(app: LiteQ, ask: Client) -> None:
    call = {"task": "mail.send", "id": "one"}
    with locked(app):
        found = ask("POST", "/v1/tasks", [call])
        assert (found.status, found.headers["retry-after"]) == (503, "1")
        assert found.headers["content-type"] == "application/problem+json"
        assert code(sqs(ask, "SendMessage", MessageBody="1")) == (503, "ServiceUnavailable")
        assert ask("GET", "/health").status == 200  # it can be read
    (sent,) = ask("POST", "/v1/tasks", [call]).json["tasks"]
    assert (sent["id"], sent["new"]) == ("one", True)
    assert n_messages(app) == 1


def test_a_batch_at_a_locked_file_fails_entry_by_entry_and_is_not_the_senders_fault(app: LiteQ, ask: Client) -> None:
    with locked(app):
        reply = sqs(ask, "SendMessageBatch", Entries=entries("1", "2"))
        assert failed(reply) == [("0", "ServiceUnavailable", False), ("1", "ServiceUnavailable", False)]
    assert n_messages(app) == 0


def test_a_lease_that_cannot_be_settled_now_is_settled_later(app: LiteQ, ask: Client) -> None:
    ask("POST", "/v1/tasks", [{"task": "mail.send", "queue": "mail"}])
    (one,) = sqs(ask, "ReceiveMessage").json["Messages"]
    handle = {"Id": "0", "ReceiptHandle": one["ReceiptHandle"]}
    with locked(app):
        assert ask("POST", f"/v1/leases/{one['ReceiptHandle']}/ack", {}).status == 503
        assert failed(sqs(ask, "DeleteMessageBatch", Entries=[handle])) == [("0", "ServiceUnavailable", False)]
    reply = sqs(ask, "DeleteMessageBatch", Entries=[handle])
    assert (failed(reply), reply.json["Successful"]) == ([], [{"Id": "0"}])


# -- a file that is only read ------------------------------------------------------------------------------------------


def test_a_gateway_on_a_copy_shows_and_takes_nothing(app: LiteQ, ask: Client) -> None:
    assert ask("POST", "/v1/tasks", [{"task": "mail.send", "id": "one"}]).status == 200
    copy = LiteQ("copy", broker=f"{app.broker_url}?mode=ro", set_as_current=False, gateway_tasks={"mail": "mail.plain"})
    with running(copy) as served:
        see = served.client()
        assert see("GET", "/v1/tasks/one").json["state"] == "PENDING"
        found = see("POST", "/v1/tasks", [{"task": "mail.send", "id": "two"}])
        assert (found.status, "read-only" in found.json["detail"]) == (503, True)
        assert "retry-after" not in found.headers  # it will not pass
        assert see("POST", "/v1/leases", {"queues": ["celery"]}).status == 503
        assert code(sqs(see, "SendMessage", MessageBody="1")) == (503, "ServiceUnavailable")
    copy.close()
    assert n_messages(app) == 1


# -- what no queue takes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"task": "x", "options": {"queue": 5}}, "a queue is a name"),
        ({"task": "x", "options": {"countdown": "soon"}}, "countdown"),
        (5, "no signature"),
    ],
)
def test_a_chain_that_cannot_be_compiled_is_the_senders_fault(app: LiteQ, ask: Client, part: Any, says: str) -> None:
    body = envelope("a", chain=[part])
    found = sqs(ask, "SendMessage", MessageBody=body)
    assert code(found) == (400, "InvalidMessageContents")
    assert says in found.json["message"]
    reply = sqs(ask, "SendMessageBatch", Entries=entries(body, "2"))
    assert failed(reply) == [("0", "InvalidMessageContents", True)]
    assert n_messages(app) == 1


def test_an_id_that_is_there_as_another_canvas_is_the_senders_fault(app: LiteQ, ask: Client) -> None:
    assert sqs(ask, "SendMessage", MessageBody=envelope("a")).status == 200
    other = envelope("a", chain=[{"task": "mail.note"}])
    found = sqs(ask, "SendMessage", MessageBody=other)
    assert code(found) == (400, "InvalidMessageContents")
    assert "'a'" in found.json["message"]
    reply = sqs(ask, "SendMessageBatch", Entries=entries(other, "2"))
    assert failed(reply) == [("0", "InvalidMessageContents", True)]
    assert n_messages(app) == 2


@pytest.mark.parametrize("name", ["a\0b", "a" * 256])
def test_what_can_be_no_queue_s_name_is_the_callers_fault(ask: Client, name: str) -> None:
    assert ask("POST", "/v1/leases", {"queues": [name]}).status == 400
    assert code(sqs(ask, "GetQueueUrl", QueueName=name)) == (400, "QueueDoesNotExist")
    assert code(sqs(ask, "ReceiveMessage", QueueUrl=f"http://localhost/0/{quote(name)}")) == (400, "QueueDoesNotExist")


@pytest.mark.parametrize("handle", ["x", "1", "1:2:3", f"{2**63}:1", f"1:{2**63}", "1:1"])
def test_a_handle_that_is_none_is_refused_and_no_fault_of_the_gateway_s(ask: Client, handle: str) -> None:
    for action, more in (("DeleteMessage", {}), ("ChangeMessageVisibility", {"VisibilityTimeout": 5})):
        assert code(sqs(ask, action, ReceiptHandle=handle, **more)) == (400, "ReceiptHandleIsInvalid")
        reply = sqs(ask, f"{action}Batch", Entries=[{"Id": "0", "ReceiptHandle": handle, **more}])
        assert failed(reply) == [("0", "ReceiptHandleIsInvalid", True)]


def test_a_missing_right_on_the_server_is_told_and_may_be_granted(app: LiteQ, ask: Client, monkeypatch: Any) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise StorageDenied("the role may not do this: let the database's owner grant the rights")

    monkeypatch.setattr(app.storage.sends, "placed", refused)
    reply = ask("POST", "/v1/tasks", [{"task": "mail.plain"}])
    assert (reply.status, "grant the rights" in reply.json["detail"]) == (503, True)
