"""Keys of messages that came without them: of a sender without the code, or of a task that takes another's result.

A worker's parent makes them, when it first meets such a message. It runs no code of the program's: a key that is a
function counts as none, and a value of a class that the program has registered is the data that it is made of.
"""

from __future__ import annotations

import logging
from typing import Any

import orjson

from liteq.context import App
from liteq.message import LATER, Flag, Lease
from liteq.policy import keys
from liteq.sending.keys import keyed_task, keys_again
from liteq.serialization.content import ENVELOPE
from liteq.serialization.tags import untag_plain

__all__ = ["LateKeys"]

logger = logging.getLogger("liteq.worker")

SAID_MOST = 1_000  # reasons that are told: some name a value of the message


class LateKeys:
    """The tasks of which a worker makes keys, and these keys."""

    def __init__(self, app: App) -> None:
        self._app = app
        keyed = ((name, keyed_task(task)) for name, task in app.tasks.items())
        self.tasks = frozenset(name for name, one in keyed if one is not None and one.is_late)
        self._said: set[tuple[str, str]] = set()  # the tasks, and why their keys cannot be made: told once each

    def of(self, lease: Lease) -> str | None:
        """The keys of a message, which has its payload and its input; None where it has none, or none can be made."""
        if lease.payload[:1] == ENVELOPE:
            return None
        try:
            args, kwargs = untag_plain(orjson.loads(lease.payload))
            task = self._app.tasks[lease.task]
            document = orjson.loads(lease.options) if lease.options else {}
            args = [*self._before(task, lease, args, kwargs), *args]
            return keys_again(self._app, task, document, args, kwargs, functions=False)
        except Exception as exc:
            said = (lease.task, str(exc))
            if said not in self._said and len(self._said) < SAID_MOST:
                self._said.add(said)
                text = "%s[%s] is not held by its keys, which cannot be made: %s; of others like it nothing is told"
                logger.warning(text, lease.task, lease.id, exc)
            return None

    @staticmethod
    def _before(task: Any, lease: Lease, args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments that come before its own, as far as they are data."""
        if not lease.flags & Flag.TAKES_INPUT:
            return []
        if lease.flags & Flag.ON_FAILURE:
            return [keys.LATER] * 3 if task.takes_failure(args, kwargs) else [lease.awaits]
        if lease.input is None:
            return []
        sealed = lease.input == LATER or lease.input[:1] == ENVELOPE
        return [keys.LATER if sealed else untag_plain(orjson.loads(lease.input))]
