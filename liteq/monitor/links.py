"""The addresses under which other tools have a task: its trace, its errors."""

from __future__ import annotations

from urllib.parse import quote

from liteq.context import App
from liteq.context.observing import headers_of, trace_id_of
from liteq.storage.reading.inspect import Record

__all__ = ["links"]


def links(app: App, record: Record) -> dict[str, str]:
    """The addresses of the task of `record`, by tool: "trace" and "sentry", where the settings have a template.

    The settings are `trace_url_template` and `sentry_url_template`. There is none to a trace that nobody has recorded.
    """
    templates = {"trace": app.conf.trace_url_template, "sentry": app.conf.sentry_url_template}
    if not any(templates.values()):
        return {}
    fields = {
        "trace_id": trace_id_of(headers_of(record.options)),
        "task_id": record.id,
        "root_id": record.root_id or record.id,
        "task": record.task,
    }
    quoted = {name: quote(value or "", safe="") for name, value in fields.items()}
    return {
        tool: template.format_map(quoted)
        for tool, template in templates.items()
        if template and not ("{trace_id}" in template and not fields["trace_id"])
    }
