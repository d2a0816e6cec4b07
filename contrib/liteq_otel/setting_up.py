"""`instrument` and `uninstrument`: OpenTelemetry's observer among the integrations of an app."""

from __future__ import annotations

from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from liteq import __version__, signals
from liteq.context import App, Integration, Observer
from liteq.utils.log import add_fields, drop_fields
from liteq_otel.metrics import Meters
from liteq_otel.observer import Tracing

__all__ = ["OpenTelemetry", "instrument", "uninstrument"]

FLUSH_MS = 5_000  # that a process waits at its end for its exporters


class OpenTelemetry(Integration):
    """An instrumented app. Without a provider, those of the program, set then or later, are asked for."""

    def __init__(self, app: App, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        self._providers = (tracer_provider, meter_provider)
        tracer = trace.get_tracer("liteq_otel", __version__, tracer_provider=tracer_provider)
        meter = metrics.get_meter("liteq_otel", __version__, meter_provider=meter_provider)
        self._observer = Tracing(app, tracer, Meters(meter))

    def observer(self) -> Observer:
        return self._observer

    def flush(self, **_: Any) -> None:
        """Export what the processors of this process hold: it ends without Python's own exit."""
        tracers, meters = self._providers
        for provider in (tracers or trace.get_tracer_provider(), meters or metrics.get_meter_provider()):
            flush = getattr(provider, "force_flush", None)  # of an SDK's
            if flush is not None:
                flush(FLUSH_MS)


def instrument(
    app: App, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> None:
    """Make spans and metrics of what `app` sends and executes from now on; once more does nothing.

    In the module that senders and workers import: what it is set up with before a worker forks its processes lives on
    in each of them. Without providers, the program's global ones are used.
    """
    if _of(app) is not None:
        return
    made = OpenTelemetry(app, tracer_provider, meter_provider)
    app.integrations.add(made)
    signals.worker_process_shutdown.connect(made.flush, weak=False)
    signals.worker_shutdown.connect(made.flush, weak=False)
    add_fields(trace_fields)


def uninstrument(app: App) -> None:
    """Undo `instrument`; where `app` is not instrumented, do nothing."""
    made = _of(app)
    if made is None:
        return
    app.integrations.remove(made)
    signals.worker_process_shutdown.disconnect(made.flush)
    signals.worker_shutdown.disconnect(made.flush)
    drop_fields(trace_fields)


def trace_fields() -> dict[str, str]:
    """`trace_id` and `span_id` of the current span, for the lines of a log."""
    current = trace.get_current_span().get_span_context()
    if not current.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(current.trace_id), "span_id": trace.format_span_id(current.span_id)}


def _of(app: App) -> OpenTelemetry | None:
    return next((one for one in app.integrations if isinstance(one, OpenTelemetry)), None)
