"""The collector: facts of the file, as families, at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from liteq.context import App
from liteq.exceptions import LiteqError
from liteq.metrics.families import VOCABULARIES, liteq
from liteq.metrics.reading import EXACT, read

__all__ = ["FilesCollector", "QueueCollector"]


class QueueCollector(Collector):
    """Reads the file of `app` at each scrape. `names`: vocabularies beside liteq's own.

    `limit`: how many messages the next scrape counts.
    """

    def __init__(self, app: App, names: Sequence[str] = (), *, per_worker: bool = False) -> None:
        self._app = app
        self._names = names
        self._per_worker = per_worker
        self.limit = EXACT

    def describe(self) -> Iterator[Metric]:
        """Nothing: a registry that knows the names beforehand would have to read the file."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        facts = read(self._app, per_worker=self._per_worker, limit=self.limit)
        # Where that was not done in time the next scrape does not try in vain, until there are few again.
        self.limit = facts.counted_to if facts.capped else EXACT
        yield from liteq(facts)
        for name in self._names:
            yield from VOCABULARIES[name](facts)


class FilesCollector(Collector):
    """Reads many files at each scrape: their families, with the file's path as the label `db` of each sample.

    `files`: the paths, and a collector of each. A file that cannot be read has 0 in `liteq_file_readable`; the others
    are told of. `errors`: those of the last scrape, by path.
    """

    def __init__(self, files: Callable[[], Iterable[tuple[str, QueueCollector]]]) -> None:
        self._files = files
        self.errors: dict[str, Exception] = {}

    def describe(self) -> Iterator[Metric]:
        """Nothing, as a `QueueCollector`."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        self.errors = {}
        whole: dict[str, Metric] = {}
        readable = GaugeMetricFamily("liteq_file_readable", "1: the file could be read, 0: it could not", labels=["db"])
        for path, collector in self._files():
            try:
                families = list(collector.collect())
            except (LiteqError, OSError) as exc:
                self.errors[path] = exc
            else:
                for family in families:
                    made = whole.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                    made.samples += [one._replace(labels={**one.labels, "db": path}) for one in family.samples]
            readable.add_metric((path,), float(path not in self.errors))
        yield from whole.values()
        yield readable
