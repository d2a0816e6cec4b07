"""`app.control.inspect()`: questions to the workers that live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from liteq.app.control.replies import Reply, flatten_reply, ids_of, name_of_celery
from liteq.context import App, get_current_app

__all__ = ["Inspect"]


class Inspect:
    """Questions to workers. Each returns `{worker: answer}`, None where no worker answered.

    With one name as `destination`, the answer of that worker itself.
    """

    def __init__(
        self,
        destination: str | Sequence[str] | None = None,
        timeout: float = 1.0,
        callback: Callable[[Reply], object] | None = None,
        connection: Any = None,
        app: App | None = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self.app = get_current_app() if app is None else app
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def _request(self, command: str, **arguments: Any) -> Any:
        reply = self.app.control.broadcast(
            command,
            arguments,
            self.destination,
            reply=True,
            timeout=self.timeout,
            limit=self.limit,
            callback=self.callback,
            pattern=self.pattern,
            matcher=self.matcher,
        )
        if not reply:
            return None
        by_worker = flatten_reply(reply)
        if not isinstance(self.destination, str):
            return by_worker
        named = {name: answer for name, answer in by_worker.items() if self.destination in {name, name_of_celery(name)}}
        return next(iter(named.values()), None)

    def ping(self, destination: Any = None) -> Any:
        """`{"ok": "pong"}`."""
        if destination is not None:
            self.destination = destination
        return self._request("ping")

    def active(self, safe: bool | None = None) -> Any:
        """The tasks that run: id, name, args, kwargs, worker_pid, ..."""
        return self._request("active")

    def reserved(self, safe: bool | None = None) -> Any:
        """The tasks that a worker holds and has not started."""
        return self._request("reserved")

    def scheduled(self, safe: bool | None = None) -> Any:
        """The tasks of a worker's queues that wait for their time: eta, priority, request."""
        return self._request("scheduled")

    def registered(self, *taskinfoitems: str) -> Any:
        """The names of a worker's tasks; with attributes of theirs, those as well."""
        return self._request("registered", taskinfoitems=list(taskinfoitems))

    registered_tasks = registered

    def stats(self) -> Any:
        """Counters, pool, uptime, resource usage."""
        return self._request("stats")

    def active_queues(self) -> Any:
        """The queues that a worker takes from."""
        return self._request("active_queues")

    def revoked(self) -> Any:
        """The ids that are not to be run, should they come."""
        return self._request("revoked")

    def query_task(self, *ids: Any) -> Any:
        """Which of these tasks a worker holds: `{id: [state, info]}`."""
        wanted = ids[0] if len(ids) == 1 and isinstance(ids[0], (list, tuple)) else ids
        return self._request("query_task", ids=ids_of(list(wanted)))

    def conf(self, with_defaults: bool = False) -> Any:
        """A worker's settings."""
        return self._request("conf", with_defaults=with_defaults)

    def report(self) -> Any:
        """Versions and platform, as text."""
        return self._request("report")

    def clock(self) -> Any:
        """A worker's clock, in ms since the epoch."""
        return self._request("clock")

    def memsample(self) -> Any:
        """How much memory a worker's main process has in use, as text: "51.2MB"."""
        return self._request("memsample")

    def memdump(self, samples: int = 10) -> Any:
        """The last of a worker's memory samples, as text."""
        return self._request("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> Any:
        """Answered with an error: it draws Celery's own objects."""
        return self._request("objgraph", type=type, num=n, max_depth=max_depth)

    def hello(self, from_node: str | None = None, revoked: Any = None) -> Any:
        """The ids that a worker knows as revoked, and its clock."""
        return self._request("hello", from_node=from_node)
