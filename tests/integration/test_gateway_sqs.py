"""The gateway's SQS face, by boto3: Amazon's own client, unmodified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import md5
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from liteq import LiteQ
from liteq.edge import gateway
from liteq.exceptions import StorageFull
from liteq.states import State

from .edge import Running, key_file, running
from .worker_process import wait_for

boto3 = pytest.importorskip("boto3")
from botocore.auth import SigV4Auth  # noqa: E402 - boto3's
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

KEYS = {
    "AKSHOP": {"name": "shop", "rights": ["send", "work", "view", "delete"], "secret": "shop-secret"},
    "AKMAIL": {"name": "mail", "queues": ["mail*"], "tasks": ["mail.*"], "secret": "mail-secret"},
    "AKVIEW": {"name": "view", "rights": ["view"], "secret": "view-secret"},
    "AKSOME": {"name": "some", "rights": ["send", "work", "delete"], "tasks": ["shop.*"], "secret": "some-secret"},
    "NOSECRET": {"name": "none"},
}
TASK = {"task": {"DataType": "String", "StringValue": "mail.send"}}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ(
        "shop", broker=f"sqlite:///{tmp_path}/shop.db", set_as_current=False,
        gateway_tasks={"mail": "mail.plain"}, max_reaps=2,
    )  # fmt: skip
    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def served(app: LiteQ, tmp_path: Path) -> Iterator[Running]:
    with running(app, keys=key_file(tmp_path, **KEYS)) as found:
        yield found


def client(served: Running, key: str = "AKSHOP", secret: str = "") -> Any:
    return boto3.client(
        "sqs", endpoint_url=f"http://127.0.0.1:{served.port}", region_name="eu-central-1", aws_access_key_id=key,
        aws_secret_access_key=secret or KEYS.get(key, {}).get("secret", "x"),
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip


@pytest.fixture
def sqs(served: Running) -> Any:
    return client(served)


@pytest.fixture
def mail(sqs: Any) -> str:
    return sqs.create_queue(QueueName="mail")["QueueUrl"]


def refused(call: Any, **asked: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as info:
        call(**asked)
    answer = info.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_message_goes_through(app: LiteQ, sqs: Any, mail: str) -> None:
    sent = sqs.send_message(QueueUrl=mail, MessageBody='{"args": [1], "kwargs": {"b": 2}}', MessageAttributes=TASK)
    record = app.storage.reader.find(sent["MessageId"])
    assert record is not None
    assert (record.task, record.queue, record.state) == ("mail.send", "mail", State.PENDING)
    (got,) = sqs.receive_message(QueueUrl=mail, WaitTimeSeconds=20, MessageAttributeNames=["All"])["Messages"]
    assert got["MessageId"] == sent["MessageId"]
    assert json.loads(got["Body"]) == {"id": sent["MessageId"], "task": "mail.send", "args": [1], "kwargs": {"b": 2}}
    sqs.delete_message(QueueUrl=mail, ReceiptHandle=got["ReceiptHandle"])
    assert app.AsyncResult(sent["MessageId"]).state == "SUCCESS"
    assert "Messages" not in sqs.receive_message(QueueUrl=mail)


def test_a_plain_body_is_its_queue_s_task_and_comes_back_as_it_was(app: LiteQ, sqs: Any, mail: str) -> None:
    body = 'täxt "quoted" {not json'
    sent = sqs.send_message(QueueUrl=mail, MessageBody=body)
    record = app.storage.reader.find(sent["MessageId"])
    assert record is not None
    assert record.task == "mail.plain"
    (got,) = sqs.receive_message(QueueUrl=mail)["Messages"]
    assert got["Body"] == body
    other = sqs.create_queue(QueueName="other")["QueueUrl"]
    assert refused(sqs.send_message, QueueUrl=other, MessageBody=body)[0] == "InvalidMessageContents"


def test_the_sum_over_the_attributes_is_told_as_sdks_compute_it(sqs: Any, mail: str) -> None:
    """Java's compares it after each send and each receive, and raises where there is none."""
    stamp = {"timestamp": {"StringValue": "1493147359900", "DataType": "Number"}}
    blob = {"blob": {"BinaryValue": b"\x00bin", "DataType": "Binary"}}
    sent = sqs.send_message(QueueUrl=mail, MessageBody="x", MessageAttributes=stamp)
    assert sent["MD5OfMessageAttributes"] == "235c5c510d26fb653d073faed50ae77c"
    entries = [{"Id": "a", "MessageBody": "y", "MessageAttributes": blob}, {"Id": "b", "MessageBody": "z"}]
    a, b = sqs.send_message_batch(QueueUrl=mail, Entries=entries)["Successful"]
    assert a["MD5OfMessageAttributes"] == "47d4ce1a2f5bfc946feb4ecb074770ae"
    assert "MD5OfMessageAttributes" not in b
    asked = {"QueueUrl": mail, "MaxNumberOfMessages": 3, "MessageAttributeNames": ["All"]}
    got = {one["Body"]: one for one in sqs.receive_message(**asked)["Messages"]}
    assert got["y"]["MessageAttributes"]["blob"]["BinaryValue"] == b"\x00bin"
    task = b"\0\0\0\4task\0\0\0\6String\1\0\0\0\x0amail.plain"
    assert got["z"]["MD5OfMessageAttributes"] == md5(task).hexdigest()


