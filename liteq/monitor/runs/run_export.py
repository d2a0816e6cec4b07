"""Runs as `liteq workflow export` writes them, and as a test's recording has them: without sensitive arguments.

What the workflow calls sensitive is `***` among its arguments, and wherever the run's texts quote it. Short values are
looked for among what is shown of it alone (errors, streams, values), and not in the results of its steps: a replay
needs these, and a number of one digit may be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from liteq.context import App
from liteq.context.display import hides_all, in_front, redacted
from liteq.context.secrets import hider
from liteq.exceptions import BadMessage
from liteq.message import Flag
from liteq.policy.arguments import REDACTED
from liteq.serialization import decode, encode, kind_of

__all__ = ["exported", "line_of", "within"]

LONG = 4  # characters, from which on a value is looked for in results too
Hide = Callable[[str], str] | None


def exported(app: App, run_id: str, *, whole: bool = False) -> dict[str, Any]:
    """The document of a run, for `import`, `replay --from` and tests. `whole`: with what is sensitive.

    All arguments are hidden where `app` does not know the workflow. Raises RunNotFound.
    """
    document = app.storage.runs.export(run_id)
    message = document["message"]
    _complete(app, message)
    payload, name = message["payload"], message["task"]
    if whole or kind_of(payload) is not None or not (hides_all(app, name) or app.tasks.find(name).sensitive):
        return document
    given = decode(payload)
    shown = list(redacted(app, name, *given, in_front=in_front(message["flags"])))
    if shown == given:
        return document
    message["payload"] = encode(shown, what=f"the arguments of {name!r}")
    return _masked(document, hider(given, shown), hider(_long(given), shown))


def _complete(app: App, message: dict[str, Any]) -> None:
    """Put the result that the run was called with, as a link of a chain, in front of its arguments: it stays behind."""
    record = app.storage.reader.find(message["id"])
    if record is None or record.awaits is None or not message["flags"] & Flag.TAKES_INPUT:
        return
    failure = message["flags"] & Flag.ON_FAILURE
    before = encode(record.awaits, what="an id") if failure else app.storage.reader.input_of(record.awaits)
    if kind_of(message["payload"]) is None and kind_of(before) is None:
        args, kwargs = decode(message["payload"])
        message["payload"] = encode([[decode(before), *args], kwargs], what=f"the arguments of {message['task']!r}")
        message["flags"] &= ~Flag.TAKES_INPUT


def line_of(document: Mapping[str, Any]) -> str:
    """A document as its line in an export."""
    return encode(document, what=f"the run {document['message']['id']!r}").decode()


def _masked(document: dict[str, Any], hide: Hide, hide_long: Hide) -> dict[str, Any]:
    message = document["message"]
    message["error"], message["result"] = within(message["error"], hide), within(message["result"], hide_long)
    for step in document["steps"]:
        step["output"] = within(step["output"], hide_long)
        step["error"], step["details"] = within(step["error"], hide), within(step["details"], hide)
    document["state"] = {key: within(value, hide) for key, value in document["state"].items()}
    document["stream"] = [[*row[:-1], within(row[-1], hide)] for row in document["stream"]]
    document["inbox"] = [[row[0], within(row[1], hide_long), *row[2:]] for row in document["inbox"]]
    return document


def _long(value: Any) -> Any:
    """`value` without what is too short to be looked for everywhere."""
    if isinstance(value, dict):
        return {key: _long(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_long(one) for one in value]
    return value if len(str(value)) >= LONG else None


def within(data: bytes | None, hide: Hide) -> bytes | None:
    """JSON with `hide` done to each text in it, and to each number."""
    if data is None or hide is None or kind_of(data) is not None:
        return data
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadMessage("a value of the run is not JSON") from None
    masked = _each(value, hide)
    return data if masked == value else orjson.dumps(masked)


def _each(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {hide(key): _each(one, hide) for key, one in value.items()}
    if isinstance(value, list):
        return [_each(one, hide) for one in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and hide(str(value)) == REDACTED:
        return REDACTED
    return value
