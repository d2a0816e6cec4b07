"""`app.control`: asking the workers that live for something, over the file. The names are Celery's.

A command is a row; each worker that it concerns answers by another. An answer that is waited for is there as soon as
every living worker has given it; `timeout` is only for one that is silent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, overload

from liteq import signals
from liteq.app.control.inspect import Inspect
from liteq.app.control.pausing import PausedQueue, Until, end_s, pause_asked, paused_queue
from liteq.app.control.replies import Reply, check_extra, flatten_reply, ids_of, name_of_celery, stamps_of
from liteq.context import App
from liteq.context.living import living
from liteq.execution.shown import announce_revoked, lease_of
from liteq.serialization import decode, encode
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.operating.audit import Actor
from liteq.storage.operating.commands import REVOKES_KEPT_S

__all__ = ["Control", "Inspect", "PausedQueue", "flatten_reply"]

UNANSWERED_S = 60.0  # a command without a reply is carried out by the workers that see it within this time


class Control:
    """Remote control of the workers of one app."""

    def __init__(self, app: App) -> None:
        self.app = app

    # -- asking

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: str | Sequence[str] | None = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float | None = 1.0,
        limit: int | None = None,
        callback: Callable[[Reply], object] | None = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra: Any,
    ) -> list[Reply] | None:
        """Ask all workers, or those of `destination`, for `command`; with `reply` their answers, `[{name: answer}]`.

        Answers are waited for up to `timeout` seconds, and no longer than until every living worker, or `limit` of
        them, has answered. `pattern` chooses workers by name, a glob, or with `matcher="pcre"` a regular expression.
        """
        check_extra(command, extra)
        workers = self.living(destination, pattern, matcher)
        named = destination is not None or pattern is not None
        if reply and not workers:
            return []
        names = encode(sorted({worker.name for worker in workers}), what="destination") if named else None
        waits_s = timeout if reply and timeout is not None else UNANSWERED_S
        number = self.app.storage.commands.send(
            command,
            encode({**(arguments or {}), **extra}, what=f"arguments of {command}"),
            names,
            wants_reply=reply,
            expires_s=max(waits_s, 1.0),
        )
        if not reply:
            return None
        wanted = {worker.id for worker in workers}
        return self._collect(
            number, wanted, len(wanted) if limit is None else min(limit, len(wanted)), waits_s, callback
        )

    def _collect(
        self, number: int, wanted: set[int], enough: int, timeout_s: float, callback: Callable[[Reply], object] | None
    ) -> list[Reply]:
        storage, clock = self.app.storage, self.app.clock
        until = clock.monotonic() + timeout_s
        seen: dict[int, Reply] = {}
        with storage.hearing() as ear:
            while True:
                for worker, name, data in storage.commands.replies(number):
                    if worker not in seen:
                        seen[worker] = {name: decode(data)}
                        if callback is not None:
                            callback(seen[worker])
                left_s = until - clock.monotonic()
                if len(seen) >= enough or wanted <= seen.keys() or left_s <= 0:
                    return list(seen.values())
                ear.wait(left_s)

    def living(
        self, destination: str | Sequence[str] | None = None, pattern: str | None = None, matcher: str | None = None
    ) -> list[WorkerRecord]:
        """The workers that live (`context.living`); of these, those of `destination` and `pattern` where given."""
        names = None if destination is None else {destination} if isinstance(destination, str) else set(destination)
        return [
            worker
            for worker in living(self.app)
            if (names is None or worker.name in names or name_of_celery(worker.name) in names)
            and (pattern is None or _matches(worker.name, pattern, matcher))
        ]

    def inspect(
        self,
        destination: str | Sequence[str] | None = None,
        timeout: float = 1.0,
        callback: Callable[[Reply], object] | None = None,
        connection: Any = None,
        app: App | None = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> Inspect:
        """Questions to workers: `app.control.inspect().active()`."""
        return Inspect(destination, timeout, callback, connection, app or self.app, limit, pattern, matcher)

    def ping(self, destination: Any = None, timeout: float = 1.0, **kwargs: Any) -> list[Reply]:
        """The workers that answer: `[{name: {"ok": "pong"}}]`."""
        return self.broadcast("ping", {}, destination, reply=True, timeout=timeout, **kwargs) or []

    # -- tasks

    def revoke(
        self,
        task_id: Any,
        destination: Any = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        *,
        by: Actor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Have a message, or several, not run. `by`: who asks for it, for the audit.

        One that waits is cancelled in the file at once, and `task_revoked` is sent here. The id of one that runs, or
        that is unknown yet, is kept for a day: it is not started when it comes, a retry included, and that survives a
        restart of all workers. With `terminate`, the process that runs it gets `signal`, and it ends as REVOKED
        (prefork pool). With a message that has replaced itself, its replacement is revoked.
        """
        check_extra("revoke", kwargs)
        ids = ids_of(task_id)
        revoked = self.app.storage.commands.revoke(ids, keep_s=REVOKES_KEPT_S, by=by)
        answers = None
        if revoked.running or revoked.unknown or kwargs.get("reply"):
            named = frozenset(ids)
            # Of those that have replaced themselves.
            replacements = [id_ for id_ in revoked.running if id_ not in named]
            arguments = {"task_id": ids + replacements, "terminate": terminate, "signal": signal}
            answers = self.broadcast("revoke", arguments, destination, **kwargs)
        self._announce_cancelled(revoked.cancelled)  # last: receivers may take their time, and the file be away
        return answers

    def _announce_cancelled(self, ids: Sequence[str]) -> None:
        """Send `task_revoked` for messages that waited: no worker has had them, nor will it come to know of them."""
        for id_ in ids if signals.task_revoked.receivers else ():
            record = self.app.storage.reader.find(id_)
            if record is not None:
                announce_revoked(self.app, lease_of(record), None, terminated=False)

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        destination: Any = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        **kwargs: Any,
    ) -> Any:
        """Have messages not run that have one of these stamps: `{"header": stamp or [stamps]}`.

        Kept for a day, over restarts; one that waits ends as REVOKED when a worker comes to it. With `terminate`, as in
        `revoke`.
        """
        stamps = [(header, stamp) for header, value in headers.items() for stamp in sorted(stamps_of(value))]
        self.app.storage.commands.revoke_stamps(stamps, keep_s=REVOKES_KEPT_S)
        several = {key: list(one) if isinstance(one, (set, frozenset)) else one for key, one in headers.items()}
        arguments = {"headers": several, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke_by_stamped_headers", arguments, destination, **kwargs)

    def terminate(self, task_id: Any, destination: Any = None, signal: str | int = "SIGTERM", **kwargs: Any) -> Any:
        """As `revoke(terminate=True)`."""
        return self.revoke(task_id, destination, terminate=True, signal=signal, **kwargs)

    def rate_limit(self, task_name: str, rate_limit: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Let each worker start `rate_limit` ("10/m", "3/s", a number a second; 0 or None: any) of a task."""
        return self.broadcast("rate_limit", {"task_name": task_name, "rate_limit": rate_limit}, destination, **kwargs)

    def global_rate_limit(self, task_name: str, rate_limit: Any) -> None:
        """Let all workers together start `rate_limit` of a task; 0 or None: any. Notation as of `rate_limit`.

        It is in the file, so it stands over restarts, until the task's own `global_rate_limit` says something new.
        Raises ValueError for a text that is no rate.
        """
        self.app.storage.limits.set_rate(f"task:{task_name}", rate_limit)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Set the time limits of a task, in seconds, for executions that start from now on."""
        arguments = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments, destination, **kwargs)

    def purge(self, connection: Any = None) -> int:
        """Delete all that waits to run, in all queues; how many messages. There is no way back."""
        purged: int = self.app.storage.purge()
        return purged

    discard_all = purge

    # -- queues

    @overload
    def pause_queue(
        self, queue: str, reason: str = "", by: str | None = None, until: Until | None = None
    ) -> PausedQueue: ...
    @overload
    def pause_queue(
        self, queue: str, for_s: float | None = None, *, reason: str = "", actor: str = ""
    ) -> PausedQueue: ...
    def pause_queue(self, queue: str, *given: Any, **named: Any) -> PausedQueue:
        """Have no worker take anything more from `queue`, `until` it is resumed or that time has come.

        `queue`: a name, or a glob ("mail.*"), which holds for each queue that fits, also for one that appears later.
        `until`: a time, or how long from now: "30m", a timedelta, seconds. What runs goes on; what comes due waits.
        It is in the file: it holds at once in all workers, and over restarts; a queue that is paused is paused anew.
        `by`, the person or program that does it, and `reason` are noted. The second form is that of before: `for_s`
        seconds from now, and `actor` for `by`. Raises ValueError for a time that is over and for an empty name.
        """
        reason, by, until = pause_asked(given, named)
        until_s = end_s(until, self.app.clock)
        return paused_queue(self.app.storage.queues.pause(queue, until_s, actor=by, reason=reason))

    def resume_queue(self, queue: str, reason: str = "", by: str | None = None, *, actor: str = "") -> bool:
        """Have workers take from `queue` again; False where it was not paused.

        A glob ends all pauses that fit it; the name of a queue ends no pause that was made by a glob.
        """
        resumed: bool = self.app.storage.queues.resume(queue, actor=by or actor, reason=reason)
        return resumed

    def paused_queues(self) -> list[PausedQueue]:
        """The queues and globs that are paused, by name."""
        return [paused_queue(one) for one in self.app.storage.queues.paused().values()]

    # -- workers

    def add_consumer(self, queue: str, *_transport: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers take from `queue` too: a name, with a weight ("mail=3"), or a glob ("mail.*")."""
        kwargs = {key: value for key, value in kwargs.items() if key not in _OF_AN_EXCHANGE}
        return self.broadcast("add_consumer", {"queue": getattr(queue, "name", queue)}, destination, **kwargs)

    def cancel_consumer(self, queue: str, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers no longer take from `queue`."""
        return self.broadcast("cancel_consumer", {"queue": getattr(queue, "name", queue)}, destination, **kwargs)

    def pool_grow(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Any:
        """Have each worker execute `n` more tasks at a time."""
        return self.broadcast("pool_grow", {"n": n}, destination, **kwargs)

    def pool_shrink(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Any:
        """Have each worker execute `n` fewer tasks at a time, at least one."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **kwargs)

    def pool_restart(
        self,
        modules: Any = None,
        reload: bool = False,
        reloader: Any = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Replace the processes of the prefork pool, each once it is idle, after importing `modules` (with `reload`:
        anew), so that the new ones have the tasks as they are then.
        """
        return self.broadcast("pool_restart", {"modules": modules, "reload": reload}, destination, **kwargs)

    def autoscale(self, max: int, min: int, destination: Any = None, **kwargs: Any) -> Any:
        """Set the limits between which a worker that was started with `--autoscale` keeps the size of its pool."""
        return self.broadcast("autoscale", {"max": max, "min": min}, destination, **kwargs)

    def quiet(self, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers claim no more, finish what runs, and stay, until `wake`. It is not kept over a restart."""
        return self.broadcast("quiet", {}, destination, **kwargs)

    def wake(self, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers claim again, after `quiet`."""
        return self.broadcast("wake", {}, destination, **kwargs)

    def shutdown(self, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers finish what runs, return the rest, and end."""
        return self.broadcast("shutdown", {}, destination, **kwargs)

    def heartbeat(self, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers beat now."""
        return self.broadcast("heartbeat", {}, destination, **kwargs)

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> None:
        """Have one of the workers that live, and only one, send the signature `action`."""
        self.broadcast("election", {"id": id, "topic": topic, "action": action})

    def enable_events(self, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers tell what becomes of tasks."""
        return self.broadcast("enable_events", {}, destination, **kwargs)

    def disable_events(self, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers no longer tell what becomes of tasks."""
        return self.broadcast("disable_events", {}, destination, **kwargs)


_OF_AN_EXCHANGE = frozenset({"exchange", "exchange_type", "routing_key", "options"})


def _matches(name: str, pattern: str, matcher: str | None) -> bool:
    if matcher in {"pcre", "regex", "re"}:
        return re.match(pattern, name) is not None  # from its beginning, as in Celery
    return fnmatchcase(name, pattern)
