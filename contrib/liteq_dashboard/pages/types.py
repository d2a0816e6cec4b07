"""A task by its name: how its runs ended and how long they took, its limits, and a form that sends one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import orjson

from liteq import LiteQ
from liteq.exceptions import LiteqError
from liteq.monitor.schedules import queue_of_call
from liteq.monitor.tasks.search import quoted
from liteq.monitor.tasks.tasks import tasks
from liteq.monitor.tasks.types import task_type as document_of
from liteq.utils.json_text import from_json
from liteq_dashboard.acts.asking import carry_out
from liteq_dashboard.drawn.charts import RANGES, charts_of, range_of
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.links import link
from liteq_dashboard.looks import span_in_words
from liteq_dashboard.render import html, problem
from liteq_dashboard.texts import TEXTS

__all__ = ["ROUTES"]

METRICS = ("done_s", "failed_s", "wait_p95_s", "run_p95_s")
SHOWN = 20
ARGUMENT = "arg."
LONGEST = 64 * 1024  # characters of a value of the form
VARIABLE = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def type_(request: Request, reader: Reader) -> Response:
    """One task by its name; 404 for one that nobody knows or sees."""
    found = document_of(reader.app, request.path_args["name"], reader.sight)
    if found is None:
        return _none(request)
    part, range_ = request.get("part") or None, range_of(request.get("range"))
    newest = tasks(reader.app, f"task:{quoted(found['name'])}", None, SHOWN, reader.sight)
    return html(
        request, "type.html", part=part, it=found, tasks=newest, ranges=tuple(RANGES), range=range_,
        charts=() if part else charts_of(request, reader, METRICS, range_, task=found["name"]),
        numbers=_numbers(found), causes=found["causes"], facts=_facts(found), parameters=_parameters(reader.app, found),
        rate=found["limits"].get("global_rate_limit", ""),
    )  # fmt: skip


def _numbers(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The entries of the strip: label, text, tone."""
    times = [
        (str(TEXTS[f"{kind}_{name}_s"]), "-" if value is None else span_in_words(value), "")
        for kind in ("run", "wait")
        for name, value in found[kind].items()
    ]
    share = found["failed_share"]
    failed = ("-", "") if share is None else (f"{100 * share:.1f} %", "bad" if share >= 0.01 else "")
    ran = sum(n for outcome, n in found["day"].items() if outcome != "sent")
    return [(str(TEXTS["runs_day"]), f"{ran:,}", ""), (str(TEXTS["failed_day"]), *failed), *times]


def _facts(found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    total = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(found["total"].items()))
    senders = ", ".join(f"{name} ({n})" for name, n in found["senders"].items())
    limits = [(name.replace("_", " "), value) for name, value in found["limits"].items()]
    facts = [(TEXTS["in_all"], total), (TEXTS["queues"], ", ".join(found["queues"])), (TEXTS["sent_by"], senders)]
    return [(str(name), value) for name, value in [*facts, *limits] if value not in {"", None}]


def _parameters(app: LiteQ, found: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """The parameters of the task: name, default as JSON, whether it is needed; [] where they cannot be told."""
    known = app.tasks.find(found["name"])
    try:
        given = inspect.signature(known.run).parameters.values() if known is not None else ()
    except (TypeError, ValueError):
        return []
    if any(one.kind in VARIABLE for one in given):
        return []
    return [(one.name, _default(one.default), one.default is one.empty) for one in given]


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return ""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return ""


# -- acts --------------------------------------------------------------------------------------------------------------


def limit(request: Request, reader: Reader) -> Response:
    """Let all workers together start so many; no text: any number."""
    name, rate = request.path_args["name"], request.posted("rate").strip()
    if document_of(reader.app, name, reader.sight) is None:
        return _none(request)
    if reader.sight.queues is not None:
        return problem(403, "a rate limit holds in every queue: only a viewer of all queues may change it")
    said = f"All workers together start {rate} of {name}." if rate else f"{name} has no rate limit."
    return carry_out(
        request, reader, lambda: reader.app.control.global_rate_limit(name, rate or 0),
        action=f"rate limit {rate or 'none'}", target=name, back=link(request.base, "types", name), said=said,
    )  # fmt: skip


def send(request: Request, reader: Reader) -> Response:
    """Send one, with the arguments of the form."""
    name = request.path_args["name"]
    if document_of(reader.app, name, reader.sight) is None:
        return _none(request)
    try:
        args, kwargs = _arguments(request)
    except ValueError as exc:
        return problem(409, str(exc))
    queue = queue_of_call(reader.app, name, args=args, kwargs=kwargs)
    if not reader.sight.sees(queue):
        return problem(403, f"it would go to a queue that you do not see: {name}")
    return carry_out(
        request, reader, lambda: _send(reader.app, name, args, kwargs), action="send", target=name, queue=queue,
        back=link(request.base, "types", name), said=f"{name} was sent.",
    )  # fmt: skip


def _send(app: LiteQ, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    known = app.tasks.find(name)
    try:
        if known is None:
            app.send_task(name, args, kwargs)
        else:
            known.apply_async(args, kwargs)
    except LiteqError as exc:
        raise ValueError(str(exc)) from exc


def _arguments(request: Request) -> tuple[list[Any], dict[str, Any]]:
    named = {
        field.removeprefix(ARGUMENT): _value(values[-1])
        for field, values in request.form.items()
        if field.startswith(ARGUMENT) and values and values[-1] != ""
    }
    args, kwargs = (_value(request.posted(field, empty)) for field, empty in (("args", "[]"), ("kwargs", "{}")))
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ValueError("write the arguments as a JSON list, and the named ones as a JSON object")
    return args, {**kwargs, **named}


def _value(text: str) -> Any:
    """A value of the form: JSON; what is none is taken as text."""
    if len(text) > LONGEST:
        raise ValueError(f"a value may have {LONGEST:,} characters")
    try:
        return from_json(text.encode("utf-8", "replace"))
    except ValueError:
        return text


def _none(request: Request) -> Response:
    return problem(
        404, f"there is no task {request.path_args['name']!r:.100}: no message of it was seen, no code has it"
    )


ROUTES = (
    Route("GET", "types/{name}", "view", type_),
    Route("POST", "types/{name}/rate-limit", "limits", limit),
    Route("POST", "types/{name}/send", "send", send),
)
