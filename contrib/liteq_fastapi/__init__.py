"""liteq for FastAPI, Starlette, and other frameworks on asyncio.

    app = FastAPI(lifespan=lifespan(queue))

    @app.post("/reports")
    async def start() -> dict[str, str]:
        return {"id": (await report.adelay()).id}

    @app.get("/reports/{id}/events")
    async def events(id: str) -> Response:
        return await event_stream(queue.AsyncResult(id))

    app.mount("/liteq", dashboard(queue, access=who))
    app.mount("/status", status_app(queue))

`adelay`, `aapply_async`, `aget` and `ameta` are liteq's own and need nothing of this package; docs/howto/fastapi.md.
"""

from __future__ import annotations

from liteq_fastapi.connected import while_connected
from liteq_fastapi.dashboard import dashboard
from liteq_fastapi.events import Progress, event_stream, progress
from liteq_fastapi.lifespan import lifespan, opened
from liteq_fastapi.positions import PositionMiddleware
from liteq_fastapi.status import status_app

__all__ = [
    "PositionMiddleware",
    "Progress",
    "dashboard",
    "event_stream",
    "lifespan",
    "opened",
    "progress",
    "status_app",
    "while_connected",
]
