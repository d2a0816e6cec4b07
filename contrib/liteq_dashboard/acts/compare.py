"""A task compared with the last good run of its type: arguments, queue, worker, version. What is masked stays so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from liteq.monitor.tasks.search import quoted
from liteq.monitor.tasks.tasks import task, tasks
from liteq.utils.json_text import to_json
from liteq_dashboard.http import Reader

__all__ = ["compare", "differences"]

PLAIN = ("queue", "priority", "worker", "release", "version")
DEEPEST = 4


def compare(reader: Reader, mine: Mapping[str, Any]) -> dict[str, Any] | None:
    """The differences of `mine`, a task's document, from the newest that succeeded: `id finished rows`; None: none did.

    Looked for in the newest window of what succeeded. `rows`: (what, in this one, in the good one).
    """
    good = _last_good(reader, mine)
    if good is None:
        return None
    return {"id": good["id"], "finished": good.get("finished"), "rows": list(differences(mine, good))}


def _last_good(reader: Reader, mine: Mapping[str, Any]) -> dict[str, Any] | None:
    found = tasks(reader.app, f"state:succeeded task:{quoted(str(mine['task']))}", limit=2, see=reader.sight)
    for one in found["items"]:
        if one["id"] != mine["id"]:
            return task(reader.app, one["id"], see=reader.sight)
    return None


def differences(mine: Mapping[str, Any], good: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The differences of two documents, by name: (name, value of this one, value of the good one). Pure."""
    for name in PLAIN:
        if mine.get(name) != good.get(name):
            yield name, _text(mine.get(name)), _text(good.get(name))
    for name in ("args", "kwargs"):
        yield from _inner("" if name == "kwargs" else "argument ", mine.get(name), good.get(name), 0)


MISSING = object()


def _inner(name: str, mine: Any, good: Any, depth: int) -> Iterator[tuple[str, str, str]]:
    if _same(mine, good):
        return
    if depth < DEEPEST and isinstance(mine, Mapping) and isinstance(good, Mapping):
        for key in dict.fromkeys([*mine, *good]):
            yield from _inner(_joined(name, key), mine.get(key, MISSING), good.get(key, MISSING), depth + 1)
    elif depth < DEEPEST and isinstance(mine, list) and isinstance(good, list) and depth + len(mine) < 100:
        for n in range(max(len(mine), len(good))):
            here, there = (one[n] if n < len(one) else MISSING for one in (mine, good))
            yield from _inner(_joined(name, n), here, there, depth + 1)
    else:
        yield name or "arguments", _text(mine), _text(good)


def _same(mine: Any, good: Any) -> bool:
    """Equal, and of one type: 129.0 is not "129.0", and 1 is not true."""
    return type(mine) is type(good) and mine == good


def _joined(name: str, key: object) -> str:
    return f"{name}{key}" if not name or name.endswith(" ") else f"{name}.{key}"


def _text(value: Any) -> str:
    if value is MISSING:
        return "(not given)"
    return "-" if value is None else to_json(value).decode()
