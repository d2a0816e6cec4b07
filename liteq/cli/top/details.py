"""The texts that Enter and `w` open for a row: documents as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from liteq.context import App
from liteq.monitor.runs.workflows import workflow
from liteq.monitor.tasks.failures import cause
from liteq.monitor.tasks.limits import limit
from liteq.monitor.tasks.queues import queue
from liteq.monitor.tasks.tasks import task
from liteq.monitor.tasks.why import explain
from liteq.utils.text import printable

__all__ = ["opened", "why"]

GONE = "it is not there any more"
NOT_YET = "it is being read: open it again in a moment"
READERS = {"task": task, "cause": cause, "queue": queue, "workflow": workflow, "limit": limit}
OF_DOCUMENTS = {"worker": "workers", "schedule": "schedules"}


def opened(app: App, kind: str, key: str, documents: Mapping[str, Any]) -> str:
    """All that is known of a row. Raises StorageError."""
    if kind in READERS:
        found = READERS[kind](app, key)
    elif (document := documents.get(OF_DOCUMENTS[kind])) is None:  # the last reading was for another table
        return NOT_YET
    else:
        name = key.rpartition(" ")[0] if kind == "worker" else key
        found = next((one for one in document["items"] if one["name"] == name), None)
    return GONE if found is None else "\n".join(_lines(found))


def why(app: App, _kind: str, key: str, _documents: Mapping[str, Any]) -> str:
    """Why a task waits, or failed."""
    found = explain(app, key)
    if found is None:
        return GONE
    details = "\n".join(_lines(found.get("details") or {}))
    return f"{printable(str(found['text']))}\n\n{details}".rstrip()


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    """A document as lines `name: value`; times that are there in ISO form too are shown in that form alone."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if f"{name}_iso" in value or one is None or one in ({}, []):
                continue
            shown = str(name).removesuffix("_iso")
            if isinstance(one, Mapping | list | tuple):
                yield f"{indent}{shown}:"
                yield from _lines(one, indent + "  ")
            elif "\n" in str(one):
                yield f"{indent}{shown}:"
                yield from (f"{indent}  {printable(line)}" for line in str(one).splitlines())
            else:
                yield f"{indent}{shown}: {printable(str(one))}"
    elif isinstance(value, list | tuple):
        for one in value[:200]:
            if isinstance(one, Mapping):
                yield f"{indent}- " + ", ".join(
                    f"{name}={printable(str(part))}" for name, part in one.items() if part is not None
                )
            else:
                yield f"{indent}- {printable(str(one))}"
    else:
        yield f"{indent}{printable(str(value))}"
