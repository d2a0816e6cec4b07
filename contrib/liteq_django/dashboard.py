"""The dashboard among a project's URLs: `path("liteq/", include("liteq_django.dashboard"))`.

For the staff, by the permissions of the admin:

| right                        | permission of the app `liteq_django`                                        |
| ---------------------------- | --------------------------------------------------------------------------- |
| view, payloads, export       | view_taskmessage                                                            |
| retry                        | replay_deadletter                                                           |
| cancel                       | revoke_taskmessage                                                          |
| delete                       | drop_deadletter                                                             |
| schedules                    | change_schedule and run_schedule                                            |
| workflows                    | cancel_workflowrun, pause_workflowrun and retry_workflowrun                 |
| approve                      | decide_approval                                                             |
| pause, limits, send, workers | a superuser's                                                               |
"""

from __future__ import annotations

import functools
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import NoReverseMatch, path, re_path, reverse
from django.utils.html import format_html

from liteq.monitor.documents import Ends
from liteq.utils.names import unescaped
from liteq_dashboard import Viewer
from liteq_dashboard.dispatch import FORMS, Asked, Dashboard, has_body, with_body
from liteq_dashboard.hosts import path_below
from liteq_dashboard.http import Response
from liteq_dashboard.routes import Table, routes
from liteq_django.project import default_app, know_tasks

__all__ = ["app_name", "urlpatterns", "viewer_of"]

app_name = "liteq_dashboard"

CODENAMES = {
    "view": ("view_taskmessage",),
    "payloads": ("view_taskmessage",),
    "export": ("view_taskmessage",),
    "retry": ("replay_deadletter",),
    "cancel": ("revoke_taskmessage",),
    "delete": ("drop_deadletter",),
    "schedules": ("change_schedule", "run_schedule"),
    "workflows": ("cancel_workflowrun", "pause_workflowrun", "retry_workflowrun"),
    "approve": ("decide_approval",),
}
SUPERUSERS = ("pause", "limits", "send", "workers")


def viewer_of(user: Any) -> Viewer | None:
    """The viewer that a user of Django's is: without rights where it is no staff, None where nobody is signed in."""
    if not user.is_authenticated:
        return None
    name = user.get_username()
    if not (user.is_active and user.is_staff):
        return Viewer(name, [])
    rights = [
        right
        for right, codenames in CODENAMES.items()
        if all(user.has_perm(f"liteq_django.{codename}") for codename in codenames)
    ]
    return Viewer(name, [*rights, *SUPERUSERS] if user.is_superuser else rights)


@functools.cache
def _dashboard() -> Dashboard:
    know_tasks()
    return Dashboard(default_app(), origins=getattr(settings, "CSRF_TRUSTED_ORIGINS", ()))


def view(request: HttpRequest, line: str, liteq_rest: str | None = None, **_named: Any) -> HttpResponse:
    """The one view behind all lines of the table."""
    asked = _asked(request, line, liteq_rest)
    viewer = viewer_of(request.user)
    answer = _dashboard().respond(asked, viewer)
    if answer.status == 401 and request.method == "GET" and not asked.path.startswith("api/"):
        return redirect_to_login(request.get_full_path(), _login_url())
    if request.method == "POST" and answer.status < 400:
        _log(request, asked, answer)
    return _response(answer)


def _asked(request: HttpRequest, line: str, rest: str | None) -> Asked:
    base, below = path_below(request.path, line, rest)
    meta = request.META
    asked = Asked(
        method=request.method,
        path=below,
        base=base,
        query=meta.get("QUERY_STRING", ""),
        headers={name.lower(): value for name, value in request.headers.items()},
        ends=Ends(request.get_host(), meta.get("REMOTE_ADDR"), meta.get("SERVER_NAME")),
        csrf="" if line.startswith("static/") else _csrf(request),
    )
    if request.method in {"GET", "HEAD"}:
        return asked
    is_there = has_body(asked.headers)
    return with_body(
        asked, lambda: request.body, lambda: dict(request.POST.lists()), is_there=is_there, forms=FORMS
    )  # fmt: skip


def _csrf(request: HttpRequest) -> str:
    """The hidden field of Django's forms; its middleware looks for it before this view is called."""
    return str(format_html('<input type="hidden" name="csrfmiddlewaretoken" value="{}">', get_token(request)))


def _response(answer: Response) -> HttpResponse:
    if isinstance(answer.body, bytes):
        return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
    return StreamingHttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))


def _login_url() -> str | None:
    """The admin's own page to sign in, where the project has it; else that of LOGIN_URL."""
    try:
        return str(reverse("admin:login"))
    except NoReverseMatch:
        return None


def _log(request: HttpRequest, asked: Asked, answer: Response) -> None:
    """Keep the act in the admin's own log too, beside the queue's audit."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.contenttypes.models import ContentType

    from liteq_django.models import TaskMessage

    where = asked.path  # as Django has decoded it
    LogEntry.objects.create(
        user_id=request.user.pk,
        content_type_id=ContentType.objects.get_for_model(TaskMessage, for_concrete_model=False).pk,
        object_id=unescaped(where.split("/")[-2] if where.count("/") else where),
        object_repr=where[:200],
        action_flag=CHANGE,
        change_message=f"dashboard: {where}: {answer.status}",
    )


def _urls() -> list[Any]:
    found = []
    for line in dict.fromkeys(route.path for route in Table(routes()).routes):
        rule = line.replace("{", "<str:").replace("}", ">")
        found.append(path(rule, _view_of(line), name=line or "home"))
    found.append(re_path(r"^(?P<liteq_rest>.*)$", _view_of("")))
    return found


def _view_of(line: str) -> Any:
    # An act has a transaction of its own; a request's would hold the lock that the threads of a bulk act wait for.
    return non_atomic_requests(functools.partial(view, line=line))


urlpatterns = _urls()
