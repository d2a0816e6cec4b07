"""Schedules: the entries of beat, which can be paused and run now; those that were made here can be changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

import orjson
from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.forms.fields import InvalidJSONInput
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from liteq.context.display import shown_schedule
from liteq.exceptions import LiteqError, NotSerializable
from liteq.monitor.workers import living, published
from liteq.operating.resend import restored
from liteq.policy.overlap import Rules
from liteq.schedules import from_document
from liteq.schedules.base import zone_of
from liteq.schedules.text import schedule_from, text_of
from liteq.serialization import decode, encode
from liteq.utils.json_text import from_json, to_json
from liteq_django.admin.base import Action, Page, QueueAdmin, Row, when
from liteq_django.project import default_app, know_tasks

__all__ = ["ScheduleAdmin", "ScheduleForm"]


def _pause(_storage: Any, names: list[str]) -> int:
    return _each(default_app().schedules.pause, names)


def _resume(_storage: Any, names: list[str]) -> int:
    return _each(default_app().schedules.resume, names)


def _run_now(_storage: Any, names: list[str]) -> int:
    return _each(default_app().schedules.run_now, names)


def _remove(_storage: Any, names: list[str]) -> int:
    return sum(default_app().schedules.remove(name) for name in names)


def _each(verb: Any, names: list[str]) -> int:
    """`verb` for each name; one that has gone meanwhile is left out."""
    done = 0
    for name in names:
        try:
            verb(name)
        except KeyError:
            continue
        done += 1
    return done


def _describe(document: bytes) -> str:
    """A schedule as its form takes it, with the time zone of a crontab that is not the project's."""
    found = orjson.loads(document)
    text = text_of(found)
    if text is not None:
        zone = found.get("timezone")
        is_elsewhere = found["kind"] == "crontab" and zone and zone_of(zone) != zone_of(default_app().conf.timezone)
        return f"{text} ({zone})" if is_elsewhere else text
    try:
        return repr(from_document(found))
    except LiteqError:
        return str(found.get("repr", found))


def _known_tasks() -> list[str]:
    """The tasks that this process knows, and those that living workers tell."""
    app = default_app()
    told = (worker.facts.get("tasks") or () for worker in living(app))
    return sorted({*chain.from_iterable(told), *(published(app.tasks) or ())})


def _plain(value: Any) -> Any:
    """Arguments as JSON has them, for a form: what has no form there is text."""
    return from_json(to_json(value))


class DocumentField(forms.JSONField):
    """JSON as a message may hold it. A text that is none is shown again as it was sent."""

    def to_python(self, value: Any) -> Any:
        try:
            found = super().to_python(value)
            encode(found, what="value")
        except NotSerializable as exc:
            raise ValidationError(str(exc)) from None
        except (RecursionError, ValueError):  # nested by the thousand; a number of thousands of digits
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": "it"}) from None
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            self.to_python(data)
        except ValidationError:
            return InvalidJSONInput(data)
        return super().bound_data(data, initial)


class ScheduleForm(forms.Form):
    """An entry of beat."""

    before: Mapping[str, Any] | None = None  # the schedule that it changes, as a document

    name = forms.CharField(max_length=255)
    task = forms.CharField(
        help_text="The task's name, such as shop.tasks.clean_up.",
        widget=forms.TextInput(attrs={"list": "liteq-tasks", "class": "vTextField", "autocomplete": "off"}),
    )
    schedule = forms.CharField(help_text="Seconds, or five fields as in cron: minute hour day month weekday.")
    args = DocumentField(required=False, initial=list, help_text="A JSON array.")
    kwargs = DocumentField(required=False, initial=dict, help_text="A JSON object.")
    queue = forms.CharField(required=False)

    def clean_schedule(self) -> Any:
        """The schedule: a number of seconds, or a crontab."""
        text = self.cleaned_data["schedule"].strip()
        try:
            return schedule_from(text, self.before)
        except ValueError as exc:
            raise ValidationError(str(exc)) from exc

    def clean_args(self) -> Any:
        return self._of(list, "args", [])

    def clean_kwargs(self) -> Any:
        return self._of(dict, "kwargs", {})

    def _of(self, kind: type, name: str, empty: Any) -> Any:
        value = self.cleaned_data[name]
        value = empty if value is None else value
        if not isinstance(value, kind):
            raise ValidationError(f"a JSON {'array' if kind is list else 'object'}, not {value!r}")
        return value


