"""The webhook: the signals of runs as JSON for a URL, the setting `workflow_webhook`, each sent by a task.

A worker connects it, so a receiver that is slow or away holds up no run: the task waits for it, and tries again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from liteq import signals
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured, LiteqError
from liteq.utils.json_text import to_json
from liteq.utils.names import WEBHOOK

__all__ = ["add_webhook", "connect", "disconnect"]

logger = logging.getLogger("liteq.workflow")

SIGNALS = (signals.workflow_stuck, signals.workflow_failed, signals.approval_requested)
TIMEOUT_S = 10.0  # of one attempt
RETRIES = 8  # with pauses of 1, 2, 4, ... 128 s
REFUSED = range(400, 500)  # answers that another attempt would get too,
LATER = frozenset({408, 425, 429})  # but for these


def add_webhook(app: App) -> None:
    """Register the task that posts."""

    def webhook(self: Any, url: str, document: dict[str, Any]) -> int:
        """Post `document` to `url` as JSON; the status of the answer. Tried again where it may be better later."""
        from urllib.error import HTTPError

        try:
            return post(url, document, key=str(self.request.id))
        except HTTPError as exc:
            exc.close()
            if exc.code in REFUSED and exc.code not in LATER:
                raise
            raise self.retry(exc=exc, countdown=2**self.request.retries) from None
        except OSError as exc:
            raise self.retry(exc=exc, countdown=2**self.request.retries) from None

    app.task(name=WEBHOOK, bind=True, max_retries=RETRIES, ignore_result=True, sensitive=("url",))(webhook)


def post(url: str, document: dict[str, Any], *, key: str) -> int:
    """Post `document`; the status of the answer. `key` tells a receiver that it got the same one twice.

    Raises OSError (HTTPError for an answer that is no success), ImproperlyConfigured for a URL of another scheme.
    """
    from urllib.request import Request, urlopen

    request = Request(checked(url), to_json(document), {"Content-Type": "application/json", "Idempotency-Key": key})  # noqa: S310 - checked
    with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
        return int(answer.status)


def checked(url: str) -> str:
    """`url`. Raises ImproperlyConfigured for one that is not of HTTP."""
    if not url.startswith(("http://", "https://")):
        raise ImproperlyConfigured(f"workflow_webhook is a URL that begins with http:// or https://, not {url!r}")
    return url


# -- in a worker -----------------------------------------------------------------------------------------------------


def connect(app: App) -> None:
    """Have each signal of a run of `app` sent to the URL of `workflow_webhook`, where there is one.

    Raises ImproperlyConfigured for a URL of another scheme.
    """
    url: str | None = app.conf.workflow_webhook
    if not url:
        return
    checked(url)
    for signal in SIGNALS:
        signal.connect(_receiver(app, url, signal.name), weak=False, dispatch_uid=_uid(app))


def disconnect(app: App) -> None:
    """Undo `connect`."""
    for signal in SIGNALS:
        signal.disconnect(dispatch_uid=_uid(app))


def _uid(app: App) -> str:
    return f"liteq.webhook {id(app)}"


def _receiver(app: App, url: str, name: str) -> Callable[..., None]:
    def tell(sender: Any = None, **facts: Any) -> None:
        if getattr(sender, "app", app) is not app:
            return
        facts.pop("signal", None)
        document = {"signal": name, **{key: _plain(value) for key, value in facts.items()}}
        try:
            record = app.storage.reader.find(str(facts.get("run_id")))
            options = {} if record is None else {"queue": record.queue}  # a worker takes from it, as the run shows
            app.sender.send_call(app.tasks.get(WEBHOOK), WEBHOOK, (url, document), {}, None, options)
        except LiteqError as exc:
            logger.error("the webhook is not told of %s: %s", document, exc)  # noqa: TRY400 - in one line

    return tell


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
