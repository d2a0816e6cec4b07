"""The actions of SQS, each a verb of the queue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import orjson

from liteq.context import App
from liteq.edge.http import Answer, Problem, Request
from liteq.edge.keys import ANYTHING, Key, Keys
from liteq.edge.lending import Lender, Lent
from liteq.edge.presence import LONGEST_S
from liteq.edge.sqs.attributes import Attributes, md5_of, readable
from liteq.edge.sqs.entries import Document, each, entries_of, failed
from liteq.edge.sqs.envelope import batch_of, envelope_of
from liteq.edge.sqs.errors import KIND, Refused, answer_of
from liteq.edge.sqs.signature import Verifier
from liteq.edge.v1 import MOST_WAIT_S, row_of
from liteq.exceptions import CanvasConflict, LiteqError, StorageError
from liteq.message import Batch, Flag, Release, new_id
from liteq.sending.replicated import confirmed
from liteq.states import State
from liteq.storage.sending.enqueue import AS_IT_IS, Placed
from liteq.utils.ids import ids_of
from liteq.utils.json_text import from_json, to_json
from liteq.utils.names import is_name

__all__ = ["Face"]

TARGET: Final = "AmazonSQS."
ACCOUNT: Final = "000000000000"
MOST_RECEIVED: Final = 10  # at a time, as SQS has it
REPEATABLE: Final = frozenset({"SendMessage", "SendMessageBatch", "GetQueueUrl", "GetQueueAttributes", "ListQueues"})
UNREADABLE: Final = (Refused, Problem, LiteqError, TypeError, ValueError, AttributeError)  # of an entry of a batch
COUNTED: Final = {
    "ApproximateNumberOfMessages": State.PENDING,
    "ApproximateNumberOfMessagesNotVisible": State.LEASED,
    "ApproximateNumberOfMessagesDelayed": State.SCHEDULED,
}


class Call:
    """One request: its key, its parameters, and what makes its ids."""

    def __init__(self, key: Key, asked: Document, base: str, once: str | None) -> None:
        self.key = key
        self.asked = asked
        self.base = base
        self.once = once

    def ids(self, n: int) -> list[str]:
        """Ids of the `n` messages that it sends: the same ones, where the same request comes again."""
        return [new_id() for _ in range(n)] if self.once is None else ids_of(f"sqs {self.once}", 0, n)


class Face:
    """SQS over the queue of `app`. `keys`: None lets every request through that the gateway lets through."""

    def __init__(self, app: App, lender: Lender, keys: Keys | None) -> None:
        self._app = app
        self._lender = lender
        self._verifier = None if keys is None else Verifier(keys, app.clock)
        self._actions: dict[str, Callable[[Call], Document]] = {
            "SendMessage": self._send, "SendMessageBatch": self._send_batch, "ReceiveMessage": self._receive,
            "DeleteMessage": self._delete, "DeleteMessageBatch": self._delete_batch,
            "ChangeMessageVisibility": self._change, "ChangeMessageVisibilityBatch": self._change_batch,
            "PurgeQueue": self._purge, "GetQueueUrl": self._url, "GetQueueAttributes": self._attributes,
            "ListQueues": self._list, "CreateQueue": self._create,
        }  # fmt: skip

    @staticmethod
    def is_asked(request: Request) -> bool:
        """Whether the request is one of SQS."""
        return request.headers.get("x-amz-target", "").startswith(TARGET)

    def __call__(self, request: Request) -> Answer:
        try:
            return Answer(200, self._answer(request), kind=KIND)
        except (Refused, Problem) as error:
            return answer_of(error)

    def _answer(self, request: Request) -> Document:
        name = request.headers["x-amz-target"].removeprefix(TARGET)
        if request.method != "POST":
            raise Refused("UnsupportedOperation", "actions are sent by POST")
        body = request.body(self._app.conf.gateway_max_body)
        key, once = ANYTHING, None
        if self._verifier is not None:
            signed = self._verifier.check(request, body)
            key, once = signed.key, signed.once
            self._verifier.admit(signed, repeatable=name in REPEATABLE)
        action = self._actions.get(name)
        if action is None:
            raise Refused("UnsupportedOperation", f"the action {name!r:.80} is none; use {', '.join(self._actions)}")
        try:
            asked = orjson.loads(body)
        except orjson.JSONDecodeError as exc:
            raise Refused("InvalidParameterValue", f"the body is no JSON: {exc}") from None
        if not isinstance(asked, dict):
            raise Refused("InvalidParameterValue", "the body is a JSON object")
        host = request.headers.get("host", "localhost")
        base = f"{request.environ.get('wsgi.url_scheme', 'http')}://{host}{quote(request.below)}"
        return action(Call(key, asked, base, once))

    # -- sending -------------------------------------------------------------------------------------------------------

    def _send(self, call: Call) -> Document:
        queue = self._queue(call, "send")
        (id_,) = call.ids(1)
        batch = self._batch(call, call.asked, queue, id_)
        try:
            placed = self._written(batch)
        except CanvasConflict as exc:
            raise Refused("InvalidMessageContents", str(exc)) from None
        return _sent(call.asked, _told(batch, placed))

    def _send_batch(self, call: Call) -> Document:
        queue = self._queue(call, "send")
        entries = entries_of(call.asked)
        read, bad = list[tuple[Document, Batch]](), list[dict[str, Any]]()
        for entry, id_ in zip(entries, call.ids(len(entries)), strict=True):
            try:
                read.append((entry, self._batch(call, entry, queue, id_)))
            except UNREADABLE as error:
                bad.append(failed(entry, error))
        good = self._placed(read, bad)
        return {"Successful": good, "Failed": bad}

    def _placed(self, read: list[tuple[Document, Batch]], bad: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Write what could be read of a batch, in one transaction; where that cannot be, each entry in one of its own.

        What cannot be written is added to `bad`.
        """
        try:
            whole = self._written(_joined(batch for _, batch in read)) if read else AS_IT_IS
            return [_told_of(entry, batch, whole) for entry, batch in read]
        except StorageError as error:  # the next one would have to wait as long
            bad += [failed(entry, error) for entry, _ in read]
            return []
        except UNREADABLE:  # one of them; which, is found out one by one
            pass
        good = []
        for entry, batch in read:
            try:
                good.append(_told_of(entry, batch, self._written(batch)))
            except UNREADABLE as error:
                bad.append(failed(entry, error))
        return good

    def _written(self, batch: Batch) -> Placed:
        """Write a batch, and wait for its copy where one of its tasks says so."""
        return confirmed(self._app, batch.messages, lambda: self._app.storage.sends.placed(batch))

    def _batch(self, call: Call, asked: Document, queue: str, id_: str) -> Batch:
        body = asked.get("MessageBody")
        if not isinstance(body, str) or not body:
            raise Refused("MissingParameter", "MessageBody is a text that is not empty")
        delay_s = _number(asked, "DelaySeconds", 0, 900)
        if (dedup := asked.get("MessageDeduplicationId")) is not None:
            (id_,) = ids_of(f"sqs {call.key.name!r} {queue!r} {dedup!r}", 0, 1)
        envelope = envelope_of(body)
        batch = (
            batch_of(self._app, envelope, queue, delay_s=delay_s)
            if envelope is not None
            else Batch([row_of(self._app, self._call(asked, queue, body, delay_s), id_)])
        )
        is_named = call.once is not None or dedup is not None or envelope is not None
        for message in batch.messages:
            if is_named and not message.flags & Flag.ON_FAILURE:
                message.flags |= Flag.KEPT  # a repeated request finds it
            if not call.key.knows(message.task) or not call.key.sees(message.queue):
                what = f"the task {message.task!r} to the queue {message.queue!r}"
                raise Refused("AccessDenied", f"this key may not send {what}", 403)
        return batch

    def _call(self, asked: Document, queue: str, body: str, delay_s: float) -> dict[str, Any]:
        """A message of no envelope as a call: of the task of its attribute, or of its queue."""
        given = asked.get("MessageAttributes") or {}
        attributes = readable(given)
        if attributes != given:
            raise Refused("InvalidParameterValue", "each of MessageAttributes has a StringValue or a BinaryValue")
        task = attributes.get("task", {}).get("StringValue")
        found: dict[str, Any] = {"queue": queue, "countdown": delay_s or None}
        if others := {name: value for name, value in attributes.items() if name != "task"}:
            found["headers"] = {"MessageAttributes": others}
        if (group := asked.get("MessageGroupId")) is not None:
            found["fair_key"] = group
        if task is not None:
            try:
                arguments = from_json(body.encode())
            except ValueError:
                arguments = None
            if not isinstance(arguments, dict) or not arguments.keys() <= {"args", "kwargs"}:
                raise Refused(
                    "InvalidMessageContents", 'with the attribute task the body is {"args": [], "kwargs": {}}'
                )
            return {**found, **arguments, "task": task}
        name = self._app.conf.gateway_tasks.get(queue)
        if name is None:
            raise Refused(
                "InvalidMessageContents",
                "no task: send the attribute `task`, or have the setting gateway_tasks name one for this queue",
            )
        return {**found, "task": name, "args": [body]}

    # -- receiving -----------------------------------------------------------------------------------------------------

    def _receive(self, call: Call) -> Document:
        queue = self._queue(call, "work")
        most = int(_number(call.asked, "MaxNumberOfMessages", 1, MOST_RECEIVED, least=1))
        visibility_s = _number(call.asked, "VisibilityTimeout", self._app.conf.visibility_timeout, LONGEST_S)
        wait_s = _number(call.asked, "WaitTimeSeconds", 0, MOST_WAIT_S)
        lent = self._lender.lend(call.key, [queue], most=most, visibility_s=max(visibility_s, 0.001), wait_s=wait_s)
        return {"Messages": [self._message(one) for one in lent]} if lent else {}

    def _message(self, one: Lent) -> Document:
        lease = one.lease
        is_plain = lease.task == self._app.conf.gateway_tasks.get(lease.queue) and not one.kwargs and len(one.args) == 1
        if is_plain and isinstance(one.args[0], str):
            body = one.args[0]
        else:
            body = to_json({"id": lease.id, "task": lease.task, "args": one.args, "kwargs": one.kwargs}).decode()
        options = orjson.loads(lease.options or b"{}")
        others = readable((options.get("headers") or {}).get("MessageAttributes"))  # as any sender has written them
        attributes: Attributes = {"task": {"DataType": "String", "StringValue": lease.task}, **others}
        tries = str(lease.retries + lease.crashes + lease.reaps + 1)
        return {
            "MessageId": lease.id, "ReceiptHandle": one.name, "Body": body, "MD5OfBody": _md5(body),
            "Attributes": {"ApproximateReceiveCount": tries}, "MessageAttributes": attributes, **md5_of(attributes),
        }  # fmt: skip

    def _delete(self, call: Call) -> Document:
        self._queue(call, "work")
        self._ended(call.key, call.asked)
        return {}

    def _delete_batch(self, call: Call) -> Document:
        self._queue(call, "work")
        return each(call.asked, lambda entry: self._ended(call.key, entry))

    def _ended(self, key: Key, asked: Document) -> None:
        lease = self._lender.find(key, _handle(asked))
        self._lender.settle(lease, self._lender.acknowledged(lease, None))

    def _change(self, call: Call) -> Document:
        self._queue(call, "work")
        self._changed(call.key, call.asked)
        return {}

    def _change_batch(self, call: Call) -> Document:
        self._queue(call, "work")
        return each(call.asked, lambda entry: self._changed(call.key, entry))

    def _changed(self, key: Key, asked: Document) -> None:
        visibility_s = _number(asked, "VisibilityTimeout", None, LONGEST_S)
        lease = self._lender.find(key, _handle(asked))
        if visibility_s:
            self._lender.extend(lease, visibility_s)
        else:
            self._lender.settle(lease, Release())

    # -- queues --------------------------------------------------------------------------------------------------------

    def _purge(self, call: Call) -> Document:
        queue = self._queue(call, "delete")
        if call.key.tasks is not None:
            raise Refused("AccessDenied", "this key is limited to some tasks; PurgeQueue deletes those of all", 403)
        self._app.storage.purge([queue])
        return {}

    def _url(self, call: Call) -> Document:
        return {"QueueUrl": self._url_of(call, self._named(call, ""))}

    def _create(self, call: Call) -> Document:
        return {"QueueUrl": self._url_of(call, self._named(call, "send"))}

    def _list(self, call: Call) -> Document:
        prefix = call.asked.get("QueueNamePrefix") or ""
        conf = self._app.conf
        known = {count.queue for count in self._app.storage.views.by_queue()} | set(conf.gateway_tasks)
        known |= {conf.task_default_queue}
        seen = sorted(name for name in known if name.startswith(prefix) and call.key.sees(name))
        return {"QueueUrls": [self._url_of(call, name) for name in seen]} if seen else {}

    def _attributes(self, call: Call) -> Document:
        queue = self._queue(call, "")
        asked = call.asked.get("AttributeNames") or []
        found = dict.fromkeys(COUNTED, 0)
        for count in self._app.storage.views.by_queue():
            for name, state in COUNTED.items():
                if count.queue == queue and count.state is state:
                    found[name] += count.n
        visibility_s = self._app.conf.visibility_timeout
        all_of = {name: str(n) for name, n in found.items()} | {
            "VisibilityTimeout": f"{visibility_s:.0f}", "QueueArn": f"arn:aws:sqs:liteq:{ACCOUNT}:{queue}",
            "MaximumMessageSize": str(self._app.conf.max_payload_bytes),
        }  # fmt: skip
        return {"Attributes": {name: value for name, value in all_of.items() if "All" in asked or name in asked}}

    def _queue(self, call: Call, right: str) -> str:
        """The queue that the call is about. Raises Refused: not there, or not for this key."""
        url = call.asked.get("QueueUrl")
        if not isinstance(url, str) or not url:
            raise Refused("MissingParameter", "QueueUrl is the address that GetQueueUrl returns")
        return self._checked(call, unquote(urlsplit(url).path.rpartition("/")[2]), right)

    def _named(self, call: Call, right: str) -> str:
        name = call.asked.get("QueueName")
        if not isinstance(name, str) or not name:
            raise Refused("MissingParameter", "QueueName is the name of a queue")
        return self._checked(call, name, right)

    def _checked(self, call: Call, queue: str, right: str) -> str:
        if not is_name(queue) or not call.key.sees(queue) or not self._is_there(queue):
            raise Refused("QueueDoesNotExist", "this queue is not there, or not for this key")
        if right and not call.key.can(right):
            raise Refused("AccessDenied", f"this key has no right {right!r}", 403)
        return queue

    def _is_there(self, queue: str) -> bool:
        conf = self._app.conf
        return bool(conf.task_create_missing_queues) or queue in {conf.task_default_queue, *(conf.task_queues or ())}

    def _url_of(self, call: Call, queue: str) -> str:
        return f"{call.base}/{ACCOUNT}/{quote(queue, safe='')}"


