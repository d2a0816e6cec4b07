"""How far a replica must be, between requests: `Liteq-Position` of an answer, which the client brings again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from liteq.result.position import COOKIE, HEADER, exchange
from liteq_django.project import default_app

__all__ = ["PositionMiddleware"]

Handler = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class PositionMiddleware:
    """`MIDDLEWARE = ["liteq_django.PositionMiddleware", ...]`, before what begins transactions.

    In a request that brings a position, by header or cookie, `get()` waits until the replica is that far. An answer
    whose request sent a task brings the position of it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self._get_response):
            return self._awaited(request)
        with _of(request) as here:
            response = cast("HttpResponseBase", self._get_response(request))
            return _told(request, response, here.position(default_app()))

    async def _awaited(self, request: HttpRequest) -> HttpResponseBase:
        with _of(request) as here:
            response = await cast("Awaitable[HttpResponseBase]", self._get_response(request))
            return _told(request, response, await here.aposition(default_app()))


def _of(request: HttpRequest) -> Any:
    return exchange(request.headers.get(HEADER), request.COOKIES.get(COOKIE))


def _told(request: HttpRequest, response: HttpResponseBase, position: str | None) -> HttpResponseBase:
    if position is not None:
        response.headers[HEADER] = position
        response.set_cookie(COOKIE, position, secure=request.is_secure(), httponly=True, samesite="Lax")
    return response
