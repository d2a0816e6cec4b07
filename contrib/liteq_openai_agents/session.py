"""`LiteQSession`: the SDK's session protocol over a queue; and any session inside a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar

from agents import RunContextWrapper
from agents.memory import (
    OpenAIResponsesCompactionArgs,
    Session,
    SessionABC,
    SessionSettings,
    is_openai_responses_compaction_aware_session,
)
from agents.usage import deserialize_usage

from liteq import LiteQ
from liteq.exceptions import WorkflowError
from liteq.serialization import decode, encode
from liteq.storage.facades.keeping.sessions import Sessions
from liteq.utils.async_threads import reading, writing
from liteq.workflow import actx
from liteq.workflow.history.frames import here
from liteq.workflow.stepping.inside import StepFrame
from liteq_openai_agents.tools import apart

if TYPE_CHECKING:
    from agents.items import TResponseInputItem

    from liteq_openai_agents.steps import Steps

__all__ = ["LiteQSession", "in_run"]

T = TypeVar("T")


@lru_cache(maxsize=100)
def _app_at(url: str) -> LiteQ:
    """The app of all sessions at a URL: a body makes its session anew in each replay."""
    return LiteQ(broker=url, set_as_current=False)


class LiteQSession(SessionABC):
    """A conversation in a queue: `LiteQSession("ann", app)`, or with the URL of a queue in the place of the app.

    Items that were added together stand together, whoever adds at the same time. A step that is repeated after a crash
    adds and takes its items once, in the same order. `get_items` and the like raise StorageError.
    """

    def __init__(self, id: str, app: LiteQ | str, *, session_settings: SessionSettings | None = None) -> None:
        if not id or id != str(id):
            raise ValueError(f"the id of a session is a text, not {id!r}")
        self.session_id = id
        self.session_settings = session_settings
        self._app = _app_at(app) if isinstance(app, str) else app

    @property
    def _sessions(self) -> Sessions:
        storage = self._app.storage
        return Sessions(storage.driver, storage.clock)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The last `limit` items (None: those that the session's settings ask for, else all), the oldest first."""
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        _not_in_a_body()
        if limit is not None and limit <= 0:
            return []
        found = await reading(self._app, lambda: self._sessions.items(self.session_id, limit=limit))
        return [decode(item) for item in found]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items at the end."""
        data = [encode(item, what=f"an item of the session {self.session_id!r}") for item in items]
        if data:
            await self._write(lambda step: self._sessions.add(self.session_id, data, step=step))

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the last item back; None where there is none."""
        item = await self._write(lambda step: self._sessions.take(self.session_id, step=step))
        found: TResponseInputItem | None = None if item is None else decode(item)
        return found

    async def clear_session(self) -> None:
        """Forget all items."""
        await self._write(lambda _: self._sessions.clear(self.session_id))

    async def _atomic_replace_items(self, items: list[TResponseInputItem]) -> bool:
        """Hold these items alone: the SDK asks for it behind a compaction, else it forgets them first, and may die."""
        data = [encode(item, what=f"an item of the session {self.session_id!r}") for item in items]
        await self._write(lambda _: self._sessions.replace(self.session_id, data))
        return True

    async def _write(self, write: Callable[[str | None], T]) -> T:
        _not_in_a_body()
        frame = here()
        step = frame.key_of_write(self.session_id) if isinstance(frame, StepFrame) else None
        return await writing(self._app, write, step)


def _not_in_a_body() -> None:
    if actx.place == "body":
        raise WorkflowError(
            "a session is read and written in a step: hand it to run(agent, input, session=...), or call it in a step "
            "of your own"
        )


class SessionInRun(SessionABC):
    """Another session, each call of which is a step of a run."""

    def __init__(self, inner: Session, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps
        self.session_id = inner.session_id
        self.session_settings = getattr(inner, "session_settings", None)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        found: list[TResponseInputItem] = await self._step("get_items", limit)
        return found

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        await self._step("add_items", items)

    async def pop_item(self) -> TResponseInputItem | None:
        found: TResponseInputItem | None = await self._step("pop_item")
        return found

    async def clear_session(self) -> None:
        await self._step("clear_session")

    async def _step(self, method: str, *args: Any) -> Any:
        async def call(*given: Any) -> Any:  # without the types of the method, by which parts of an item are iterators
            return await getattr(self._inner, method)(*given)

        return await self._steps.numbered("session", method, call, args)


class CompactedInRun(SessionInRun):
    """As `SessionInRun`, of a session that the SDK has compacted behind a turn: a step, too, and its request is spent.

    What another process has noted of the session in its memory is not here: a compaction that was put off by a tool is
    decided on behind the next answer, by what the session holds then.
    """

    async def run_compaction(
        self, args: OpenAIResponsesCompactionArgs | None = None, *, wrapper: RunContextWrapper[Any] | None = None
    ) -> None:
        """Have it compacted, once. `wrapper`: of the SDK's run, which counts the request."""
        of = f"compaction.{self._steps.counts['session']}"
        if self._steps.went_past("session", of):  # with an older liteq: it may hold by now what was said later
            return
        session: Any = self._inner
        context = wrapper or RunContextWrapper(None)
        takes_it = "wrapper" in signature(session.run_compaction).parameters

        async def compact(_: Any) -> dict[str, Any]:
            with apart(context, getattr(session, "model", None)) as used:
                await (session.run_compaction(args, wrapper=context) if takes_it else session.run_compaction(args))
            return used

        used = await self._steps.numbered("session", "run_compaction", compact, (args,), of=of)
        context.usage.add(deserialize_usage(used))


def in_run(session: Session | None, steps: Steps) -> Session | None:
    """`session`, each call of which is a step of a run."""
    if session is None:
        return None
    kind = CompactedInRun if is_openai_responses_compaction_aware_session(session) else SessionInRun
    return kind(session, steps)
