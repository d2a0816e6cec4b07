"""The agents that the drill kills: parallel tools, an approval, a stream, and a charge that is not to be repeated."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from liteq import LiteQ
from liteq.workflow import StepOptions, ctx
from liteq_pydantic_ai import Approvals, LiteQDurability

FOLDER = Path(os.environ["DRILL_FOLDER"])
app = LiteQ("killed", broker=f"sqlite:///{FOLDER}/killed.db")
model = OpenAIChatModel("fake-1", provider=OpenAIProvider(base_url=os.environ["DRILL_MODEL"], api_key="none"))
durability: LiteQDurability[str] = LiteQDurability(retries=3, emit="tokens", model=StepOptions(backoff=(0.05, 0.2)))
agent = Agent(model, name="killed", deps_type=str, capabilities=[durability, Approvals(timeout="1d")])


def note(what: str) -> None:
    """Write down that something runs here, and die there once where a test asks for it."""
    name = ctx.run_id
    with (FOLDER / "ledger").open("a") as ledger:
        ledger.write(f"{what} {name} {os.getpid()} {ctx.step_key}\n")
    try:
        (FOLDER / f"kill {what}").unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # until the kernel does it


@agent.tool_plain
async def look_up(order: int) -> str:
    """Look an order up."""
    note(f"look_up-{order}")
    await asyncio.sleep(0.05)
    return f"order {order}"


@agent.tool_plain(requires_approval=True)
def refund(order: int, amount: int) -> str:
    """Pay money back."""
    note("refund")
    time.sleep(0.05)
    return f"{amount} of {order}"


@app.workflow
async def support(question: str) -> str:
    """The answer to `question`."""
    return (await agent.run(question)).output


def found(step_key: str, amount: int) -> object:
    """Look whether a charge is there."""
    from liteq.workflow import Done, NotDone

    with (FOLDER / "looks").open("a") as file:
        file.write(f"{step_key}\n")
    there = any(line.split()[3] == step_key for line in (FOLDER / "ledger").read_text().splitlines())
    return Done(f"charged {amount} before") if there else NotDone()


def charging(name: str, doubt: object) -> object:
    """A workflow of an agent that charges once."""
    from tests.contrib.agents.pydantic_ai.scripted import Script, call, results

    script = Script([call("charge", amount=5)], lambda messages: f"{results(messages)['charge-5']}")
    charger = Agent(script.model, name=name, capabilities=[LiteQDurability()])

    @charger.tool_plain(metadata={"liteq": {"doubt": doubt, "retries": 0}})
    def charge(amount: int) -> str:
        note(f"charge-{name}")
        return f"charged {amount}"

    @app.workflow(name=name)
    async def flow() -> str:
        return (await charger.run("charge")).output

    return flow


asks = charging("asks", "ask")
looks = charging("looks", found)
