"""Conversations in the queue's file: each message once, conflicts by revision, and the same in a replay."""

from __future__ import annotations

import asyncio

import pytest
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationStore, InMemoryConversationStore
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

from liteq import LiteQ
from liteq.testing import WorkflowTest
from liteq.workflow import actx
from liteq_pydantic_ai import LiteQConversations, LiteQDurability

from .scripted import Script


def turn(n: int, size: int = 2_000) -> list[ModelRequest | ModelResponse]:
    return [
        ModelRequest(parts=[UserPromptPart(f"{n}".ljust(size, "?"))]),
        ModelResponse(parts=[TextPart(f"{n}".ljust(size, "!"))]),
    ]


@pytest.fixture(params=["liteq", "the framework's own"])
def store(request: pytest.FixtureRequest, app: LiteQ) -> ConversationStore:
    """Both are asked the same."""
    return LiteQConversations(app) if request.param == "liteq" else InMemoryConversationStore()


def test_it_keeps_what_the_frameworks_own_keeps(store: ConversationStore) -> None:
    async def play() -> None:
        assert await store.load("c") is None
        first = Conversation(conversation_id="c", messages=list(turn(1)))
        assert len(await store.save(first, scope="ann")) == 2
        mine, other = await store.load("c"), await store.load("c")
        assert mine is not None
        assert other is not None
        mine.messages += turn(2)
        other.messages += turn(3)
        assert len(await store.save(mine)) == 2
        with pytest.raises(ConversationConflict):
            await store.save(other)
        fork = await store.fork("c", at=2, new_conversation_id="fork")
        fork.messages += turn(4)
        await store.save(fork)
        whole = await store.load("c")
        assert whole is not None
        assert whole.messages == [*turn(1), *turn(2)] or len(whole.messages) == 4
        assert [one.conversation_id for one in await store.list_conversations(scope="ann")] == ["fork", "c"]
        assert await store.load("c", scope="bob") is None
        last = await store.load("c", limit=1)
        assert last is not None
        assert len(last.messages) == 1
        await store.delete("c")
        assert await store.load("c") is None
        shared = await store.load("fork")
        assert shared is not None
        assert [message.kind for message in shared.messages] == ["request", "response"] * 2

    asyncio.run(play())


def test_a_body_saves_once_and_goes_on_with_what_it_saved(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script("one", "two", "three")
    agent = Agent(script.model, name="talks", capabilities=[LiteQDurability()])
    store = LiteQConversations(app)

    @app.workflow(name="talks")
    async def talks(questions: int) -> int:
        for n in range(questions):
            conversation = await store.load("c") or Conversation(conversation_id="c")
            result = await agent.run(f"question {n}", conversation=conversation)
            await store.save(result)
            await actx.sleep("1h")
        found = await store.load("c")
        assert found is not None
        return len(found.messages)

    assert bench.run(talks, 3) == 6
    assert script.asked == [0, 1, 2]
