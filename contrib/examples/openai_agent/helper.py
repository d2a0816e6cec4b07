"""A helper of a shop, by the OpenAI Agents SDK: it looks an order up, and pays back what a person has agreed to.

Its answers and its tools are kept in the run's history: killed anywhere, it goes on there. While it waits for a person
it holds no worker. `python run.py` brings a fake model; with OPENAI_API_KEY and without OPENAI_BASE_URL it is the real
one.
"""

from __future__ import annotations

import os
from pathlib import Path

from agents import Agent, function_tool

from liteq import LiteQ
from liteq.workflow import StepOptions
from liteq_openai_agents import LiteQSession, run

DATA = Path(os.environ.get("HELPER_DATA", Path(__file__).resolve().parent / "data")).absolute()
DATA.mkdir(parents=True, exist_ok=True)

app = LiteQ("helper", broker=f"sqlite:///{DATA}/helper.db")


@function_tool
def look_up(order: str) -> dict[str, object]:
    """The price of an order, and whether it has arrived."""
    return {"order": order, "price": 30, "arrived": False}


@function_tool(needs_approval=True)
def pay_back(order: str, amount: int) -> str:
    """Pay the customer back."""
    with (DATA / "payments").open("a") as payments:
        payments.write(f"{order} {amount}\n")
    return f"{amount} paid back"


agent = Agent(
    name="helper",
    model=os.environ.get("HELPER_MODEL", "gpt-5-mini"),
    instructions="You help customers of a shop. Look an order up before you pay back.",
    tools=[look_up, pay_back],
)


@app.workflow
async def help_with(question: str, customer: str = "ann") -> str:
    """The answer to a customer's question."""
    result = await run(
        agent, question, session=LiteQSession(customer, app), model=StepOptions(retries=5), approval_timeout="2d"
    )
    return str(result.final_output)