def _joined(batches: Iterable[Batch]) -> Batch:
    """All of them as one: what belongs together in each stays so."""
    whole = Batch()
    for batch in batches:
        whole.messages += batch.messages
        whole.groups += batch.groups
    return whole


def _told_of(entry: Document, batch: Batch, placed: Placed) -> dict[str, Any]:
    """An entry of a batch that was sent."""
    return {"Id": entry["Id"], **_sent(entry, _told(batch, placed))}


def _told(batch: Batch, placed: Placed) -> str:
    """The id that stands for what was sent: that of the first message."""
    id_ = batch.messages[0].id
    return placed.stands.get(id_, id_)


def _sent(asked: Document, id_: str) -> dict[str, Any]:
    sums = md5_of(readable(asked.get("MessageAttributes")))
    return {"MessageId": id_, "MD5OfMessageBody": _md5(asked["MessageBody"]), **sums}


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _handle(asked: Document) -> str:
    handle = asked.get("ReceiptHandle")
    if not isinstance(handle, str) or not handle:
        raise Refused("MissingParameter", "ReceiptHandle is the text that ReceiveMessage returned")
    return handle


def _number(asked: Document, name: str, default: float | None, most: float, *, least: float = 0) -> float:
    found = asked.get(name, default)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not least <= found <= most:
        raise Refused("InvalidParameterValue", f"{name} is a number from {least:g} to {most:g}")
    return found
