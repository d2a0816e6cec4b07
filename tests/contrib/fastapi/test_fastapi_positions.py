"""The middleware that carries positions between an application that sends and one that reads a replica."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from liteq import LiteQ
from liteq.exceptions import NotYetThere
from liteq.testing import drain
from liteq_fastapi import PositionMiddleware
from tests.followers import copy_to


def site(queue: LiteQ) -> FastAPI:
    web = FastAPI()
    web.add_middleware(PositionMiddleware, queue=queue)
    double = queue.task(name="double")(lambda n: 2 * n)

    @web.post("/send")
    async def send() -> str:
        return (await double.adelay(4)).id

    @web.post("/send-in-a-thread")
    def send_in_a_thread() -> str:
        return double.delay(4).id

    @web.get("/get/{id_}")
    async def get(id_: str) -> str:
        try:
            return str(await queue.AsyncResult(id_).aget(timeout=0.1))
        except NotYetThere as exc:
            return f"behind: {exc.position}"

    return web


def client(queue: LiteQ) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(site(queue)), base_url="http://web")


@pytest.mark.parametrize("carrier", ["header", "cookie"])
@pytest.mark.parametrize("path", ["/send", "/send-in-a-thread"])
def test_a_reader_waits_for_the_position_that_the_client_brings(tmp_path, carrier, path):
    import asyncio

    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "q.db"

    async def talk(leader: LiteQ) -> None:
        async with client(leader) as writer:
            sent = await writer.post(path)
            assert writer.cookies["liteq_position"] == sent.headers["Liteq-Position"]
        position, id_ = sent.headers["Liteq-Position"], sent.json()
        await asyncio.to_thread(drain, leader)
        with LiteQ("board", broker=f"sqlite:///{copy}?mode=ro", set_as_current=False) as board:
            async with client(board) as reader:
                if carrier == "cookie":
                    reader.cookies["liteq_position"] = position
                else:
                    reader.headers["Liteq-Position"] = position
                answer = await reader.get(f"/get/{id_}")
                assert answer.json() == f"behind: {position}"
                assert "Liteq-Position" not in answer.headers  # it sent nothing
                await asyncio.to_thread(copy_to, copy, leader)
                assert (await reader.get(f"/get/{id_}")).json() == "8"

    with LiteQ("web", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False) as leader:
        leader.storage.migrate()
        copy_to(copy, leader)
        asyncio.run(talk(leader))
