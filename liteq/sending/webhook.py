"""The webhook: the signals of runs as JSON for a URL, the setting `workflow_webhook`, each sent by a task.

A receiver that is slow or away holds up no run: the task waits for it, and tries again.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.json_text import to_json
from liteq.utils.names import WEBHOOK

__all__ = ["add_webhook", "check_webhook", "tell_webhook"]

logger = logging.getLogger("liteq.workflow")

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


def check_webhook(app: App) -> None:
    """Raise ImproperlyConfigured where `workflow_webhook` is no URL of HTTP."""
    if app.conf.workflow_webhook:
        checked(app.conf.workflow_webhook)


def tell_webhook(app: App, document: dict[str, Any], *, queue: str) -> None:
    """Send the task that posts `document`, where there is a URL to post it to.

    `queue`: the run's, as a worker takes from that. Raises nothing: where the task cannot be sent, that is logged.
    """
    url: str | None = app.conf.workflow_webhook
    if not url:
        return
    try:
        plain = {key: _plain(value) for key, value in document.items()}
        app.sender.send_call(app.tasks.get(WEBHOOK), WEBHOOK, (url, plain), {}, None, {"queue": queue})
    except Exception as exc:  # noqa: BLE001 - a router of the user's may raise anything: the worker goes on
        logger.error("the webhook is not told of %s: %r", document, exc)  # noqa: TRY400 - in one line


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
