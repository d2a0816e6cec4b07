"""An app whose values are sealed, for real workers: each of its tasks leaves the secret word where values are kept.

`WORKER_TEST_BROKER` is its queue, `PAYLOAD_KEYS_FILE` its file of keys.
"""

from __future__ import annotations

import os
from typing import Any

from hurry import hurry

from liteq import LiteQ, chain, chord
from liteq.utils.log import get_task_logger
from liteq.workflow import ctx

logger = get_task_logger(__name__)
hurry()
app = LiteQ("sealed_tasks", broker=os.environ["WORKER_TEST_BROKER"], payload_codec="liteq_crypt:Codec")


@app.task
def echo(word: str) -> str:
    return word


@app.task
def refuse(word: str) -> None:
    raise ValueError(f"{word} is refused")


@app.task(bind=True, max_retries=1)
def again(self: Any, word: str) -> str:
    if self.request.retries:
        return word
    raise self.retry(exc=ValueError(word), countdown=0)


@app.task(bind=True)
def tells(self: Any, word: str) -> str:
    self.progress(1, 2, word)
    self.emit("words", word)
    self.update_state(state="TELLING", meta={"word": word})
    return word


@app.task(bind=True, log_keep="1h")
def goes_on(self: Any, word: str) -> None:
    logger.info("at %s", word)
    self.save_cursor(word)
    raise ValueError(word)


@app.task
def joined(words: list[str]) -> str:
    return " ".join(words)


@app.task
def sends(word: str) -> str:
    chain(echo.s(word), echo.s()).delay()
    return str(chord([echo.s(word), echo.s(word)], joined.s()).delay().id)


@app.step(memo=True)
def kept(word: str) -> str:
    ctx.emit("words", word)
    return word


@app.workflow
def run(word: str) -> str:
    ctx.set("word", kept(word))
    event = ctx.wait_event("go")
    decided = ctx.approval("Go on?", details={"word": word})
    return f"{event} {decided.data}"


@app.workflow
def fails(word: str) -> None:
    kept(word + "!")
    raise ValueError(word)
