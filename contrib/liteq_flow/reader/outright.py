"""Values that a file states outright, without a reference: wrong ones are told before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from liteq.policy.kept import MOST_TAGS
from liteq.utils.durations import to_span_ms
from liteq.utils.names import checked_name, checked_priority
from liteq_flow.jobs.files import check_template
from liteq_flow.jobs.job import QUEUES
from liteq_flow.model import Action, Flow, Foreach, Step
from liteq_flow.reader.parts import Tell, seconds_of
from liteq_flow.reader.yaml_places import Path

__all__ = ["check_outright", "steps_of"]

UNTIL = "is no moment; write it as 2026-12-24T18:00:00+01:00"


def steps_of(flow: Flow) -> Iterator[tuple[Step, Path]]:
    """All steps of a flow with their places: its own, those of a foreach, handlers, and what undoes a step."""
    for index, step in enumerate(flow.steps):
        yield from _inside(step, ("steps", index))
    for name, handler in flow.handlers.items():
        yield from _inside(handler, ("handler_on", name))


def _inside(step: Step, path: Path) -> Iterator[tuple[Step, Path]]:
    yield step, path
    if isinstance(step.do, Foreach):
        for index, one in enumerate(step.do.steps):
            yield from _inside(one, (*path, "foreach", "steps", index))
    if step.compensate is not None:
        yield from _inside(step.compensate, (*path, "compensate"))


def check_outright(flow: Flow, tell: Tell) -> None:
    """Tell of names, spans, addresses and moments that a run would only fail by."""

    def check(path: Path, of: Callable[[Any], object], value: Any, *, plain: bool = False) -> None:
        if value is None or (not plain and isinstance(value, str) and "$" in value):
            return
        try:
            of(value)
        except (TypeError, ValueError, OverflowError) as exc:
            tell(path, str(exc))

    check(("name",), lambda name: checked_name(f"flow:{name}", "a flow's name"), flow.name)
    for label in flow.labels:
        check(("labels",), lambda one: checked_name(one, "a label"), label)
    if len(flow.labels) >= MOST_TAGS:
        tell(("labels",), f"a flow has up to {MOST_TAGS - 1} labels, not {len(flow.labels):,}")
    check(("queue",), _queue, flow.queue, plain=True)
    for step, path in steps_of(flow):
        check((*path, "queue"), _queue, step.queue, plain=True)
        check((*path, "priority"), checked_priority, step.priority)
        if not isinstance(step.memo, bool):
            check((*path, "memo"), lambda memo: to_span_ms(memo, "a memo"), step.memo)
        if step.parallel is not None and step.parallel.items == []:
            tell((*path, "parallel"), "there is no item: the step would fail")
        if isinstance(step.do, Action):
            for word, of in OF_ACTIONS.items():
                check((*path, "with", word), of, step.do.arguments.get(word))
            if step.do.name == "template.render":
                _template(step.do.arguments, (*path, "with", "template"), tell)


def _queue(name: str) -> None:
    if "$" in name:
        raise ValueError(f"a queue's name is written out, so that workers can be given it: no `$`, as in {name!r:.80}")
    checked_name(name + QUEUES, "a queue's name")
    if name.endswith(QUEUES):
        raise ValueError(f"leave {QUEUES!r} out: the jobs of a flow have it added to the name of their queue")


def _span(span: Any) -> None:
    """Refuse a span that is none, or is over at once."""
    if seconds_of(span) <= 0:
        raise ValueError(f"it is longer than 0, not {span!r}")


def _moment(text: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} {UNTIL}") from None


def _address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r:.200} is no address; it begins with http:// or https://, and names a host")


def _template(arguments: Mapping[str, Any], path: Path, tell: Tell) -> None:
    template, data = arguments["template"], arguments.get("data")
    try:
        check_template(template, None if "$" in template else data or {})
    except ValueError as exc:
        tell(path, str(exc))


OF_ACTIONS: Final[dict[str, Callable[[Any], object]]] = {
    "duration": seconds_of,
    "poll_interval": _span,
    "request_timeout": _span,
    "timeout": _span,
    "until": _moment,
    "url": _address,
}
"""The arguments of actions that are looked at, by their names, which mean the same in each action."""
