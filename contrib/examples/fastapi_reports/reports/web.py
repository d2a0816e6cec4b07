"""The page, and the few addresses it asks. Nothing here blocks the event loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from liteq.exceptions import TimeoutError
from liteq_fastapi import event_stream, lifespan, status_app, while_connected
from reports.tasks import DATA, build_report, queue

__all__ = ["app"]

STATIC = Path(__file__).resolve().parent / "static"

# Without FastAPI's own pages of documentation, which load their scripts from the net.
app = FastAPI(title="Reports", lifespan=lifespan(queue), docs_url=None, redoc_url=None)


class Order(BaseModel):
    """Which report."""

    year: Annotated[int, Field(ge=1990, le=2100)]


@app.post("/reports", status_code=202)
async def start(order: Order) -> dict[str, str]:
    """Send the task; once this has answered, it is in the file."""
    sent = await build_report.adelay(order.year)
    return {"id": sent.id}


@app.get("/reports/{id_}/events")
async def events(id_: str) -> Response:
    """How far it is, as Server-Sent Events."""
    return await event_stream(queue.AsyncResult(id_), interval_s=0.2)


@app.get("/reports/{id_}")
async def wait(request: Request, id_: str, seconds: float = 20) -> dict[str, object]:
    """The report, for programs: waits up to `seconds`, as long as the client does."""
    result = queue.AsyncResult(id_)
    if not await result.aexists():
        raise HTTPException(404, "there is no such report")
    try:
        return await while_connected(request, result.aget(timeout=min(seconds, 60)))
    except TimeoutError:
        raise HTTPException(504, "not finished yet: ask again") from None
    except ClientDisconnect:
        raise HTTPException(499, "nobody waits any more") from None


@app.get("/reports/{id_}/file")
async def download(id_: str) -> FileResponse:
    """The CSV file of a report that has finished."""
    meta = await queue.AsyncResult(id_).ameta()
    if meta["status"] != "SUCCESS":
        raise HTTPException(404, "there is no such report, or it is not finished")
    return FileResponse(DATA / meta["result"]["file"], filename=f"sales-{meta['result']['year']}.csv")


# local: this machine alone may look, for as long as no proxy stands before the program; else give a token.
app.mount("/liteq", status_app(queue, local=True))
app.mount("/", StaticFiles(directory=STATIC, html=True))
