"""Remote control that crosses over: Celery's requests reach liteq's workers, and liteq's reach Celery's.

Celery asks by a message to all workers and reads their answers from a queue of its own; liteq asks by a row, and the
answers are rows. A request of Celery's is written as such a row, too, for the workers of liteq's by name. A request of
liteq's becomes a message in the queue for control of each Celery worker, whose answer becomes a row: the routing key
tells of which request.

A revoke is also the queue's own verb: a row that waits is cancelled at once, and stays so over restarts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

import orjson

from liteq.serialization import decode, encode
from liteq.storage.operating.commands import REVOKES_KEPT_S, Command
from liteq_kombu.envelope import JSON, from_json
from liteq_kombu.files import app_here

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = ["ANSWER", "Asked", "answer", "answers", "ask", "is_answers", "is_control", "know_revokes", "requests"]

NAME: Final = "celery"  # of the mailbox of the workers, where the app gives it no other one
CONTROL: Final = ".pidbox"  # the end of the name of an exchange for control
REPLY: Final = "reply."  # in front of it: the exchange of the answers
ANSWER: Final = "liteq-command."  # in front of the number of a request of liteq's, as a routing key
UNANSWERED_S: Final = 60.0  # a request without an answer is carried out by those that see it within this time
ELECTION: Final = "election"
LATE_S: Final = 1.0  # an answer is read for so long after the asker has stopped waiting


class Asked:
    """A request of this process's to workers of liteq's: number, name, Celery's ticket for it, and who has answered."""

    def __init__(self, number: int, name: str, ticket: str, within_s: float) -> None:
        self.number = number
        self.name = name
        self.ticket = ticket
        self.until = time.monotonic() + within_s
        self.seen: set[int] = set()


def is_control(file: File, exchange: str) -> bool:
    """Whether requests to workers go to the exchange of this name: a program may have mailboxes of its own."""
    app = file.app or app_here()
    return exchange == (NAME if app is None else app.conf.control_exchange) + CONTROL


def is_answers(exchange: str) -> bool:
    """Whether workers send their answers to the exchange of this name."""
    return exchange.startswith(REPLY) and exchange.endswith(CONTROL)


# -- Celery asks -------------------------------------------------------------------------------------------------------


def ask(file: File, exchange: str, message: Mapping[str, Any]) -> None:
    """Ask liteq's workers, too, what `message` asks Celery's; cancel what it revokes."""
    request = _request(message) if is_control(file, exchange) else None
    if request is None:
        return
    arguments = request.get("arguments") or {}
    if request["method"] == "revoke":
        ids = arguments.get("task_id")
        several = [ids] if isinstance(ids, str) else list(ids or ())
        file.storage.commands.revoke(several, keep_s=REVOKES_KEPT_S)
    elif request["method"] == ELECTION:  # of one worker of Celery's: they agree among themselves
        return
    names = [one.name for one in file.storage.reader.workers() if not one.facts.get("celery")]
    names = [name for name in names if _is_meant(name, request)]
    if not names:
        return
    expires = (message.get("headers") or {}).get("expires")
    within_s = max(float(expires) - file.storage.clock.now_ms() / 1000, 1.0) if expires else UNANSWERED_S
    ticket, back = request.get("ticket"), request.get("reply_to")
    number = file.storage.commands.send(
        request["method"], encode(arguments, what=f"the arguments of {request['method']}"),
        encode(sorted(names), what="the workers"), wants_reply=bool(ticket and back), expires_s=within_s,
    )  # fmt: skip
    if ticket and back:
        queue = f"{back['routing_key']}.{back['exchange']}"
        now = time.monotonic()
        pending = [one for one in file.asked.get(queue, ()) if one.until + LATE_S > now]
        file.asked[queue] = [*pending, Asked(number, request["method"], ticket, within_s)]


def _request(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """The request in a message of Celery's control; None for what is none, or is not JSON."""
    body = message.get("body")
    try:
        request = orjson.loads(body) if isinstance(body, (str, bytes)) else None
    except ValueError:
        return None
    return request if isinstance(request, dict) and isinstance(request.get("method"), str) else None


def _is_meant(name: str, request: Mapping[str, Any]) -> bool:
    if request.get("destination"):
        return name in request["destination"]
    pattern, matcher = request.get("pattern"), request.get("matcher")
    if not (pattern and matcher):
        return True
    return bool(re.match(pattern, name)) if matcher == "pcre" else fnmatchcase(name, pattern)


def answers(file: File, queue: str) -> Iterator[dict[str, Any]]:
    """The answers of liteq's workers since the last look, as messages for the queue of answers `queue`."""
    now = time.monotonic()
    pending = [one for one in file.asked.pop(queue, ()) if one.until + LATE_S > now]
    if pending:
        file.asked[queue] = pending
    for asked in pending:
        for worker, name, data in file.storage.commands.replies(asked.number):
            if worker not in asked.seen:
                asked.seen.add(worker)
                told = _without_clock(data) if asked.name == "hello" else data
                yield _message(b"{%b:%b}" % (orjson.dumps(name), told), {"ticket": asked.ticket, "clock": 0})


def _without_clock(data: bytes) -> bytes:
    """An answer to a worker that starts, which would set its clock by it: Celery's counts events, liteq's ms."""
    answer = orjson.loads(data)
    return orjson.dumps({**answer, "clock": None}) if isinstance(answer, dict) else data


def _message(body: bytes, headers: dict[str, Any]) -> dict[str, Any]:
    return {
        "body": body.decode(), "headers": headers, "properties": {"delivery_info": {}},
        "content-type": JSON, "content-encoding": "utf-8",
    }  # fmt: skip


def know_revokes(file: File) -> None:
    """Have a worker of Celery's that starts here know the ids that are kept as revoked, before it takes its first task.

    One that nobody has sent yet, or that runs again, is not to start after a restart either.
    """
    if file.node is not None:
        file.node.know_revoked(file.storage.commands.revoked_ids())


# -- liteq asks --------------------------------------------------------------------------------------------------------


def requests(file: File, exchange: str, after: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, message) of each request of liteq's behind the number `after`, as Celery's workers have it."""
    now_ms = file.storage.clock.now_ms()
    for command in file.storage.commands.after(after):
        is_for_them = now_ms <= command.expires_ms and command.name != ELECTION
        body = _body(command, exchange) if is_for_them else None
        yield command.id, _message(orjson.dumps(body), {"clock": 0}) if body else {}


def _body(command: Command, exchange: str) -> dict[str, Any] | None:
    try:
        destination = None if command.destination is None else list(orjson.loads(command.destination))
        request = {"method": command.name, "arguments": decode(command.arguments), "destination": destination}
    except (ValueError, TypeError):  # a row that another program wrote
        return None
    if command.wants_reply:
        back = {"exchange": REPLY + exchange, "routing_key": f"{ANSWER}{command.id}"}
        request |= {"ticket": str(command.id), "reply_to": back}
    return request


def answer(file: File, routing_key: str, message: Mapping[str, Any]) -> None:
    """Give liteq the answer of this worker of Celery's."""
    ((name, data),) = from_json(message["body"]).items()
    number = int(routing_key.removeprefix(ANSWER))
    file.storage.commands.reply(number, file.holder.number(()), name, orjson.dumps(data))
