"""The wait for changes of resources: the file is looked at once a second, only while somebody listens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR
from mcp_types import SubscriptionsListenRequestParams, SubscriptionsListenResult

from liteq_dashboard.freshness.live import Broadcaster
from liteq_dashboard.freshness.stamp import stamp_of

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["Listening"]

MOST: Final = 50  # resources of one listener
AGAIN_S: Final = 1.0  # until a listener asks for its place once more
CHANGED: Final = b"event: changed"
Context = ServerRequestContext[Any, Any]
Digest = Callable[[Context, str], Awaitable[str]]


class Listening:
    """Serves `subscriptions/listen`: a notice for each resource of a listener that has become another.

    `digest`: a word of a resource's contents, as the client of a request sees them.
    """

    def __init__(self, app: LiteQ, digest: Digest, *, broadcaster: Broadcaster | None = None) -> None:
        self._app = app
        self._digest = digest
        self._changes = broadcaster or Broadcaster(app)

    async def __call__(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        bus = InMemorySubscriptionBus()
        uris = list(dict.fromkeys(params.notifications.resource_subscriptions or ()))[:MOST]
        async with anyio.create_task_group() as group:
            if uris:
                await group.start(self._watch, ctx, uris, bus)
            result = await ListenHandler(bus)(ctx, params)
            group.cancel_scope.cancel()
        return result

    async def _watch(
        self, ctx: Context, uris: Sequence[str], bus: InMemorySubscriptionBus, *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:  # fmt: skip
        """Publish which of the resources have changed since the last look."""
        stamp = stamp_of(self._app)  # before they are read: what changes meanwhile is looked at once more
        known = {uri: await self._digest(ctx, uri) for uri in uris}
        if self._changes.changes() is None:
            raise MCPError(INTERNAL_ERROR, "too many listen; ask again later")
        task_status.started()
        while True:
            stream = self._changes.changes(stamp)
            if stream is None:  # others have taken its place meanwhile
                await anyio.sleep(AGAIN_S)
                continue
            async for event in stream:  # ends after a while, and is begun anew
                if not event.startswith(CHANGED):
                    continue
                stamp = stamp_of(self._app)
                for uri in uris:
                    now = await self._digest(ctx, uri)
                    if now != known[uri]:
                        known[uri] = now
                        await bus.publish(ResourceUpdated(uri))
