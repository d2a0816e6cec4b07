"""The base of the pages: a list with filters, actions and a next page; one thing with its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils import formats, timezone

from liteq.exceptions import LiteqError
from liteq_django.project import default_app, know_tasks
from liteq_django.times import moment

__all__ = ["Action", "Page", "QueueAdmin", "Row", "dashboard_url", "when"]

OVERVIEW = "admin:liteq_django_overview"
REFRESH_S = 5
MANY = "_all"  # the field that says: not the chosen ones, all that match the filter


def when(ms: int | None) -> str:
    """A time of the file as a reader's, in the current time zone."""
    if ms is None:
        return ""
    at = moment(ms)
    return str(formats.date_format(timezone.localtime(at) if timezone.is_aware(at) else at, "SHORT_DATETIME_FORMAT"))


def dashboard_url() -> str:
    """Where the project has the dashboard; "" where it has none among its URLs."""
    try:
        return str(reverse("liteq_dashboard:home"))
    except NoReverseMatch:
        return ""


@dataclass(frozen=True)
class Row:
    """A line of a list: the id of what it is about, and its cells."""

    id: str
    cells: Sequence[Any]
    url: str = ""


@dataclass(frozen=True)
class Page:
    """A page of a list. `next`: the query by which the next one is asked for; "" on the last."""

    rows: Sequence[Row] = ()
    next: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Action:
    """A deed that may be done to the rows of a list.

    `run(storage, ids)` returns the number of things that were changed. `permission` is its codename. `run_all(storage,
    filters)`: the same for all that match; None where it is for chosen ones only.
    """

    name: str
    label: str
    done: str
    permission: str
    run: Callable[[Any, list[str]], int]
    run_all: Callable[[Any, Mapping[str, str]], int] | None = None


class QueueAdmin(admin.ModelAdmin):
    """A ModelAdmin without a table. Nothing that the queue holds is ever taken for HTML."""

    columns: ClassVar[Sequence[str]] = ()
    filters: ClassVar[Sequence[tuple[str, str]]] = ()
    """(parameter, label) of the fields of the form above the list."""
    actions_of: ClassVar[Sequence[Action]] = ()
    per_page = 100

    # -- what a subclass says

    def page(self, request: HttpRequest, storage: Any) -> Page:
        """The lines to show."""
        raise NotImplementedError

    def fields_of(self, storage: Any, object_id: str) -> list[tuple[str, Any]] | None:
        """(label, value) of one thing; None when there is none of this id."""
        raise NotImplementedError

    def choices(self, parameter: str) -> Sequence[str]:  # noqa: ARG002 - for those that have some
        """The values of a filter; () for free text."""
        return ()

    # -- permissions: no table, so no adding, changing and deleting of rows

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return False

    def may(self, request: HttpRequest, codename: str) -> bool:
        """Whether the user has the permission."""
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.{codename}"))

    def allowed(self, request: HttpRequest) -> list[Action]:
        return [action for action in self.actions_of if self.may(request, action.permission)]

    # -- the list

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        know_tasks()
        if request.method == "POST":
            return self._act(request)
        page, error = Page(), ""
        try:
            page = self.page(request, default_app().storage)
        except LiteqError as exc:
            error = str(exc)
        context = {
            **self.admin_site.each_context(request),
            "title": str(self.opts.verbose_name_plural).capitalize(),
            "opts": self.opts,
            "columns": self.columns,
            "rows": page.rows,
            "note": page.note,
            "error": error,
            "next": self._query(request, page.next) if page.next else "",
            "filters": [(name, label, request.GET.get(name, ""), self.choices(name)) for name, label in self.filters],
            "queue_actions": self.allowed(request),
            "any_for_all": any(action.run_all for action in self.allowed(request)),
            "many": MANY,
            "has_add_permission": self.has_add_permission(request),
            "add_url": self._url("add"),
            **self.tools(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "liteq_django/list.html", context)

    def tools(self, request: HttpRequest) -> dict[str, Any]:
        """The line above a page: the way to the overview, and `?refresh=5`, by which a page is read anew each 5 s."""
        said = request.GET.get("refresh", "")
        query = request.GET.copy()
        query.pop("refresh", None)
        without = query.urlencode()
        query["refresh"] = str(REFRESH_S)
        site = self.admin_site.name
        return {
            "overview_url": reverse(OVERVIEW, current_app=site) if self.may(request, "view_taskmessage") else "",
            "dashboard_url": dashboard_url(),
            "refresh_s": max(REFRESH_S, int(said)) if said.isascii() and said.isdigit() and len(said) < 5 else 0,
            "refresh_each_s": REFRESH_S,
            "with_refresh": query.urlencode(),
            "without_refresh": without,
        }

    def _query(self, request: HttpRequest, changes: Mapping[str, Any]) -> str:
        query = request.GET.copy()
        for name, value in changes.items():
            query[name] = str(value)
        return query.urlencode()

    def _act(self, request: HttpRequest, ids: list[str] | None = None) -> HttpResponse:
        chosen = request.POST.getlist("_selected") if ids is None else ids
        action = next((a for a in self.actions_of if a.name == request.POST.get("action")), None)
        if action is None:
            messages.warning(request, "No action was chosen.")
        elif not self.may(request, action.permission):
            raise PermissionDenied
        else:
            self._run(request, action, chosen)
        return HttpResponseRedirect(request.get_full_path() if ids is None else self._url("changelist"))

    def _run(self, request: HttpRequest, action: Action, ids: list[str]) -> None:
        storage = default_app().storage
        try:
            if action.run_all is not None and request.POST.get(MANY):
                given = {name: request.GET.get(name, "") for name, _ in self.filters}
                n, ids = action.run_all(storage, given), ["all that match"]
            elif ids:
                n = action.run(storage, ids)
            else:
                messages.warning(request, "Nothing was selected.")
                return
        except LiteqError as exc:
            messages.error(request, str(exc))
            return
        messages.success(request, f"{n} {action.done}.")
        for id_ in ids:
            self.note(request, id_, f"{action.label}: {n} {action.done}")

    def note(self, request: HttpRequest, id_: str, text: str) -> None:
        """Keep who did what, in the admin's own log."""
        self.log_change(request, self.model(id=id_), text)

    # -- one of them

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002 - Django's signature
        extra_context: Any = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        know_tasks()
        id_ = unquote(object_id)
        if request.method == "POST":
            return self._act(request, [id_])
        try:
            shown = self.fields_of(default_app().storage, id_)
        except LiteqError as exc:
            shown = [("Error", str(exc))]
        if shown is None:
            raise Http404(f"there is no {self.opts.verbose_name} {id_}")
        context = {
            **self.admin_site.each_context(request),
            "title": str(self.opts.verbose_name).capitalize(),
            "subtitle": id_,
            "opts": self.opts,
            "fields": shown,
            "queue_actions": self.allowed(request),
            "list_url": self._url("changelist"),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "liteq_django/detail.html", context)

    # -- the pages of every ModelAdmin that read a table

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002 - Django's signature
        raise Http404("what can be done to it stands on its own page")

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002 - as above
        raise Http404("it has no history here")

    def url_of(self, id_: str) -> str:
        return self._url("change", quote(id_))

    def _url(self, name: str, *args: str) -> str:
        site = self.admin_site.name
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=args, current_app=site)
