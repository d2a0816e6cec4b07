"""The gateway's own API: a call, a verb of the queue. Of the table `routes` the OpenAPI document is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from liteq.context import App
from liteq.edge.http import NO_TASK, Answer, Problem, Request, json_of
from liteq.edge.keys import Key
from liteq.edge.lending import LATEST_RETRY_S, Lender
from liteq.edge.presence import LONGEST_S
from liteq.edge.routes import Route
from liteq.exceptions import BadMessage, ImproperlyConfigured, QueueNotFound
from liteq.message import Batch, Flag, Message, Release, new_id
from liteq.policy.kept import KEPT
from liteq.policy.keyed import KEYED
from liteq.result.position import position_of
from liteq.result.reading import state_of, value_of
from liteq.sending.replicated import confirmed
from liteq.storage.driver import Bell
from liteq.storage.reading.inspect import Record
from liteq.utils.ids import ids_of
from liteq.utils.misspelt import unknown_name
from liteq.utils.names import checked_name, is_name

__all__ = ["MOST_WAIT_S", "V1", "document_of", "row_of"]

MOST_WAIT_S = 20.0  # that a call is held until something comes
LONGEST_KEY = 255
# Of a call, besides its name and its arguments: what may be said by somebody who does not have the app's code.
OPTIONS = frozenset(
    {"queue", "eta", "countdown", "expires", "priority", "headers", "time_limit", "soft_time_limit", "ignore_result"}
    | {"unique_key"} | {*KEYED, *KEPT}
)  # fmt: skip
FIELDS = frozenset({"id", "task", "args", "kwargs", "encoded"}) | OPTIONS


def row_of(app: App, call: Mapping[str, Any], id_: str) -> Message:
    """The row of one call. Raises Problem 400, without which call, for one that is none."""
    if unknown := unknown_name("field", call, FIELDS):
        raise Problem(400, unknown)
    task, args, kwargs = call.get("task"), call.get("args", []), call.get("kwargs", {})
    if not isinstance(task, str):
        raise Problem(400, "task is the name of a task")
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Problem(400, "args is a list, and kwargs an object")
    options = {name: value for name, value in call.items() if name in OPTIONS and value is not None}
    try:
        message: Message = app.publisher.message(task, args, kwargs, options, message_id=id_)
    except (TypeError, ValueError, BadMessage, ImproperlyConfigured, QueueNotFound) as exc:
        raise Problem(400, str(exc.args[0] if isinstance(exc, KeyError) else exc)) from None
    if call.get("encoded"):  # a relay's: liteq's own JSON, in which more has a form; it goes on as it is
        message.payload = orjson.dumps([args, kwargs])
    return message


def document_of(app: App, record: Record) -> dict[str, Any]:
    """A task as `GET /v1/tasks/<id>` shows it, whether it has ended or not: of one look, `record`."""
    state = state_of(record)
    found = {"id": record.id, "task": record.task, "queue": record.queue, "state": state}
    result = value_of(record, state, app.result_content.read)
    if isinstance(result, BaseException):
        return {**found, "result": None, "error": {"type": type(result).__name__, "message": str(result)}}
    return {**found, "result": result if record.has_ended else None, "error": None}


class V1:
    """The calls. Each gets the key that was shown, the request, and the named part of its path."""

    def __init__(self, app: App, lender: Lender) -> None:
        self._app = app
        self._lender = lender

    def routes(self) -> tuple[Route, ...]:
        """The table of the calls."""
        lease = "/v1/leases/{lease}/"
        return (
            Route("POST", "/v1/tasks", "send", self.send, "Send tasks, all or none of them; each id once."),
            Route("GET", "/v1/tasks/{id}", "view", self.task, "The state of a task, and its result or error."),
            Route("DELETE", "/v1/tasks/{id}", "cancel", self.revoke, "Revoke a task."),
            Route("POST", "/v1/leases", "work", self.lease, "Lease messages, to execute them."),
            Route("POST", f"{lease}ack", "work", self.ack, "It has returned."),
            Route("POST", f"{lease}fail", "work", self.fail, "It has failed for good: a dead letter."),
            Route("POST", f"{lease}retry", "work", self.retry, "It is to be tried again."),
            Route("POST", f"{lease}extend", "work", self.extend, "It takes longer."),
            Route("POST", f"{lease}release", "work", self.release, "Give it back; no try is counted."),
        )

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def send(self, key: Key, request: Request) -> Answer:
        calls = self._json(request)
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise Problem(400, 'the body is a list of calls, as [{"task": "shop.bill", "args": [1]}]')
        most = self._app.conf.gateway_max_batch
        if len(calls) > most:
            raise Problem(413, f"{len(calls):,} calls in one body, and {most:,} are taken: send them in parts")
        made = self._made(key, request.headers.get("idempotency-key"), len(calls))
        batch = Batch([self._row(key, call, n, made) for n, call in enumerate(calls)])
        return Answer(200, {"tasks": self._placed(batch) if calls else []})

    def _made(self, key: Key, idempotency: str | None, n: int) -> list[str] | None:
        """The ids of `n` calls without one, which the same key and header make again; None without the header."""
        if idempotency is None:
            return None
        if not 0 < len(idempotency) <= LONGEST_KEY:
            raise Problem(400, f"Idempotency-Key is a text of up to {LONGEST_KEY} characters, another for each body")
        return ids_of(f"gateway {key.name!r} {idempotency!r}", 0, n)  # quoted: no other pair reads alike

    def _row(self, key: Key, call: dict[str, Any], n: int, made: list[str] | None) -> Message:
        id_ = call.get("id")
        try:
            if id_ is None:
                id_ = new_id() if made is None else made[n]
            message = row_of(self._app, call, checked_name(id_, "id"))
        except Problem as problem:
            raise Problem(problem.status, f"call {n}, counted from 0: {problem.detail}") from None
        except (TypeError, ValueError) as exc:
            raise Problem(400, f"call {n}, counted from 0: {exc}") from None
        if made is not None or call.get("id") is not None:
            message.flags |= Flag.KEPT  # it stays when it has succeeded: a repeated call finds it
        if not key.knows(message.task) or not key.sees(message.queue):
            what = f"the task {message.task!r} to the queue {message.queue!r}"
            raise Problem(403, f"call {n}, counted from 0: this key may not send {what}")
        return message

    def _placed(self, batch: Batch) -> list[dict[str, Any]]:
        placed = confirmed(self._app, batch.messages, lambda: self._app.storage.sends.placed(batch))
        position = position_of(self._app, placed.stands.get(last := batch.messages[-1].id, last))  # all are one commit
        seen, found = set[str](), []
        for message in batch.messages:
            is_new = message.id not in placed.standing and message.id not in seen
            seen.add(message.id)
            found.append({"id": placed.stands.get(message.id, message.id), "new": is_new, "position": position})
        return found

    def task(self, key: Key, request: Request, id: str) -> Answer:  # noqa: A002 - the name of the part of the path
        wait_s = request.number("wait", 0.0, MOST_WAIT_S)
        record = self._record(key, id)
        if not record.has_ended and wait_s:
            find_ended = self._app.storage.reader.find_ended
            record = self._lender.until(Bell.DONE, lambda: find_ended(id), wait_s) or self._record(key, id)
        return Answer(200, document_of(self._app, record))

    def revoke(self, key: Key, _request: Request, id: str) -> Answer:  # noqa: A002
        self._record(key, id)
        self._app.control.revoke(id)
        return Answer(200, {"id": id, "state": document_of(self._app, self._record(key, id))["state"]})

    def _record(self, key: Key, id_: str) -> Record:
        record: Record | None = self._app.storage.reader.find(id_) if is_name(id_) else None
        if record is None or not key.sees(record.queue) or not key.knows(record.task):
            raise Problem(404, f"{NO_TASK}: it was never sent, or its result has expired")
        return record

    # -- leases --------------------------------------------------------------------------------------------------------

    def lease(self, key: Key, request: Request) -> Answer:
        asked = self._object(request, {"queues", "max", "visibility", "wait"})
        queues = asked.get("queues")
        if not isinstance(queues, list) or not queues or not all(map(is_name, queues)):
            raise Problem(400, 'queues is a list of names, as ["celery"]')
        for queue in queues:
            if not key.sees(queue):
                raise Problem(403, f"this key may not use the queue {queue!r}")
        conf = self._app.conf
        most = int(self._number(asked, "max", 1, 1, conf.gateway_max_batch))
        visibility_s = self._number(asked, "visibility", conf.visibility_timeout, 1, LONGEST_S)
        wait_s = self._number(asked, "wait", 0, 0, MOST_WAIT_S)
        lent = self._lender.lend(key, queues, most=most, visibility_s=visibility_s, wait_s=wait_s)
        found = [
            {
                "lease": one.name, "id": one.lease.id, "task": one.lease.task, "args": one.args, "kwargs": one.kwargs,
                "queue": one.lease.queue, "retries": one.lease.retries, "deadline": one.deadline_ms,
            }
            for one in lent
        ]  # fmt: skip
        return Answer(200, {"leases": found})

    def ack(self, key: Key, request: Request, lease: str) -> Answer:
        result = self._object(request, {"result"}).get("result")
        held = self._lender.find(key, lease)
        self._lender.settle(held, self._lender.acknowledged(held, result))
        return Answer(200, {})

    def fail(self, key: Key, request: Request, lease: str) -> Answer:
        asked = self._object(request, {"type", "message"})
        held = self._lender.find(key, lease)
        kind = self._text(asked, "type", "Exception")
        self._lender.settle(held, self._lender.failed(kind, self._text(asked, "message", "")))
        return Answer(200, {})

    def retry(self, key: Key, request: Request, lease: str) -> Answer:
        asked = self._object(request, {"delay", "message"})
        held = self._lender.find(key, lease)
        delay_s = self._number(asked, "delay", 0, 0, LATEST_RETRY_S)
        self._lender.settle(held, self._lender.retried(held, delay_s, self._text(asked, "message", "")))
        return Answer(200, {})

    def extend(self, key: Key, request: Request, lease: str) -> Answer:
        asked = self._object(request, {"visibility"})
        visibility_s = self._number(asked, "visibility", self._app.conf.visibility_timeout, 1, LONGEST_S)
        return Answer(200, {"deadline": self._lender.extend(self._lender.find(key, lease), visibility_s)})

    def release(self, key: Key, request: Request, lease: str) -> Answer:
        self._object(request, set())
        self._lender.settle(self._lender.find(key, lease), Release())
        return Answer(200, {})

    # -- what is asked -------------------------------------------------------------------------------------------------

    def _json(self, request: Request) -> Any:
        return json_of(request.body(self._app.conf.gateway_max_body))

    def _object(self, request: Request, fields: set[str]) -> dict[str, Any]:
        """The object in the body, {} for none. Raises Problem for fields that it does not have."""
        body = request.body(self._app.conf.gateway_max_body)
        found = json_of(body) if body.strip() else {}
        if not isinstance(found, dict):
            raise Problem(400, "the body is a JSON object")
        if unknown := unknown_name("field", found, fields):
            raise Problem(400, unknown)
        return found

    def _number(self, asked: Mapping[str, Any], name: str, default: float, least: float, most: float) -> float:
        found = asked.get(name, default)
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not least <= found <= most:
            raise Problem(400, f"{name} is a number from {least:g} to {most:g}")
        return found

    def _text(self, asked: Mapping[str, Any], name: str, default: str) -> str:
        found = asked.get(name, default)
        if not isinstance(found, str):
            raise Problem(400, f"{name} is a text")
        return found
