"""Runs of workflows, and the approvals that wait for a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import orjson
from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from liteq.exceptions import LiteqError, RunNotFound, WorkflowError
from liteq.monitor.access.sight import ALL
from liteq.monitor.graphs.run_timeline import bars
from liteq.monitor.runs import runs as shown
from liteq.monitor.runs.run_export import within
from liteq.storage.runs.records import Approval, RunRecord, RunStep
from liteq.utils.json_text import to_json
from liteq_django.admin.base import Action, Page, QueueAdmin, Row, when
from liteq_django.admin.schedules import DocumentField
from liteq_django.project import default_app

__all__ = ["ApprovalAdmin", "DecisionForm", "RunAdmin"]


def _cancel(storage: Any, ids: list[str]) -> int:
    return len(storage.runs.cancel(ids, reason="cancelled in the admin"))


def _each(method: str) -> Callable[[Any, list[str]], int]:
    """Call a method of each Run; one that is refused is told of by its error, where it is the only one."""

    def act(_storage: Any, ids: list[str]) -> int:
        done = 0
        for id_ in ids:
            try:
                done += getattr(default_app().Run(id_), method)() is not False
            except WorkflowError:
                if len(ids) == 1:
                    raise
        return done

    return act


class RunAdmin(QueueAdmin):
    """Every run, the newest first."""

    columns = ("Id", "Workflow", "Status", "Started", "Finished", "Waits for", "Due", "Error")
    filters = (("id", "Id"), ("name", "Workflow"), ("status", "Status"), ("tag", "Tag"))
    actions_of: ClassVar[Sequence[Action]] = (
        Action("cancel", "Cancel", "cancelled", "cancel_workflowrun", _cancel),
        Action("pause", "Pause", "paused", "pause_workflowrun", _each("pause")),
        Action("resume", "Resume", "resumed", "pause_workflowrun", _each("resume")),
        Action("retry", "Retry", "retried", "retry_workflowrun", _each("retry")),
    )

    def choices(self, parameter: str) -> Sequence[str]:
        return shown.STATUSES if parameter == "status" else ()

    def page(self, request: HttpRequest, storage: Any) -> Page:
        def said(name: str) -> str:
            return str(request.GET.get(name, "")).strip()

        if by_id := said("id"):
            found = storage.runs.find(by_id)
            return Page(note=f"There is no run {by_id}.") if found is None else Page([self._row(found)])
        status = said("status")
        records = storage.runs.list(
            name=said("name") or None,
            status=status if status in shown.STATUSES else None,
            tags=[said("tag")] if said("tag") else (),
            limit=self.per_page,
            after=said("after") or None,
            waits=True,
        )
        rows = [self._row(record) for record in records]
        return Page(rows, {"after": records[-1].id} if len(records) == self.per_page else {})

    def _row(self, run: RunRecord) -> Row:
        run = shown.as_seen(default_app(), run, ALL)
        cells = (
            run.id, run.name, run.status, when(run.started_ms or run.created_ms), when(run.finished_ms),
            ", ".join(run.waiting_for), when(None if run.status in shown.ENDED else run.due_ms),
            shown.error_line(run.error),
        )  # fmt: skip
        return Row(run.id, cells, self.url_of(run.id))

    def fields_of(self, storage: Any, object_id: str) -> list[tuple[str, Any]] | None:
        run = storage.runs.find(object_id)
        if run is None:
            return None
        app = default_app()
        document = shown.run_document(app, run, with_args=True)
        steps, hide = storage.runs.steps(object_id), shown.hide_of(app, run)
        state = {key: shown.value(data) for key, data in storage.runs.state(object_id).items()}
        return [
            *zip(self.columns[1:], self._row(run).cells[1:], strict=True),
            ("Version", run.version), ("Queue", run.queue), ("Tags", ", ".join(run.tags)),
            ("Arguments", _pretty({"args": document["args"], "kwargs": document["kwargs"]})),
            ("Result", "" if run.result is None else _pretty(document["result"])),
            ("State", _pretty(state) if state else ""), ("Parent", run.parent_id or ""),
            ("Forked from", run.forked_from or ""), ("Reason", run.reason),
            ("Timeline", _timeline(run, steps, app.clock.now_ms())),
            ("Steps", "\n".join(_line(_document(step, hide)) for step in steps[-200:])),
        ]  # fmt: skip


def _pretty(value: Any) -> str:
    return to_json(value, indent=True).decode()


def _timeline(run: RunRecord, steps: Sequence[Any], now_ms: int) -> str:
    lines = bars(run, steps, now_ms=now_ms)
    wide = max((len(one.label) for one in lines), default=0)
    return "\n".join(f"{one.n:>4} {one.label:<{wide}} |{one.bar}| {one.took:>10}  {one.status}" for one in lines)


def _document(step: RunStep, hide: Callable[[str], str] | None) -> dict[str, Any]:
    return shown.step_document(step._replace(row=step.row._replace(error=within(step.row.error, hide))))


def _line(step: dict[str, Any]) -> str:
    outcome = step["error"] or ("" if step["output"] is None else to_json(step["output"]).decode()[:500])
    return f"{step['n']:>4} {step['kind']} {step['name']}: {step['status']} {outcome}".rstrip()


# -- approvals -------------------------------------------------------------------------------------------------------


class DecisionForm(forms.Form):
    """A decision's comment, and the data that its form asks for."""

    comment = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    data = DocumentField(required=False, help_text="The data that the approval asks for, as JSON.")


