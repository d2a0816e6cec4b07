"""Two hundred turns: the file grows with what was said, and no turn is slower than its words."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.usage import UsageLimits

from liteq import LiteQ
from liteq.testing import drain
from liteq_pydantic_ai import LiteQConversations, LiteQDurability

from .scripted import Script, call

TURNS = 200
TEXT = 2_000
PAGES = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("PRAGMA page_count").fetchone()[0] * connection.execute("PRAGMA page_size").fetchone()[0])
"""


def size_of(app: LiteQ, folder: Path) -> int:
    """Bytes of the file's pages, those in its log included. Another process asks: SQLite wants one library in each."""
    app.close()
    found = subprocess.run([sys.executable, "-c", PAGES, str(folder / "queue.db")], capture_output=True, check=True)
    return int(found.stdout)


def test_the_history_of_a_run_has_each_answer_once(app: LiteQ, tmp_path: Path) -> None:
    script = Script(*([call("look", id_=f"c{n}", x=n)] for n in range(TURNS)), "done")
    agent = Agent(script.model, name="long", capabilities=[LiteQDurability()])

    @agent.tool_plain
    def look(x: int) -> str:
        return f"{x}".ljust(TEXT, "!")

    @app.workflow(name="long")
    async def long() -> str:
        return (await agent.run("look", usage_limits=UsageLimits(request_limit=None))).output

    run = long.start()
    drain(app)
    assert run.result(0) == "done"
    assert len(script.asked) == TURNS + 1
    size = size_of(app, tmp_path)
    assert size < 3 * TURNS * TEXT + 1_000_000, f"{size:,} bytes"  # all messages in each step: 80 MB


def test_a_conversation_has_each_message_once(app: LiteQ, tmp_path: Path) -> None:
    store = LiteQConversations(app)

    async def play() -> None:
        conversation = Conversation(conversation_id="c")
        for n in range(TURNS):
            asked = ModelRequest(parts=[UserPromptPart(f"{n}?")])
            conversation.messages += [asked, ModelResponse(parts=[TextPart(f"{n}".ljust(TEXT, "!"))])]
            await store.save(conversation)

    asyncio.run(play())
    size = size_of(app, tmp_path)
    assert size < 3 * TURNS * TEXT + 1_000_000, f"{size:,} bytes"
