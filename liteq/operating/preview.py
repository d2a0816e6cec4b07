"""The look at a bulk action before it is started: how many, which of them not and why, what follows, a few of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from liteq.context import App
from liteq.monitor.access.sight import ALL, Sight
from liteq.operating.acts import check_action, checked
from liteq.operating.choosing import Choice, check, page_of
from liteq.operating.commands import operation_command
from liteq.utils.records import NamedTuple

__all__ = ["MOST", "Preview", "preview"]

MOST = 10_000  # messages that are counted
PATIENCE_S = 1.0
PAGE = 500
SAMPLE = 5
FOLLOWING = 1_000  # messages behind them that are counted
ROOTS = 500  # ... of so many


class Preview(NamedTuple):
    """The messages that a bulk action would find. `exact`: whether all were counted; `follows_exact`: all behind them.

    `ineligible`: how many by the reason why not. `sample`: [{id, task, queue, state}]. `command`: the same in a shell.
    `digest` is another one where other messages were found.
    """

    found: int
    exact: bool
    ineligible: dict[str, int]
    follows: int
    follows_exact: bool
    sample: list[dict[str, Any]]
    command: str
    digest: str

    @property
    def eligible(self) -> int:
        """How many of those that were counted it would change."""
        return self.found - sum(self.ineligible.values())

    @property
    def document(self) -> dict[str, Any]:
        """As JSON for the API and the page."""
        return {
            "found": {"n": self.found, "exact": self.exact},
            "eligible": {"n": self.eligible, "exact": self.exact},
            "ineligible": self.ineligible,
            "follows": {"n": self.follows, "exact": self.follows_exact},
            "sample": self.sample,
            "command": self.command,
        }


def preview(
    app: App, action: str, q: str = "", *, see: Sight = ALL, ids: Sequence[str] = (), rate: str = "", reason: str = "",
    **arguments: Any,
) -> Preview:  # fmt: skip
    """Look at what `action` would be done to: the messages of the search `q`, or those of `ids`. Reads only.

    Arguments as in `act`. Raises ValueError for a search, an action or an argument that is wrong.
    """
    check_action(action, arguments, many=True)
    taken = checked(action, arguments)
    choice = Choice(action, q, tuple(dict.fromkeys(ids)), see, app.clock.now_ms(), taken)
    check(app, choice)
    until = app.clock.monotonic() + PATIENCE_S
    found, roots, reasons, sample = 0, list[str](), Counter[str](), list[dict[str, Any]]()
    after: str | None = None
    digest = hashlib.blake2b(digest_size=12)
    while True:
        page = page_of(app, choice, after=after, limit=min(PAGE, MOST - found))
        looked = app.storage.operations.look(action, [id_ for _, id_ in page.found], queues=see.queues)
        found += len(looked)
        digest.update("".join(f"{target.id} {why}\n" for target, why in looked).encode())
        reasons.update(why for _, why in looked if why)
        fitting = [target for target, why in looked if not why]
        roots += [target.id for target in fitting[: ROOTS - len(roots)]]
        sample += [
            {"id": one.id, "task": one.task, "queue": one.queue, "state": one.state}
            for one in fitting[: SAMPLE - len(sample)]
        ]
        after = page.after
        if after is None or found >= MOST or app.clock.monotonic() > until:
            break
    follows = app.storage.operations.behind(roots, limit=FOLLOWING)
    whole = after is None and follows < FOLLOWING and found - reasons.total() <= len(roots)
    command = operation_command(action, q, taken, rate, reason)
    return Preview(found, after is None, dict(reasons), follows, whole, sample, command, digest.hexdigest())
