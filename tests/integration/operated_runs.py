"""Workflows that a worker runs while they are operated from outside; what their receivers are told is in the ledger."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from liteq import LiteQ, signals
from liteq.workflow import ctx

app = LiteQ("operated", broker=os.environ["WORKER_TEST_BROKER"])
LEDGER = Path(os.environ["WORKER_TEST_LEDGER"])


def note(**facts: Any) -> None:
    with LEDGER.open("a") as ledger:
        ledger.write(json.dumps(facts, default=str) + "\n")


@signals.workflow_failed.connect
@signals.workflow_stuck.connect
@signals.approval_requested.connect
def told(sender, signal, run_id, name, **facts):
    note(signal=signal.name, run_id=run_id, name=name, **facts)


@app.step
def kills() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.step
def long_one() -> None:
    note(began=os.getpid())
    time.sleep(60)


@app.step
def quick(n: int) -> int:
    return n


@app.workflow
def dies() -> None:
    kills()


@app.workflow
def fails() -> None:
    quick(1)
    raise ValueError("out of stock")


@app.workflow
def takes_long() -> None:
    long_one()


@app.workflow
def asks() -> str:
    decision = ctx.approval("Go?", details={"total": 3}, remind="500ms")
    return f"{decision.by}: {decision.comment}"


@app.workflow
def deployed() -> int:
    """Asks for another step than its history holds where the environment says so: other code of the same program."""
    first = quick(int(os.environ.get("OTHER_CODE", "1")))
    return first + ctx.wait_event("go", type=int)
