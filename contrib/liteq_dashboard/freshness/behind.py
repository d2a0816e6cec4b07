"""A replica under the dashboard: how old it is, and a wait until it shows what the viewer has sent elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from liteq.exceptions import LiteqError, NotYetThere
from liteq.result.position import COOKIE, HEADER, carried, exchange
from liteq.utils.text import old
from liteq_dashboard.render import cookies_of
from liteq_dashboard.texts import TEXTS

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["notes_on_age", "wait_for_header"]

WAIT_S = 5.0


def wait_for_header(app: LiteQ, headers: Mapping[str, str]) -> None:
    """Wait for the position in the header of a request, as a program sends it. Raises NotYetThere."""
    with exchange(headers.get(HEADER.lower()), None):
        carried(app, WAIT_S)


def notes_on_age(app: LiteQ, headers: Mapping[str, str]) -> Iterator[str]:
    """Sentences over a page: how old the copy is, and that it is still behind what the browser's cookie has sent."""
    with suppress(LiteqError):  # a page says why the file cannot be read
        try:
            with exchange(None, cookies_of(headers).get(COOKIE)):
                carried(app, WAIT_S)
        except NotYetThere:
            yield str(TEXTS["is_behind"])
        age_s = app.storage.driver.age_s()
        if age_s is not None:
            yield str(TEXTS["is_copy"]).format(old=old(age_s))