def test_what_others_have_written_as_attributes_holds_no_receive_up(app: LiteQ, sqs: Any, mail: str) -> None:
    odd = [None, "x", ["a"], {"a": 1}, {"b": {"BinaryValue": "no base64"}}]
    for one in odd:
        app.send_task("mail.plain", ("x",), queue="mail", headers={"MessageAttributes": one})
    got = sqs.receive_message(QueueUrl=mail, MaxNumberOfMessages=10, MessageAttributeNames=["All"])["Messages"]
    assert [list(one["MessageAttributes"]) for one in got] == [["task"]] * len(odd)


def test_a_handle_that_is_out_of_date_is_refused(sqs: Any, mail: str) -> None:
    sqs.send_message(QueueUrl=mail, MessageBody="x")
    count = {"QueueUrl": mail, "AttributeNames": ["ApproximateReceiveCount"]}
    (old,) = sqs.receive_message(VisibilityTimeout=1, **count)["Messages"]
    (new,) = sqs.receive_message(WaitTimeSeconds=20, **count)["Messages"]
    assert [one["Attributes"]["ApproximateReceiveCount"] for one in (old, new)] == ["1", "2"]
    assert (old["MessageId"], old["ReceiptHandle"] == new["ReceiptHandle"]) == (new["MessageId"], False)
    assert refused(sqs.delete_message, QueueUrl=mail, ReceiptHandle=old["ReceiptHandle"])[0] == "ReceiptHandleIsInvalid"
    assert refused(sqs.delete_message, QueueUrl=mail, ReceiptHandle="x")[0] == "ReceiptHandleIsInvalid"
    sqs.delete_message(QueueUrl=mail, ReceiptHandle=new["ReceiptHandle"])


