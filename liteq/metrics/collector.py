"""The collector: facts of the file, as families, at each scrape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from liteq.context import App
from liteq.metrics.families import VOCABULARIES, liteq
from liteq.metrics.reading import EXACT, read

__all__ = ["QueueCollector"]


class QueueCollector(Collector):
    """Reads the file of `app` at each scrape. `names`: vocabularies beside liteq's own."""

    def __init__(self, app: App, names: Sequence[str] = (), *, per_worker: bool = False) -> None:
        self._app = app
        self._names = names
        self._per_worker = per_worker
        self._limit = EXACT

    def describe(self) -> Iterator[Metric]:
        """Nothing: a registry that knows the names beforehand would have to read the file."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        facts = read(self._app, per_worker=self._per_worker, limit=self._limit)
        # Where that was not done in time the next scrape does not try in vain, until there are few again.
        self._limit = facts.counted_to if facts.capped else EXACT
        yield from liteq(facts)
        for name in self._names:
            yield from VOCABULARIES[name](facts)
