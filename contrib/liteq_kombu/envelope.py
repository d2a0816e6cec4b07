"""kombu's messages as rows, and rows as kombu's messages.

A task of Celery's protocol 2 in JSON becomes the row that liteq's own call would be: a liteq worker runs it, too, and
Celery's runs what a liteq producer sent. What only Celery reads stands in the row's options under `celery`, as it came:
the values in it are still tagged. Any other message is a row of the task `kombu.message` with all of it inside.

Source: "Message Protocol" of Celery's documentation.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from kombu.utils.json import loads as kombu_loads
from kombu.utils.json import register_type

from liteq.clock import from_ms, to_ms
from liteq.message import Flag, Lease, Message, new_id
from liteq.serialization import decode, encode
from liteq.serialization.embedded import deflated, is_deflated, packed, unpacked, with_long_rest
from liteq.utils.names import checked_id, checked_name

__all__ = [
    "FACTS", "OPAQUE", "facts_of", "from_json", "inside_of", "is_task", "lease_of", "opened", "payload_of", "row_of",
]  # fmt: skip

OPAQUE: Final = "kombu.message"
FACTS: Final = "liteq"  # among the properties of a task's message: `facts_of` its lease
JSON: Final = "application/json"
# Headers of protocol 2. Every other one is the sender's own.
OURS: Final = frozenset(
    {"lang", "task", "id", "eta", "expires", "timelimit", "root_id", "parent_id", "shadow", "ignore_result", "retries"}
    | {"group", "group_index", "argsrepr", "kwargsrepr", "origin", "replaced_task_nesting", "stamped_headers", "stamps"}
)  # fmt: skip
KEPT: Final = ("shadow", "argsrepr", "kwargsrepr", "origin", "stamped_headers", "stamps")
PROPERTIES: Final = ("app_id", "user_id", "message_id", "type", "cluster_id")


class Tagged:
    """Stands for the values that liteq tags and kombu does not: kombu asks for a class beside each tag."""


class TaggedFloat(Tagged):
    """As `Tagged`."""


register_type(Tagged, "int", repr, lambda text: int(text, 16))
register_type(TaggedFloat, "float", repr, float)

# A member of a group carries this in place of its chord's body, which awaits the group: a mark that it is a member.
MEMBER: Final[dict[str, Any]] = {
    "task": "celery.chord",
    "args": [],
    "kwargs": {},
    "subtask_type": None,
    "immutable": False,
}

DEEPEST: Final = 250  # containers in each other, of a canvas: Celery has no limit, and orjson one of 254

LOWEST: Final = 9  # of Celery's priorities on Redis, where 0 goes first
HIGHEST: Final = 255  # of AMQP's, which begin at 0


# -- to a row ----------------------------------------------------------------------------------------------------------


def row_of(message: Mapping[str, Any], queue: str, *, lower_first: bool, results: bool = False) -> Message:
    """The row of a message that kombu's channel has prepared. Raises ValueError for an id or a queue that cannot be.

    `results`: they are kept in the same file. Then the chord's group counts its members as they end, and none of them
    needs to carry the chord's body.
    """
    headers, properties = message.get("headers") or {}, message["properties"]
    checked_name(queue, "a queue's name")
    priority = _priority(properties.get("priority"), lower_first)
    if is_task(headers):
        id_: str = headers["id"]
        call = _call(message, headers)
        if call is not None:
            member = results and isinstance(call[1], dict) and bool(call[1].pop("chord", None))
            row = _task_row(call, headers, properties, queue, priority)
        else:  # its content is opaque; whether its group is a chord's is checked when it is written
            member, row = results, _opaque(message, queue, priority, checked_id(id_))
        if member and isinstance(headers.get("group"), str):
            return replace(row, group_id=headers["group"], position=int(headers.get("group_index") or 0))
        return row
    return _opaque(message, queue, priority, new_id())


def is_task(headers: Mapping[str, Any]) -> bool:
    """Whether these are the headers of a task of protocol 2."""
    task, id_ = headers.get("task"), headers.get("id")
    return isinstance(task, str) and isinstance(id_, str) and bool(task and id_)


def _priority(given: Any, lower_first: bool) -> int:
    try:
        number = int(given or 0)
    except (TypeError, ValueError):
        number = 0
    if lower_first:
        number = LOWEST - number
    return min(max(number, 0), HIGHEST)


def _call(message: Mapping[str, Any], headers: Mapping[str, Any]) -> tuple[bytes, dict[str, Any] | bytes] | None:
    """The arguments as a row's payload, and what is embedded, still tagged; None for what is no plain JSON.

    What is embedded is text where it is a long rest of a chain.
    """
    body = message.get("body")
    if message.get("content-type") != JSON or headers.get("compression") or not isinstance(body, (str, bytes)):
        return None
    if isinstance(body, bytes):
        try:
            body = body.decode()
        except UnicodeDecodeError:
            return None
    # A look for one letter is much quicker, and as a rule enough.
    is_plain = not (("N" in body and "NaN" in body) or ("I" in body and "Infinity" in body))
    try:
        args, kwargs, embed = (with_long_rest(body) if is_plain else None) or json.loads(body)
    except (ValueError, TypeError):
        return None
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed, dict | bytes | None):
        return None
    payload = _payload(args, kwargs, body, is_plain=is_plain)
    return payload, embed if isinstance(embed, bytes) else _embedded(embed or {}, is_plain=is_plain)


def _payload(args: list[Any], kwargs: dict[str, Any], body: str, *, is_plain: bool) -> bytes:
    """`[args, kwargs]` as liteq has it. JSON has no NaN and orjson no integers beyond 64 bits: liteq tags these.

    `is_plain`: there is no NaN and no infinity in `body`.
    """
    if is_plain:
        try:
            return orjson.dumps([args, kwargs])
        except TypeError:
            pass
    args, kwargs, _ = kombu_loads(body)
    return encode([args, kwargs], what="the arguments of a message of Celery's", limit=None)


def from_json(body: str | bytes) -> Any:
    """The value that Celery has written as JSON. Its writer lets NaN and Infinity pass, which orjson does not read."""
    try:
        return orjson.loads(body)
    except ValueError:
        return json.loads(body)


def _embedded(embed: dict[str, Any], *, is_plain: bool) -> dict[str, Any]:
    """`embed` with tags where `_payload` has them: in the arguments of callbacks, and of the rest of a chain."""
    if is_plain:
        try:
            orjson.dumps(embed)  # a look, and the quickest: each link of a long chain pays for it
        except TypeError:
            pass
        else:
            return embed
    values = kombu_loads(json.dumps(embed))
    what = "what a message of Celery's brings to be sent after it"
    tagged: dict[str, Any] = orjson.loads(encode(values, what=what, limit=None, max_depth=DEEPEST))
    return tagged


def _task_row(
    call: tuple[bytes, Any], headers: Mapping[str, Any], properties: Mapping[str, Any], queue: str, priority: int
) -> Message:
    id_ = checked_id(headers["id"])
    due_ms, ignored = _moment_ms(headers.get("eta")), headers.get("ignore_result")
    root_id = headers.get("root_id")
    return Message(
        id=id_,
        task=checked_name(headers["task"], "a task's name"),
        payload=call[0],
        queue=queue,
        priority=priority,
        due_ms=due_ms,
        expires_ms=_moment_ms(headers.get("expires")),
        options=_options(headers, properties, call[1], queue),
        root_id=None if root_id == id_ else root_id,
        parent_id=headers.get("parent_id"),
        flags=Flag.IGNORE_RESULT if ignored else 0,
    )


def _moment_ms(text: Any) -> int | None:
    """An ISO time in ms since the epoch; a naive one is UTC, as Celery's are."""
    if not text:
        return None
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _options(headers: Mapping[str, Any], properties: Mapping[str, Any], embed: Any, queue: str) -> bytes | None:
    """The options document: what a liteq worker reads under liteq's names, and `celery`."""
    doc: dict[str, Any] = {name: headers[name] for name in KEPT if headers.get(name)}
    own = {name: value for name, value in headers.items() if name not in OURS}
    if own:
        doc["headers"] = own
    if headers.get("timelimit") and any(one is not None for one in headers["timelimit"]):
        doc["timelimit"] = list(headers["timelimit"])
    if headers.get("replaced_task_nesting"):
        doc["replaced_task_nesting"] = headers["replaced_task_nesting"]
    if headers.get("eta"):
        doc["eta"] = str(headers["eta"])
    if headers.get("ignore_result") is False:
        doc["ignore_result"] = False
    if properties.get("reply_to"):
        doc["reply_to"] = properties["reply_to"]
    kept = {name: properties[name] for name in PROPERTIES if properties.get(name) is not None}
    if properties.get("correlation_id") not in (None, headers["id"]):
        kept["correlation_id"] = properties["correlation_id"]
    if kept:
        doc["properties"] = kept
    celery = _celery(headers, properties, embed, queue)
    text = encode(doc, what=f"the headers of {headers['task']}")
    more = orjson.dumps(celery)
    return text[:-1] + (b"," if doc else b"") + b'"celery":' + more + b"}"


