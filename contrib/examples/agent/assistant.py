"""An agent: it asks a model, runs the tools that the model wants, and asks again. Killed anywhere, it goes on there.

The answer of the model is kept in the run's history, and in the memo: it is paid for once.
"""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from liteq import LiteQ
from liteq.workflow import ctx

DATA = Path(os.environ.get("AGENT_DATA", Path(__file__).resolve().parent / "data")).absolute()
DATA.mkdir(parents=True, exist_ok=True)
MODEL = os.environ.get("AGENT_MODEL", "http://127.0.0.1:8090/")

app = LiteQ("assistant", broker=f"sqlite:///{DATA}/agent.db")

Message = dict[str, Any]


class NoAnswer(Exception):
    """Raised when the model still wants tools after the last round."""


@app.step(memo="30d", retries=5, backoff=(0.2, 5.0), retry_on=(OSError,), timeout="1m")
def ask_model(messages: list[Message]) -> Message:
    """One call of the model. It costs money."""
    request = urllib.request.Request(  # noqa: S310 - the address is this machine's
        MODEL, json.dumps(messages).encode(), {"Content-Type": "application/json", "Idempotency-Key": ctx.step_key}
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310 - as above
        answer: Message = json.loads(response.read())
    return answer


@app.step(retries=2)
def use_tool(call: str) -> Message:
    """The words of a tool. In the pool, side by side with the others of its round."""
    return {"role": "tool", "text": f"{call} is fine"}


@app.workflow
def assistant(question: str, rounds: int = 10) -> str:
    """The answer to `question`."""
    messages: list[Message] = [{"role": "user", "text": question}]
    for number in range(rounds):
        ctx.set("round", number + 1)
        answer = ask_model(messages)
        messages.append(answer)
        if not answer["tools"]:
            return str(answer["text"])
        ctx.emit("progress", f"round {number + 1}: {', '.join(answer['tools'])}")
        messages += ctx.gather(ctx.spawn(use_tool, call) for call in answer["tools"])
    raise NoAnswer(question)
