"""OpenTelemetry's spans and metrics of tasks, canvases and workflows.

    from liteq_otel import instrument

    instrument(app)  # in the module that senders and workers import

Needs the extra `otel`, and an SDK of OpenTelemetry that is set up as for any program.
"""

from __future__ import annotations

try:
    import opentelemetry.trace  # noqa: F401 - asked for, to say what is missing
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError(
        "liteq_otel needs opentelemetry-api and opentelemetry-semantic-conventions (the extra `otel`): install them",
        name=exc.name,
    ) from exc

from liteq_otel.setting_up import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]
