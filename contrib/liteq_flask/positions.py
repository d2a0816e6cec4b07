"""How far a replica must be, between requests: `Liteq-Position` of an answer, which the client brings again."""

from __future__ import annotations

from contextlib import ExitStack

from flask import Flask, Response, g, request

from liteq.app import LiteQ
from liteq.result.position import COOKIE, HEADER, Exchange, exchange

__all__ = ["carry_positions"]

STACK, HERE = "_liteq_positions", "_liteq_exchange"


def carry_positions(app: Flask, queue: LiteQ) -> None:
    """Have each request of `app` wait, in `get()`, for the position that it brings, and tell that of what it sends."""

    @app.before_request
    def begin() -> None:
        stack = ExitStack()
        setattr(g, STACK, stack)
        setattr(g, HERE, stack.enter_context(exchange(request.headers.get(HEADER), request.cookies.get(COOKIE))))

    @app.after_request
    def tell(response: Response) -> Response:
        here: Exchange | None = g.get(HERE)
        position = None if here is None else here.position(queue)
        if position is not None:
            response.headers[HEADER] = position
            response.set_cookie(COOKIE, position, secure=request.is_secure, httponly=True, samesite="Lax")
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        stack: ExitStack | None = g.pop(STACK, None)
        if stack is not None:
            stack.close()
