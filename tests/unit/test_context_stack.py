"""The running task and the current app, through threads and coroutines."""

from __future__ import annotations

import asyncio
import threading

import pytest

from liteq import LiteQ, context, current_app
from liteq.context import Request
from liteq.context.apps import swap_apps
from liteq.exceptions import ImproperlyConfigured


class Named:
    def __init__(self, name):
        self.name = name


def test_the_innermost_task_is_the_current_one_and_each_has_its_own_request():
    outer, inner = Named("outer"), Named("inner")
    first = context.enter(outer, Request(id="1", called_directly=False))
    second = context.enter(inner, Request(id="2"))
    try:
        assert context.get_current_task() is inner
        assert context.request_of(outer).id == "1"
        assert context.worker_request().id == "1"
    finally:
        context.leave(second)
        context.leave(first)
    assert context.get_current_task() is None


def test_a_thread_does_not_see_what_another_one_runs():
    token = context.enter(Named("here"), Request(id="1"))
    seen = []
    try:
        thread = threading.Thread(target=lambda: seen.append(context.get_current_task()))
        thread.start()
        thread.join()
    finally:
        context.leave(token)
    assert seen == [None]


def test_to_thread_sees_what_its_coroutine_runs():
    async def body():
        token = context.enter(Named("here"), Request(id="7"))
        try:
            return await asyncio.to_thread(lambda: context.current_request().id)
        finally:
            context.leave(token)

    assert asyncio.run(body()) == "7"


def test_waiting_is_refused_under_a_worker_s_request_alone():
    context.assert_will_not_block()
    token = context.enter(Named("t"), Request(id="1", called_directly=False))
    try:
        with pytest.raises(RuntimeError, match=r"result\.get\(\)"):
            context.assert_will_not_block()
        with context.allow_join_result():
            context.assert_will_not_block()
    finally:
        context.leave(token)
    with context.denied_join_result(), pytest.raises(RuntimeError):
        context.assert_will_not_block()


def test_a_request_takes_attributes_and_answers_for_missing_ones():
    request = Request(id="1", retries=3)
    request.colour = "red"
    assert (request.get("retries"), request.get("colour"), request.get("nothing", "x")) == (3, "red", "x")
    assert (request.timelimit, request.headers, request.group) == (None, None, None)
    with pytest.raises(AttributeError):
        _ = request.nothing


def test_each_thread_may_have_its_app_and_shares_the_default():
    default = LiteQ("default", broker="sqlite:///a.db")
    default.set_default()
    other = LiteQ("other", broker="sqlite:///b.db", set_as_current=False)
    seen = []

    def look():
        seen.append(context.get_current_app())
        other.set_current()
        seen.append(context.get_current_app())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [default, other]
    assert context.get_current_app() is default


def test_without_an_app_a_walk_over_all_objects_meets_a_proxy(monkeypatch):
    monkeypatch.setattr("liteq.context.apps._fallback", None)
    before = swap_apps(None, None)
    try:
        assert not isinstance(current_app, dict)
        with pytest.raises(ImproperlyConfigured):
            _ = current_app.conf
    finally:
        swap_apps(*before)
