"""Traces in memory, of workers in a thread of the test; and in a file, of workers with processes of their own.

Those of spans and of Sentry need OpenTelemetry's SDK and Sentry's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ

from ..programs import NOTE, noted_in, run_programs

HAS_OTEL = bool(find_spec("opentelemetry") and find_spec("opentelemetry.sdk") and find_spec("opentelemetry.semconv"))
collect_ignore_glob = [
    *([] if HAS_OTEL else ["test_spans*.py"]),
    *([] if HAS_OTEL and find_spec("sentry_sdk") else ["test_sentry.py"]),
]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    """An app that the test instruments as it likes."""
    with LiteQ("shop", broker=f"sqlite:///{tmp_path}/queue.db") as made:

        @made.task(name="add")
        def add(*numbers: Any) -> int:
            return sum(sum(one) if isinstance(one, list) else one for one in numbers)

        yield made


@dataclass
class Traced:
    """The spans and metrics that the exporters of one test have got."""

    tracers: Any
    exporter: Any
    reader: Any

    def spans(self, name: str = "") -> list[Any]:
        """The spans that have ended, whose names begin with `name`, by start."""
        found = [one for one in self.exporter.get_finished_spans() if one.name.startswith(name)]
        return sorted(found, key=lambda one: one.start_time)

    def span(self, name: str, **attributes: Any) -> Any:
        """The one span with this name and these attributes; `__` stands for a dot."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        (found,) = [one for one in self.spans(name) if wanted.items() <= dict(one.attributes).items()]
        return found

    def points(self, metric: str) -> list[Any]:
        """The data points of a metric."""
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for one in scope.metrics
            if one.name == metric
            for point in one.data.data_points
        ]


@pytest.fixture
def traced(app: LiteQ) -> Iterator[Traced]:
    """`app`, instrumented, with exporters in memory."""
    if not HAS_OTEL:
        pytest.skip("needs opentelemetry-sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from liteq_otel import instrument, uninstrument

    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    instrument(app, tracers, meters)
    yield Traced(tracers, exporter, reader)
    uninstrument(app)
    tracers.shutdown()
    meters.shutdown()


# -- workers with processes of their own -------------------------------------------------------------------------------

SHOP = """
import json, os
from liteq import LiteQ, chain, chord
app = LiteQ("shop", broker="sqlite:///queue.db")
"""


@pytest.fixture
def noted(tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The notes of the programs, of one kind, in order."""
    return partial(noted_in, tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Write the module `shop`, run code that sends, and a worker until nothing is unfinished; its log."""
    return lambda shop, sends, *options: run_programs(tmp_path, SHOP + NOTE + shop, sends, options=options)