def _celery(headers: Mapping[str, Any], properties: Mapping[str, Any], embed: Any, queue: str) -> dict[str, Any]:
    """The part of a message that only Celery reads."""
    found: dict[str, Any] = {}
    if isinstance(embed, bytes):
        found["embed"] = deflated(embed)
    elif kept := {name: value for name, value in embed.items() if value}:
        found["embed"] = packed(kept)
    if headers.get("lang", "py") != "py":
        found["lang"] = headers["lang"]
    for name in ("group", "group_index", "retries"):
        if headers.get(name):
            found[name] = headers[name]
    info = properties.get("delivery_info") or {}
    if info.get("exchange") or info.get("routing_key", queue) != queue:
        found["to"] = [info.get("exchange") or "", info.get("routing_key")]
    return found


def embed_of(celery: Mapping[str, Any]) -> dict[str, Any]:
    """The callbacks, errbacks and the rest of a chain, of the part that only Celery reads."""
    found: dict[str, Any] = celery.get("embed", {})
    if is_deflated(found):
        found = orjson.loads(unpacked(found))
    return found


def inside_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The whole of a message as JSON has it, for `opened`."""
    body = message.get("body")
    if isinstance(body, (bytes, bytearray, memoryview)):
        body = {"base64": base64.b64encode(bytes(body)).decode()}
    return {
        "body": body,
        "headers": dict(message.get("headers") or {}),
        "properties": dict(message["properties"]),
        "content-type": message.get("content-type"),
        "content-encoding": message.get("content-encoding"),
    }


def opened(inside: dict[str, Any], tag: str) -> dict[str, Any]:
    """The message that `inside_of` was given, to be delivered under `tag`."""
    body, properties = inside["body"], inside["properties"]
    if isinstance(body, dict):
        inside["body"] = base64.b64decode(body["base64"])
    info = {**properties.get("delivery_info", {}), "redelivered": False}
    inside["properties"] = {**properties, "body_encoding": "utf-8", "delivery_tag": tag, "delivery_info": info}
    return inside


def _opaque(message: Mapping[str, Any], queue: str, priority: int, id_: str) -> Message:
    inside = inside_of(message)
    eta, expires = (_moment_ms(inside["headers"].get(name)) for name in ("eta", "expires"))
    return Message(
        id=id_, task=OPAQUE, payload=encode([[], {"message": inside}], what="a message of kombu's"), queue=queue,
        priority=priority, due_ms=eta, expires_ms=expires,
    )  # fmt: skip


# -- from a row --------------------------------------------------------------------------------------------------------


def facts_of(where: str, lease: Lease, *, beside: bool) -> list[Any]:
    """The facts of a lease for the process that runs the task; `beside`: its arguments stand beside the row."""
    return [
        where, lease.seq, lease.token, lease.flags, lease.retries, lease.crashes, lease.queue, lease.priority,
        lease.group_id, lease.awaits, lease.expires_ms, beside, lease.due_ms,
    ]  # fmt: skip


def lease_of(facts: list[Any], id_: str, task: str, root_id: str | None, parent_id: str | None) -> Lease:
    """The lease of which `facts_of` told."""
    _, seq, token, flags, retries, crashes, queue, priority, group_id, awaits, expires_ms, beside, due_ms = facts
    return Lease(
        seq, token, id_, task, b"" if beside else b"[[],{}]", None, queue, priority, due_ms, expires_ms, retries,
        crashes, flags, root_id, parent_id, group_id, awaits,
    )  # fmt: skip


def payload_of(lease: Lease, where: str, *, lower_first: bool, beside: bool, args: list[Any] | None) -> dict[str, Any]:
    """The message of a lease with its arguments, as kombu's channel delivers it.

    `args`: the positional arguments where a result that was awaited goes in front, still tagged.
    """
    facts = facts_of(where, lease, beside=beside)
    tag = f"{lease.seq}.{lease.token}"
    if lease.task == OPAQUE:
        return _opened(lease, tag, facts)
    raw: dict[str, Any] = orjson.loads(lease.options) if lease.options else {}
    celery = raw.pop("celery", {})
    doc = decode(lease.options) if lease.options and b"__type__" in lease.options else raw
    body = lease.payload
    if args is not None:
        body = orjson.dumps([args, orjson.loads(lease.payload)[1]])
    exchange, routing_key = celery.get("to", ("", lease.queue))
    priority = LOWEST - lease.priority if lower_first else lease.priority
    return {
        "body": (body[:-1] + b"," + _embed_text(lease, celery) + b"]").decode(),
        "content-type": JSON,
        "content-encoding": "utf-8",
        "headers": _headers(lease, doc, celery),
        "properties": {
            **doc.get("properties", {}),
            "correlation_id": doc.get("properties", {}).get("correlation_id", lease.id),
            "reply_to": doc.get("reply_to", ""),
            "delivery_mode": 2,
            "delivery_info": {"exchange": exchange, "routing_key": routing_key, "redelivered": _again(lease)},
            "priority": priority,
            "body_encoding": "utf-8",
            "delivery_tag": tag,
            FACTS: facts,
        },
    }


def _embed_text(lease: Lease, celery: Mapping[str, Any]) -> bytes:
    """The part that a message embeds, as JSON. Raises ValueError where that cannot be read."""
    stored = celery.get("embed", {})
    if lease.group_id is None and is_deflated(stored):
        return unpacked(stored)  # as it came: what it leaves out is None to Celery
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None, **embed_of(celery)}
    if lease.group_id is not None and not embed["chord"]:
        embed["chord"] = {**MEMBER, "options": {"task_id": lease.group_id}}
    return orjson.dumps(embed)


def _again(lease: Lease) -> bool:
    return bool(lease.crashes or lease.reaps or lease.flags & Flag.REDELIVERED)


def _headers(lease: Lease, doc: Mapping[str, Any], celery: Mapping[str, Any]) -> dict[str, Any]:
    ignored = True if lease.flags & Flag.IGNORE_RESULT else doc.get("ignore_result")
    # It is due: with a time in the past Celery would hold it for another turn, and make room for one more.
    return {
        "lang": celery.get("lang", "py"),
        "task": lease.task,
        "id": lease.id,
        "shadow": doc.get("shadow"),
        "eta": None,
        "expires": None if lease.expires_ms is None else from_ms(lease.expires_ms).isoformat(),
        "group": celery.get("group", lease.group_id),
        "group_index": celery.get("group_index"),
        "retries": max(lease.retries, celery.get("retries", 0)),
        "timelimit": doc.get("timelimit", [None, None]),
        "root_id": lease.root_id or lease.id,
        "parent_id": lease.parent_id,
        "argsrepr": doc.get("argsrepr"),
        "kwargsrepr": doc.get("kwargsrepr"),
        "origin": doc.get("origin"),
        "ignore_result": ignored,
        "replaced_task_nesting": doc.get("replaced_task_nesting", 0),
        "stamped_headers": doc.get("stamped_headers"),
        "stamps": doc.get("stamps", {}),
        **doc.get("headers", {}),
    }


def _opened(lease: Lease, tag: str, facts: list[Any]) -> dict[str, Any]:
    message = opened(decode(lease.payload)[1]["message"], tag)
    message["properties"]["delivery_info"]["redelivered"] = _again(lease)
    headers = message["headers"]
    if headers.get("id") == lease.id:
        message["properties"][FACTS] = facts
        headers |= {"eta": None, "retries": max(lease.retries, headers.get("retries") or 0)}
    return message
