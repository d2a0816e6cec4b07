"""Tasks and dead letters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path

from liteq.monitor.access.failing import Failed, masked_text
from liteq.monitor.messages import HIDDEN, error_line, failure, result, shown
from liteq.monitor.tasks.matching import find, find_all
from liteq.monitor.tasks.search import BadSearch, Search, Texts
from liteq.states import FINISHED, State
from liteq.storage.reading.browse import Line
from liteq.storage.reading.inspect import Record
from liteq.utils.json_text import to_json
from liteq_django.admin.base import Action, Page, QueueAdmin, Row, when
from liteq_django.admin.overview import overview_of
from liteq_django.project import default_app

__all__ = ["DeadLetterAdmin", "TaskAdmin"]

CHUNK = 500  # ids of one transaction: a worker gets its turn in between
LINE = 200  # characters of an error in a list
STATES = tuple(state.value for state in State)


def _revoke(storage: Any, ids: list[str]) -> int:
    """Revoke; how many of them had not ended: the list shows those that have, too."""
    found = storage.reader.find_many(ids).values()
    default_app().control.revoke(ids)
    return sum(record.state not in FINISHED for record in found)


def _replay(storage: Any, ids: list[str]) -> int:
    return len(storage.dead.requeue(ids))


def _drop(storage: Any, ids: list[str]) -> int:
    return int(storage.dead.drop(ids))


def _said_id(filters: Mapping[str, str]) -> str:
    """The id that is asked for, which leaves the other filters out; "" for none."""
    return filters.get("id", "").strip()


def _search(state: State | None, filters: Mapping[str, str]) -> Search:
    """The search behind the form above a list."""
    queue, task = filters.get("queue", "").strip(), filters.get("task", "").strip()
    return Search(
        text="-",
        states=() if state is None else (state,),
        queue=Texts(frozenset({queue}), ()) if queue else None,
        task=Texts(frozenset(), (re.compile(f".*{re.escape(task)}.*", re.DOTALL),)) if task else None,
    )


def _matching(filters: Mapping[str, str]) -> list[str]:
    """The ids of all dead letters that the list shows, its later pages too: of an id, that one alone."""
    if by_id := _said_id(filters):
        record = default_app().storage.reader.find(by_id)
        return [by_id] if record is not None and record.state is State.DEAD else []
    return [line.id for line in find_all(default_app(), _search(State.DEAD, filters), page=CHUNK)]


def _replay_all(storage: Any, filters: Mapping[str, str]) -> int:
    ids = _matching(filters)
    return sum(_replay(storage, ids[n : n + CHUNK]) for n in range(0, len(ids), CHUNK))


def _drop_all(storage: Any, filters: Mapping[str, str]) -> int:
    ids = _matching(filters)
    return sum(_drop(storage, ids[n : n + CHUNK]) for n in range(0, len(ids), CHUNK))


class MessageAdmin(QueueAdmin):
    """A list of messages."""

    def line(self, line: Line) -> Sequence[Any]:
        """The cells of a line."""
        raise NotImplementedError

    def state(self, request: HttpRequest) -> State | None:
        """The state that is shown."""
        raise NotImplementedError

    def page(self, request: HttpRequest, storage: Any) -> Page:
        if by_id := _said_id(request.GET):
            return self._one(request, storage, by_id)
        search = _search(self.state(request), request.GET)
        try:
            found = find(default_app(), search, after=request.GET.get("after"), limit=self.per_page)
        except BadSearch as exc:
            raise BadRequest(str(exc)) from None
        rows = [Row(line.id, self.line(line), self.url_of(line.id)) for line in found.lines]
        note = f"The {found.searched:,} newest were searched; the next page goes on from there." if found.cut else ""
        return Page(rows, {"after": found.next} if found.next else {}, note)

    def _one(self, request: HttpRequest, storage: Any, id_: str) -> Page:
        record = storage.reader.find(id_)
        if record is None or self.state(request) not in {None, record.state}:
            return Page(note=f"There is no {self.opts.verbose_name} {id_}.")
        line = Line(
            0, record.id, record.task, record.queue, record.priority, record.state, record.created_ms, record.due_ms,
            record.started_ms, record.finished_ms, record.retries, record.crashes, record.root_id, record.parent_id,
            None, record.error, record.worker,
        )  # fmt: skip
        return Page([Row(line.id, self.line(line), self.url_of(line.id))])

    def fields_of(self, storage: Any, object_id: str) -> list[tuple[str, Any]] | None:
        record = storage.reader.find(object_id)
        if record is None:
            return None
        error = failure(record)
        return [
            ("Task", record.task), ("Queue", record.queue), ("State", record.state.value),
            ("Priority", record.priority), ("Arguments", _arguments(record)), ("Enqueued", when(record.created_ms)),
            ("Due", when(record.due_ms)), ("Finished", when(record.finished_ms)), ("Retries", record.retries),
            ("Crashes", record.crashes), ("Worker", record.worker or ""), ("Result", _result(record)),
            ("Error", _error(record)),
            ("Traceback", "" if error is None else masked_text(default_app(), record, error.traceback, record)),
            ("Workflow", record.root_id or ""), ("Awaits", record.awaits or ""), ("Group", record.group_id or ""),
        ]  # fmt: skip


def _arguments(record: Record) -> str:
    call = shown(default_app(), record)
    text = _pretty({"args": call.args, "kwargs": call.kwargs})
    return f"{text}\n({HIDDEN.format(task=record.task)})" if call.hidden else text


def _error(failed: Failed) -> str:
    """The error in a line, with what its task hides masked: before it is cut, as a part of a value is not found."""
    line = masked_text(default_app(), failed, error_line(failed.error, 10_000))
    return line if len(line) <= LINE else f"{line[: LINE - 1].rstrip()}…"


def _result(record: Record) -> str:
    return "" if record.result is None else _pretty(result(record))


def _pretty(value: Any) -> str:
    return to_json(value, indent=True).decode()


class TaskAdmin(MessageAdmin):
    """Every message."""

    columns = ("Id", "Task", "Queue", "State", "Enqueued", "Finished", "Retries", "Worker", "Error")
    filters = (("id", "Id"), ("task", "Task (a part of its name)"), ("queue", "Queue"), ("state", "State"))
    actions_of: ClassVar[Sequence[Action]] = (
        Action("revoke", "Revoke", "revoked", "revoke_taskmessage", _revoke),
    )  # fmt: skip

    def get_urls(self) -> list[Any]:
        overview = path("overview/", self.admin_site.admin_view(self.overview_view), name="liteq_django_overview")
        return [overview, *super().get_urls()]

    def overview_view(self, request: HttpRequest) -> HttpResponse:
        """The page that tells how the queue does, of which the others are parts."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Overview",
            "opts": self.opts,
            "is_overview": True,
            **self.tools(request),
            **overview_of(),
        }
        return TemplateResponse(request, "liteq_django/overview.html", context)

    def choices(self, parameter: str) -> Sequence[str]:
        return STATES if parameter == "state" else ()

    def state(self, request: HttpRequest) -> State | None:
        said = request.GET.get("state", "")
        return State(said) if said in STATES else None

    def line(self, line: Line) -> Sequence[Any]:
        return (
            line.id, line.task, line.queue, line.state, when(line.created_ms),
            when(line.finished_ms if State(line.state) in FINISHED else None), line.retries, line.worker or "",
            _error(line),
        )  # fmt: skip


class DeadLetterAdmin(MessageAdmin):
    """The messages that failed for good."""

    columns = ("Id", "Task", "Queue", "Died", "Retries", "Crashes", "Error")
    filters = (("id", "Id"), ("task", "Task (a part of its name)"), ("queue", "Queue"))
    actions_of: ClassVar[Sequence[Action]] = (
        Action("replay", "Replay", "put back into their queues", "replay_deadletter", _replay, _replay_all),
        Action("drop", "Drop", "deleted for good", "drop_deadletter", _drop, _drop_all),
    )

    def state(self, request: HttpRequest) -> State | None:  # noqa: ARG002 - the same for all
        return State.DEAD

    def line(self, line: Line) -> Sequence[Any]:
        return (
            line.id, line.task, line.queue, when(line.finished_ms), line.retries, line.crashes, _error(line)
        )  # fmt: skip

    def fields_of(self, storage: Any, object_id: str) -> list[tuple[str, Any]] | None:
        record = storage.reader.find(object_id)
        return super().fields_of(storage, object_id) if record is not None and record.state is State.DEAD else None
