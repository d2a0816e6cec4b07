"""A revoke that Celery broadcasts to its workers, as the queue's own verb: a waiting row is cancelled at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = ["revoke"]

CONTROL: Final = ".pidbox"  # the end of the name of an exchange for control


def revoke(file: File, exchange: str, message: Mapping[str, Any]) -> None:
    """Cancel the rows of the ids that `message` revokes, where it is such a command. Those that run hear it themselves.

    So an id stays revoked over restarts: Celery's workers keep theirs in memory.
    """
    body = message.get("body")
    if not exchange.endswith(CONTROL) or not isinstance(body, (str, bytes)) or "revoke" not in _text(body):
        return
    try:
        command = orjson.loads(body)
    except ValueError:
        return
    if isinstance(command, dict) and command.get("method") == "revoke":
        ids = (command.get("arguments") or {}).get("task_id")
        wanted = [ids] if isinstance(ids, str) else list(ids or ())
        if wanted:
            file.storage.cancel(wanted)


def _text(body: str | bytes) -> str:
    return body if isinstance(body, str) else body.decode("utf-8", "replace")