class ScheduleAdmin(QueueAdmin):
    """The entries that beat sends."""

    columns = ("Name", "Task", "Schedule", "From", "Enabled", "Last run", "Next run", "Runs")
    actions_of: ClassVar[Sequence[Action]] = (
        Action("pause", "Pause", "paused", "change_schedule", _pause),
        Action("resume", "Resume", "resumed", "change_schedule", _resume),
        Action("run_now", "Run now", "sent", "run_schedule", _run_now),
        Action("remove", "Delete", "deleted", "delete_schedule", _remove),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "add_schedule")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return self.may(request, "change_schedule")

    def page(self, request: HttpRequest, storage: Any) -> Page:  # noqa: ARG002 - nothing is filtered
        return Page([Row(r.name, self._cells(r), self.url_of(r.name)) for r in storage.schedules.all()])

    @staticmethod
    def _cells(record: Any) -> tuple[Any, ...]:
        return (
            record.name, decode(record.signature).get("task"), _describe(record.schedule),
            f"the configuration of {record.owner}" if record.owner else "added by hand",
            "yes" if record.enabled else "paused", when(record.last_run_ms), when(record.next_due_ms),
            record.total_run_count,
        )  # fmt: skip

    def fields_of(self, storage: Any, object_id: str) -> list[tuple[str, Any]] | None:
        record = storage.schedules.find(object_id)
        if record is None:
            return None
        signature = shown_schedule(default_app(), decode(record.signature))
        return [
            *zip(self.columns, self._cells(record), strict=True),
            ("Arguments", repr((signature.get("args"), signature.get("kwargs")))),
            ("Options", repr(signature.get("options"))),
        ]

    def _beside_form(self, record: Any) -> list[tuple[str, Any]]:
        """The fields that the form does not show."""
        shown = zip(self.columns, self._cells(record), strict=True)
        return [(name, value) for name, value in shown if name not in {"Name", "Task", "Schedule"}]

    # -- the form

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:  # noqa: ARG002 - Django's signature
        if not self.has_add_permission(request):
            raise PermissionDenied
        know_tasks()
        form = ScheduleForm(request.POST or None)
        return self._save(request, form) or self._show(request, form, "Add schedule")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        know_tasks()
        record = default_app().storage.schedules.find(unquote(object_id))
        if record is None:
            raise Http404(f"there is no schedule {unquote(object_id)}")
        before = orjson.loads(record.schedule)
        by_hand = not record.owner and text_of(before) is not None
        if not by_hand or not self.may(request, "change_schedule") or "action" in request.POST:
            # An entry of the configuration would be back when beat starts: it is changed there.
            return super().change_view(request, object_id, form_url, extra_context)
        signature = decode(record.signature)
        shown = shown_schedule(default_app(), signature)
        initial = {
            "name": record.name, "task": signature["task"], "schedule": text_of(before),
            "args": _plain(shown["args"]), "kwargs": _plain(shown["kwargs"]),
            "queue": signature["options"].get("queue", ""),
        }  # fmt: skip
        form = ScheduleForm(request.POST or None, initial=initial)
        form.before = before
        form.fields["name"].disabled = True
        other = {key: value for key, value in signature["options"].items() if key != "queue"}
        return self._save(request, form, other, signature) or self._show(request, form, "Change schedule", record)

    def _save(
        self, request: HttpRequest, form: ScheduleForm, options: Any = None, before: Mapping[str, Any] | None = None
    ) -> HttpResponse | None:
        """The answer to a form that was sent and could be saved, else None. `before`: the signature that it changes."""
        if request.method != "POST" or not form.is_valid():
            return None
        data, options = form.cleaned_data, dict(options or {})
        if data["queue"]:
            options["queue"] = data["queue"]
        schedules = default_app().schedules
        if not form.fields["name"].disabled and default_app().storage.schedules.find(data["name"]) is not None:
            form.add_error("name", "there is a schedule of this name")
            return None
        args, kwargs = data["args"], data["kwargs"]
        if before is not None:
            shown = shown_schedule(default_app(), before)
            args = restored(list(shown["args"]), args, list(before["args"]))
            kwargs = restored(shown["kwargs"], kwargs, before["kwargs"])
        try:
            rules = Rules.of(before or {}, data["name"])._asdict()
            schedules.add(data["name"], data["schedule"], data["task"], args, kwargs, **rules, **options)
        except LiteqError as exc:
            form.add_error(None, str(exc))
            return None
        self.note(request, data["name"], "Saved")
        messages.success(request, f"The schedule {data['name']} was saved.")
        saved = default_app().storage.schedules.find(data["name"])
        if saved is not None and (doubt := schedules.doubt(saved)):
            messages.warning(request, doubt)
        return HttpResponseRedirect(self._url("changelist"))

    def _show(self, request: HttpRequest, form: ScheduleForm, title: str, record: Any = None) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "form": form,
            "fields": [] if record is None else self._beside_form(record),
            "task_names": _known_tasks(),
            "queue_actions": [] if record is None else self.allowed(request),
            "list_url": self._url("changelist"),
        }
        return TemplateResponse(request, "liteq_django/detail.html", context)
