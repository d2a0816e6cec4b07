"""An agent of pydantic-ai that looks up, asks a person, refunds, and says so. Killed anywhere, it goes on there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic_ai import Agent, RunContext
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from liteq import LiteQ
from liteq.workflow import Budget, StepOptions, ctx
from liteq_pydantic_ai import Approvals, LiteQDurability

DATA = Path(os.environ.get("SUPPORT_DATA", Path(__file__).resolve().parent / "data")).absolute()
DATA.mkdir(parents=True, exist_ok=True)
MODEL = os.environ.get("SUPPORT_MODEL", "http://127.0.0.1:8091/")

app = LiteQ("support", broker=f"sqlite:///{DATA}/support.db")
agent = Agent(
    OpenAIChatModel("fake-1", provider=OpenAIProvider(base_url=MODEL, api_key="none")),
    name="support",
    deps_type="Shop",
    capabilities=[
        LiteQDurability(retries=3, emit="tokens", model=StepOptions(timeout="1m", backoff=(0.2, 5.0))),
        Approvals(timeout="2d"),
    ],
)


@dataclass
class Shop:
    """The place where a customer buys. It is made anew from the run's arguments, and never stored."""

    customer: int


@agent.tool
def look_up(run: RunContext[Shop], order: int) -> str:
    """Look an order up."""
    note("look_up", order)
    return f"order {order} of customer {run.deps.customer} has arrived"


@agent.tool(requires_approval=True, metadata={"liteq": {"retries": 0, "doubt": "ask"}})
def refund(run: RunContext[Shop], order: int, amount: int) -> str:
    """Pay money back. It is not repeated where nobody knows whether it was done."""
    note("refund", order)
    return f"{amount} of order {order} are on their way to customer {run.deps.customer}"


@app.workflow(budget=Budget(requests=20))
async def support(question: str, customer: int) -> str:
    """The answer to `question`."""
    return (await agent.run(question, deps=Shop(customer))).output


def note(what: str, order: int) -> None:
    """Write down that a tool runs, with the key that a payment service would be given."""
    with (DATA / "done").open("a") as file:
        file.write(f"{what} {order} {ctx.step_key}\n")
