"""Callbacks on results: `result.then(callback)`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["call_when_done"]

logger = logging.getLogger("liteq.result")


def call_when_done(result: Any, callback: Callable[[Any], object], on_error: Callable[[Any], object] | None) -> Any:
    """Call `callback(result)` when it has succeeded, `on_error(result)` when not; returns `result`.

    A thread waits for it; the program's end does not wait for that thread.
    """

    def wait() -> None:
        try:
            result.get(propagate=False, disable_sync_subtasks=False)
            if not result.ready():
                text = "neither callback of %s is called: nobody hears of its end; send it with ignore_result=False"
                logger.warning(text, result)
                return
            chosen = callback if result.successful() else on_error
            if chosen is not None:
                chosen(result)
        except Exception:
            logger.exception("a callback of %s raised", result)

    threading.Thread(target=wait, name=f"liteq-then-{result.id}", daemon=True).start()
    return result
