"""The log for a person who develops: a line a record, its fields behind its text, in colour on a terminal."""

from __future__ import annotations

from typing import Any

from liteq.cli.logs import PlainFormatter, fields_of, message_of
from liteq.clock import from_ms
from liteq.utils.text import printable

__all__ = ["PrettyFormatter"]

WIDTH = 40  # of a text that fields stand behind
DIM, RESET = "\x1b[2m", "\x1b[0m"


class PrettyFormatter(PlainFormatter):
    """`10:31:07.120 [info    ] mail sent   task=shop.mail task_id=... queue=mail attempt=2`. The time is local."""

    def formatMessage(self, record: Any) -> str:  # noqa: N802 - logging's name
        record.message = message_of(record)
        when = from_ms(int(record.created * 1000)).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{name}={_shown(value)}" for name, value in fields_of(record).items())
        if fields and self.use_color:
            fields = f"{RESET}{DIM}{fields}"
        text = f"{record.message:<{WIDTH}} {fields}" if fields else record.message
        return f"{when} [{record.levelname.lower():<8}] {text}"


def _shown(value: object) -> str:
    text = printable(str(value))
    return repr(text) if not text or " " in text or "=" in text else text
