"""`liteq relay`: a worker that executes nothing, and sends on what it takes."""

from __future__ import annotations

from typing import Any

from liteq.context import App
from liteq.edge.relaying.client import Client
from liteq.edge.relaying.pool import PostPool
from liteq.worker import Worker
from liteq.worker.pool import Pool

__all__ = ["Relay"]


class Relay(Worker):
    """Carries the messages of `queues` to the gateway of `client`, each once: it knows them by their ids.

    `results`: a message ends here with its result there. `options`: as of `Worker`.
    """

    def __init__(self, app: App, client: Client, *, results: bool = False, **options: Any) -> None:
        self._client = client
        self._results = results
        super().__init__(app, concurrency=1, pool="solo", **options)
        self.pool_kind = "relay"

    def _make_pool(self, *, gathers: bool = True) -> Pool:  # noqa: ARG002 - no task runs here
        return PostPool(self.app, self._client, results=self._results)