def test_visibility_is_changed(sqs: Any, mail: str) -> None:
    sqs.send_message(QueueUrl=mail, MessageBody="x")
    (got,) = sqs.receive_message(QueueUrl=mail)["Messages"]
    sqs.change_message_visibility(QueueUrl=mail, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=3600)
    assert "Messages" not in sqs.receive_message(QueueUrl=mail)
    sqs.change_message_visibility(QueueUrl=mail, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = sqs.receive_message(QueueUrl=mail)["Messages"]
    assert again["MessageId"] == got["MessageId"]


def test_batches_tell_of_each_entry(app: LiteQ, sqs: Any, mail: str) -> None:
    entries = [
        {"Id": "good", "MessageBody": "1"},
        {"Id": "bad", "MessageBody": "no json", "MessageAttributes": TASK},
        {"Id": "late", "MessageBody": "2", "DelaySeconds": 600},
    ]
    found = sqs.send_message_batch(QueueUrl=mail, Entries=entries)
    assert [one["Id"] for one in found["Successful"]] == ["good", "late"]
    assert [(one["Id"], one["Code"]) for one in found["Failed"]] == [("bad", "InvalidMessageContents")]
    told = sqs.get_queue_attributes(QueueUrl=mail, AttributeNames=["All"])["Attributes"]
    assert (told["ApproximateNumberOfMessages"], told["ApproximateNumberOfMessagesDelayed"]) == ("1", "1")
    (got,) = sqs.receive_message(QueueUrl=mail)["Messages"]
    handles = [{"Id": "a", "ReceiptHandle": got["ReceiptHandle"]}, {"Id": "b", "ReceiptHandle": "1:1"}]
    ended = sqs.delete_message_batch(QueueUrl=mail, Entries=handles)
    assert [one["Id"] for one in ended["Successful"]] == ["a"]
    assert [(one["Id"], one["Code"]) for one in ended["Failed"]] == [("b", "ReceiptHandleIsInvalid")]


def celerys(task_id: str, then: str) -> str:
    """The message of a chain of two, as a producer of Celery's sends it."""
    rest = [{"task": "mail.send", "args": [], "kwargs": {}, "options": {"task_id": then}, "subtask_type": None}]
    body = json.dumps([[], {}, {"callbacks": None, "errbacks": None, "chain": rest, "chord": None}])
    return json.dumps(
        {"body": body, "headers": {"task": "mail.send", "id": task_id}, "properties": {}, "content-type": None}
    )


def test_a_batch_is_written_in_one_transaction_and_again_in_none_more(
    app: LiteQ, served: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = app.storage.driver.write, list[object]()

    def counted(*args: Any, **options: Any) -> Any:
        written.append(args)
        return write(*args, **options)

    monkeypatch.setattr(app.storage.driver, "write", counted)
    url = f"http://127.0.0.1:{served.port}/000000000000/mail"
    entries = [{"Id": f"e{n}", "MessageBody": str(n)} for n in range(9)]
    entries.append({"Id": "bad", "MessageBody": "no json", "MessageAttributes": TASK})
    body = json.dumps({"QueueUrl": url, "Entries": entries}).encode()
    headers = signed(served, body, target="SendMessageBatch")
    first, again = (served.client()("POST", "/", body, headers).json for _ in range(2))
    assert len(written) == 2
    assert [one["Id"] for one in first["Successful"]] == [f"e{n}" for n in range(9)]
    assert [one["Id"] for one in first["Failed"]] == ["bad"]
    assert again == first
    assert sum(count.n for count in app.storage.reader.counts()) == 9


def test_an_entry_that_the_queue_refuses_takes_no_other_with_it(app: LiteQ, sqs: Any, mail: str) -> None:
    app.send_task("other", task_id="taken")
    entries = [
        {"Id": "good", "MessageBody": celerys("a", "b")},
        {"Id": "conflict", "MessageBody": celerys("c", "taken")},
        {"Id": "plain", "MessageBody": "1"},
    ]
    found = sqs.send_message_batch(QueueUrl=mail, Entries=entries)
    assert [one["Id"] for one in found["Successful"]] == ["good", "plain"]
    assert [(one["Id"], one["SenderFault"]) for one in found["Failed"]] == [("conflict", True)]
    assert [app.storage.reader.find(id_) is not None for id_ in ("a", "b", "c")] == [True, True, False]
    alone = refused(sqs.send_message, QueueUrl=mail, MessageBody=celerys("c", "taken"))
    assert alone == ("InvalidMessageContents", 400)


def test_a_batch_that_the_disk_refuses_fails_whole_and_is_not_tried_entry_by_entry(
    app: LiteQ, sqs: Any, mail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()

    def full(batch: Any) -> Any:
        asked.append(len(batch.messages))
        raise StorageFull("the disk is full")

    monkeypatch.setattr(app.storage.sends, "placed", full)
    found = sqs.send_message_batch(QueueUrl=mail, Entries=[{"Id": str(n), "MessageBody": "x"} for n in range(3)])
    assert [(one["Id"], one["Code"]) for one in found["Failed"]] == [(str(n), "ServiceUnavailable") for n in range(3)]
    assert asked == [3]


def test_a_chord_s_unlocking_task_is_refused_as_the_chord_is(app: LiteQ, sqs: Any, mail: str) -> None:
    body = celerys("a", "b").replace('"task": "mail.send", "id"', '"task": "celery.chord_unlock", "id"')
    assert refused(sqs.send_message, QueueUrl=mail, MessageBody=body)[0] == "InvalidMessageContents"
    assert app.storage.reader.counts() == []


def test_a_message_that_is_received_too_often_is_a_dead_letter(app: LiteQ, sqs: Any, mail: str) -> None:
    sent = sqs.send_message(QueueUrl=mail, MessageBody="x")

    def is_dead() -> bool:
        sqs.receive_message(QueueUrl=mail, VisibilityTimeout=1, WaitTimeSeconds=1)
        record = app.storage.reader.find(sent["MessageId"])
        return record is not None and record.state is State.DEAD

    wait_for(is_dead, within_s=60, what="it is a dead letter")


def test_queues_are_found_by_those_that_may_use_them(app: LiteQ, served: Running, sqs: Any, mail: str) -> None:
    app.send_task("x", queue="mail.fast")
    assert [url.rpartition("/")[2] for url in sqs.list_queues()["QueueUrls"]] == ["celery", "mail", "mail.fast"]
    only = client(served, "AKMAIL")
    assert [url.rpartition("/")[2] for url in only.list_queues()["QueueUrls"]] == ["mail", "mail.fast"]
    assert only.get_queue_url(QueueName="mail")["QueueUrl"] == mail
    assert refused(only.get_queue_url, QueueName="celery") == ("AWS.SimpleQueueService.NonExistentQueue", 400)
    assert refused(only.receive_message, QueueUrl=mail.replace("mail", "celery")) == (
        "AWS.SimpleQueueService.NonExistentQueue",
        400,
    )


def test_a_key_may_do_what_it_may_and_nothing_else(served: Running, mail: str) -> None:
    only, view = client(served, "AKMAIL"), client(served, "AKVIEW")
    other = {"task": {"DataType": "String", "StringValue": "shop.pay"}}
    asked = {"QueueUrl": mail, "MessageBody": "{}", "MessageAttributes": other}
    assert refused(only.send_message, **asked) == ("AccessDenied", 403)
    assert refused(only.purge_queue, QueueUrl=mail) == ("AccessDenied", 403)
    assert refused(view.send_message, QueueUrl=mail, MessageBody="x") == ("AccessDenied", 403)
    assert refused(view.receive_message, QueueUrl=mail) == ("AccessDenied", 403)


def test_purge_empties_the_queue(app: LiteQ, sqs: Any, mail: str) -> None:
    for n in range(3):
        sqs.send_message(QueueUrl=mail, MessageBody=str(n))
    sqs.purge_queue(QueueUrl=mail)
    assert "Messages" not in sqs.receive_message(QueueUrl=mail)


def test_a_key_for_some_tasks_deletes_no_messages_of_others(served: Running, sqs: Any, mail: str) -> None:
    sqs.send_message(QueueUrl=mail, MessageBody="1")
    assert refused(client(served, "AKSOME").purge_queue, QueueUrl=mail) == ("AccessDenied", 403)
    assert sqs.receive_message(QueueUrl=mail)["Messages"]


@pytest.mark.parametrize(
    ("key", "secret", "code"),
    [
        ("AKSHOP", "another", "SignatureDoesNotMatch"),
        ("AKNONE", "shop-secret", "InvalidClientTokenId"),
        ("NOSECRET", "-", "InvalidClientTokenId"),
    ],
)
def test_a_wrong_signature_is_refused(app: LiteQ, served: Running, key: str, secret: str, code: str) -> None:
    assert refused(client(served, key, secret).create_queue, QueueName="mail") == (code, 403)
    assert app.storage.reader.counts() == []


def signed(served: Running, body: bytes, *, date: str | None = None, target: str = "SendMessage") -> dict[str, str]:
    """The headers of a request that botocore has signed."""
    headers = {"X-Amz-Target": f"AmazonSQS.{target}", "Content-Type": "application/x-amz-json-1.0"}
    asked = AWSRequest("POST", f"http://127.0.0.1:{served.port}/", data=body, headers=headers)
    SigV4Auth(Credentials("AKSHOP", "shop-secret"), "sqs", "eu-central-1").add_auth(asked)
    return dict(asked.headers.items())


@pytest.mark.parametrize("below", ["/in/queues", "/Büro"])
@pytest.mark.parametrize("path", ["", "/"])
def test_in_a_framework_the_whole_path_is_what_was_signed(app: LiteQ, tmp_path: Path, below: str, path: str) -> None:
    door, body = gateway(app, key_file=key_file(tmp_path, **KEYS)), b'{"QueueName": "mail"}'
    headers = {"X-Amz-Target": "AmazonSQS.GetQueueUrl"}
    asked = AWSRequest("POST", f"https://shop.example{quote(below)}{path}", data=body, headers=headers)
    SigV4Auth(Credentials("AKSHOP", "shop-secret"), "sqs", "eu-central-1").add_auth(asked)
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in asked.headers.items()}
    environ |= {
        "REQUEST_METHOD": "POST", "SCRIPT_NAME": below.encode().decode("latin-1"), "PATH_INFO": path,
        "HTTP_HOST": "shop.example", "CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body),
        "wsgi.url_scheme": "https",
    }  # fmt: skip
    told: list[str] = []
    answer = b"".join(door(environ, lambda status, _headers: told.append(status)))
    assert told == ["200 OK"], answer
    assert json.loads(answer) == {"QueueUrl": f"https://shop.example{quote(below)}/000000000000/mail"}


def test_the_same_request_does_nothing_twice(app: LiteQ, served: Running) -> None:
    ask = served.client()
    url = f"http://127.0.0.1:{served.port}/000000000000/mail"
    body = json.dumps({"QueueUrl": url, "MessageBody": "x"}).encode()
    headers = signed(served, body)
    first, again = (ask("POST", "/", body, headers) for _ in range(2))
    assert (first.status, again.status) == (200, 200)
    assert first.json == again.json
    assert sum(count.n for count in app.storage.reader.counts()) == 1
    body = json.dumps({"QueueUrl": url, "VisibilityTimeout": 1}).encode()
    headers = signed(served, body, target="ReceiveMessage")
    assert [ask("POST", "/", body, headers).status for _ in range(2)] == [200, 403]


def test_a_recorded_request_is_not_another_call_by_an_id_that_nobody_signed(
    app: LiteQ, served: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 sends such ids: by them two calls alike in one second are two."""
    ask = served.client()
    began, later = app.clock.monotonic(), [0.0]
    monkeypatch.setattr(app.clock, "monotonic", lambda: began + later[0])
    url = f"http://127.0.0.1:{served.port}/000000000000/mail"
    for target, more in (("SendMessage", {"MessageBody": "x"}), ("ReceiveMessage", {})):
        body = json.dumps({"QueueUrl": url, **more}).encode()
        headers = signed(served, body, target=target)
        ids = [{"amz-sdk-invocation-id": id_} for id_ in ("a", "b")]
        later[0] = 0.0
        assert [ask("POST", "/", body, headers | id_).status for id_ in ids] == [200, 200]
        later[0] = 60.0
        others = [{"amz-sdk-invocation-id": "c"}, {}]
        assert [ask("POST", "/", body, headers | id_).status for id_ in others] == [403, 403]
    assert sum(count.n for count in app.storage.reader.counts()) == 2


def test_what_is_changed_after_it_was_signed_is_refused(app: LiteQ, served: Running) -> None:
    ask = served.client()
    body = json.dumps({"QueueUrl": f"http://127.0.0.1:{served.port}/0/mail", "MessageBody": "x"}).encode()
    headers = signed(served, body)
    assert ask("POST", "/", body.replace(b'"x"', b'"y"'), headers).status == 403
    assert ask("POST", "/?a=b", body, headers).status == 403
    for name, value in {"X-Amz-Date": "20200101T000000Z", "Authorization": "none", "Host": "other"}.items():
        assert ask("POST", "/", body, {**headers, name: value}).status == 403
    undated = {name: value for name, value in headers.items() if name != "X-Amz-Date"}
    assert ask("POST", "/", body, undated).status == 403

    assert app.storage.reader.counts() == []


def test_an_action_that_is_none_is_refused(sqs: Any, served: Running) -> None:
    body = b"{}"
    found = served.client()("POST", "/", body, signed(served, body, target="AddPermission"))
    assert (found.status, found.json["__type"]) == (400, "com.amazonaws.sqs#UnsupportedOperation")
