"""Celery's message as its producers send it through kombu (protocol 2): read into rows, or refused with the reason.

Source: "Message Protocol" of Celery's documentation, and kombu's SQS transport: base64 of a JSON object with `body`,
`headers`, `properties`; the body in turn is base64 of the JSON `[args, kwargs, embed]`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import orjson

from liteq.canvas import Signature
from liteq.context import App
from liteq.edge.sqs.errors import Refused
from liteq.exceptions import ImproperlyConfigured
from liteq.message import Batch
from liteq.sending.behind import behind
from liteq.sending.compile import compile_signature
from liteq.utils.json_text import from_json

__all__ = ["batch_of", "envelope_of"]

# Read into options of the call; others go on as headers of the message, as a producer's own do.
READ: Final = frozenset(
    {"lang", "task", "id", "eta", "expires", "timelimit", "root_id", "parent_id", "shadow", "ignore_result", "retries"}
    | {"group", "group_index", "argsrepr", "kwargsrepr", "origin", "replaced_task_nesting", "stamped_headers", "stamps"}
)  # fmt: skip

UNLOCK: Final = "celery.chord_unlock"  # of a sender whose result backend counts no members
# Nothing that comes here says how many members there are: Celery tells its result backend alone, after the last one.
CHORD: Final = (
    "a chord's members come one by one, and none says how many they are: send a chain of a task and the chord, "
    "which comes as a whole, or send the chord by liteq"
)


def envelope_of(text: str) -> Mapping[str, Any] | None:
    """The envelope of which `text` is the body of an SQS message; None where it is none."""
    for data in (text, _unbased(text)):
        if data is None or data[:1] not in ("{", b"{"):
            continue
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            continue
        if isinstance(found, dict) and {"body", "headers", "properties"} <= found.keys():
            return found if isinstance(found["headers"], dict) and isinstance(found["properties"], dict) else None
    return None


def _unbased(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def batch_of(app: App, envelope: Mapping[str, Any], queue: str, *, delay_s: float) -> Batch:
    """The rows of Celery's message. Raises Refused for what cannot be compiled, with the reason."""
    headers, properties = envelope["headers"], envelope["properties"]
    name, id_ = headers.get("task"), headers.get("id")
    if not isinstance(name, str) or not isinstance(id_, str) or not id_:
        raise Refused("InvalidMessageContents", "no message of Celery's protocol 2: set task_protocol = 2")
    args, kwargs, embed = _body(envelope)
    if embed.get("chord") or name == UNLOCK:
        raise Refused("InvalidMessageContents", CHORD)
    options = _options(headers, properties, queue, delay_s)
    first = Signature(name, args, kwargs, options={**options, "task_id": id_}, app=app)
    root_id = _text(headers.get("root_id"), but=id_)
    try:
        after = behind(id_, embed, app, root_id=root_id)
        batch = compile_signature(
            first, app.publisher, root_id=root_id, parent_id=_text(headers.get("parent_id")),
            linked=bool(after.messages),
        ).batch  # fmt: skip
        return Batch([*batch.messages, *after.messages], after.groups)
    except (TypeError, ValueError, KeyError, ImproperlyConfigured) as exc:
        raise Refused("InvalidMessageContents", f"not compiled: {exc}") from None


def _body(envelope: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any], Mapping[str, Any]]:
    kind, compression = envelope.get("content-type"), envelope["headers"].get("compression")
    if kind not in (None, "application/json") or compression:
        what = f"the content type {kind!r}" if not compression else f"the compression {compression!r}"
        raise Refused("InvalidMessageContents", f"{what} is not read here: set task_serializer = 'json'")
    body = envelope["body"]
    try:
        if envelope["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body)
        args, kwargs, embed = from_json(body.encode() if isinstance(body, str) else body)
    except (ValueError, TypeError):
        raise Refused("InvalidMessageContents", "the body is no JSON of [args, kwargs, embed]") from None
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed, dict | None):
        raise Refused("InvalidMessageContents", "the body is no JSON of [args, kwargs, embed]")
    return args, kwargs, embed or {}


def _options(headers: Mapping[str, Any], properties: Mapping[str, Any], queue: str, delay_s: float) -> dict[str, Any]:
    hard, soft = [*(headers.get("timelimit") or ()), None, None][:2]
    more = {name: value for name, value in headers.items() if name not in READ}
    found: dict[str, Any] = {
        "queue": queue, "priority": properties.get("priority"), "eta": headers.get("eta"),
        "expires": headers.get("expires"), "time_limit": hard, "soft_time_limit": soft,
        "shadow": headers.get("shadow"), "ignore_result": headers.get("ignore_result"), "headers": more or None,
    }  # fmt: skip
    if not headers.get("eta") and delay_s:
        found["countdown"] = delay_s
    return {name: value for name, value in found.items() if value is not None}


def _text(value: Any, but: str | None = None) -> str | None:
    """A header's id; None for `but`, and for what is none."""
    return value if isinstance(value, str) and value and value != but else None