class ApprovalAdmin(QueueAdmin):
    """The approvals that are open, the oldest first. An id is [run, title] as JSON."""

    columns = ("Title", "Run", "Since", "Due", "Details")
    actions_of: ClassVar[Sequence[Action]] = (
        Action("approve", "Approve", "approved", "decide_approval", lambda *_: 0),
        Action("reject", "Reject", "rejected", "decide_approval", lambda *_: 0),
    )

    def page(self, request: HttpRequest, storage: Any) -> Page:  # noqa: ARG002 - nothing is filtered
        return Page([self._row(one) for one in storage.runs.approvals(limit=1_000)])

    def _row(self, one: Approval) -> Row:
        id_ = orjson.dumps([one.run_id, one.title]).decode()
        details = shown.approval_document(one)["details"]
        cells = (
            one.title, one.run_id, when(one.since_ms), when(one.due_ms),
            "" if details is None else to_json(details).decode()[:200],
        )  # fmt: skip
        return Row(id_, cells, self.url_of(id_))

    @staticmethod
    def _open(storage: Any, object_id: str) -> Approval | None:
        run_id, title = _parts(object_id)
        try:
            return next((one for one in storage.runs.approvals(run_id) if one.title == title), None)
        except RunNotFound:
            return None

    def fields_of(self, storage: Any, object_id: str) -> list[tuple[str, Any]] | None:
        one = self._open(storage, object_id)
        if one is None:
            return None
        document = shown.approval_document(one)
        schema = document["schema"]
        return [
            *zip(self.columns[:4], self._row(one).cells[:4], strict=True),
            ("Details", "" if document["details"] is None else _pretty(document["details"])),
            ("Data that it asks for", "" if schema is None else _pretty(schema)),
        ]

    # -- deciding

    def _run(self, request: HttpRequest, action: Action, ids: list[str]) -> None:
        """Decide each of `ids`, without comment and data; those that are refused are told of one by one."""
        if not ids:
            messages.warning(request, "Nothing was selected.")
        for id_ in ids:
            error = self._decide(request, id_, ok=action.name == "approve")
            if error:
                messages.error(request, error)

    def _decide(self, request: HttpRequest, id_: str, *, ok: bool, comment: str = "", data: Any = None) -> str:
        """Decide in the user's name; the reason why not, "" where it was decided."""
        run_id, title = _parts(id_)
        user: Any = request.user
        try:
            new = default_app().Run(run_id).approve(title, ok, by=user.get_username(), comment=comment, data=data)
        except (LiteqError, ValueError) as exc:
            return f"{title}: {exc}"
        word = "approved" if ok else "rejected"
        if new:
            messages.success(request, f"{title} was {word}.")
            self.note(request, id_, f"{word}: {title} of {run_id}" + (f" ({comment})" if comment else ""))
        else:
            messages.info(request, f"{title} was {word} before.")
        return ""

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if not self.may(request, "decide_approval"):
            return super().change_view(request, object_id, form_url, extra_context)
        id_ = unquote(object_id)
        form = DecisionForm(request.POST or None)
        decision = request.POST.get("action")
        if decision in {"approve", "reject"} and form.is_valid():
            said = form.cleaned_data
            error = self._decide(request, id_, ok=decision == "approve", comment=said["comment"], data=said["data"])
            if not error:
                return HttpResponseRedirect(self._url("changelist"))
            form.add_error(None, error)
        fields = self.fields_of(default_app().storage, id_)
        if fields is None:
            raise Http404("this approval is not open: it was decided, or its time is over")
        context = {
            **self.admin_site.each_context(request),
            "title": "Approval",
            "subtitle": _parts(id_)[1],
            "opts": self.opts,
            "form": form,
            "form_actions": self.actions_of,
            "fields": fields,
            "list_url": self._url("changelist"),
        }
        return TemplateResponse(request, "liteq_django/detail.html", context)


def _parts(id_: str) -> tuple[str, str]:
    """The run and the title of an approval's id. Raises Http404 for a text that is none."""
    try:
        run_id, title = orjson.loads(id_)
    except (ValueError, TypeError):
        raise Http404("there is no such approval") from None
    return str(run_id), str(title)
