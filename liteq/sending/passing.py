"""`Passing`: the maker of rows of an app that has middleware. While it has none, a plain `Publisher` makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liteq.canvas import Signature
from liteq.context import App
from liteq.message import Message
from liteq.middleware import Call
from liteq.result import AsyncResult
from liteq.sending.publisher import EMPTY, Defaults, Publisher
from liteq.utils.names import checked_name

__all__ = ["Passing"]


class Passing(Publisher):
    """Makes the messages of one app, each through its middleware; `maker` makes them then."""

    def __init__(self, app: App, maker: Publisher) -> None:
        super().__init__(app)
        self._maker = maker

    def forget(self, name: str | None = None) -> None:
        """A task's attributes (None: settings) have changed."""
        super().forget(name)
        self._maker.forget(name)

    def defaults(self, name: str | None) -> Defaults:
        """The common part of all messages of the task `name`; none of its calls is a plain one."""
        found = super().defaults(name)
        found.observed = True
        return found

    def message(
        self, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any] = EMPTY,
        **place: Any,
    ) -> Message:  # fmt: skip
        """The row for one call, as the middleware lets it through. Raises also what that raises."""

        def made(call: Call) -> Message:
            return self._maker.message(call.task, call.args, call.kwargs, call.sent_options(), **place)

        return self._through(name, args, kwargs, options, made)

    def row(self, sig: Signature, **place: Any) -> Message:
        """The row of one signature, likewise; before_task_publish is sent inside."""

        def made(call: Call) -> Message:
            passed = Signature(call.task, call.args, call.kwargs, call.sent_options(), app=self._app)
            return self._maker.row(passed, **place)

        return self._through(sig.task, sig.args, sig.kwargs, sig.options, made)

    def _through(self, name: Any, args: Any, kwargs: Any, options: Any, made: Callable[[Call], Message]) -> Message:
        checked_name(name, "a task's name")
        return self._app.middleware.publish(name, args, kwargs, options, made, self._result)

    def _result(self, message: Message) -> AsyncResult[Any]:
        return AsyncResult(message.id, task_name=message.task, app=self._app)
