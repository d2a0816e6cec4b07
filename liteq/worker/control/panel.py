"""Remote control, the worker's side: commands are looked up in the file, carried out in the loop, and answered there.

    @control_command(args=[("n", int)])
    def warm_up(state, n=1):
        return {"ok": f"warmed up {n} times"}

makes `app.control.broadcast("warm_up", {"n": 3}, reply=True)` work, once the module has been imported by the worker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

from liteq.exceptions import BadMessage
from liteq.message import Cancel, Flag, Lease
from liteq.serialization import decode, encode
from liteq.storage.facades import Commands
from liteq.storage.operating.commands import REVOKES_KEPT_S, Command
from liteq.storage.sealed import vault_of
from liteq.storage.storage import Storage
from liteq.utils.records import NamedTuple
from liteq.worker.apart import put_off_unopened
from liteq.worker.chores.heartbeat import Heartbeat
from liteq.worker.loop import Consumer
from liteq.worker.pool import Pool
from liteq.worker.revoking import Remembered, has_stamp, revoked_outcome

__all__ = ["COMMANDS", "META", "CommandInfo", "Panel", "control_command", "inspect_command"]

logger = logging.getLogger("liteq.worker")

SAFETY_POLL_S = 1.0  # a lost ring costs a command this latency at most
LEAST_PAUSE_S = 0.02  # a busy queue rings thousands of times a second: one look serves them all
LARGEST_REPLY = 16 * 1024 * 1024  # bytes

Handler = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])


class CommandInfo(NamedTuple):
    """The description of a command for the command line. `type` is "control" or "inspect".

    `args`: names and converters of positional arguments; `variadic`: the name of the list that takes the rest.
    """

    alias: str | None
    type: str
    visible: bool
    default_timeout: float
    help: str
    signature: str | None
    args: Sequence[tuple[str, Callable[[str], Any] | None]]
    variadic: str | None


COMMANDS: dict[str, Handler] = {}
META: dict[str, CommandInfo] = {}


def _register(
    function: Handler | None = None,
    *,
    type: str,  # noqa: A002 - Celery's parameter
    name: str | None = None,
    alias: str | None = None,
    visible: bool = True,
    default_timeout: float = 1.0,
    help: str | None = None,  # noqa: A002
    signature: str | None = None,
    args: Sequence[tuple[str, Callable[[str], Any] | None]] | None = None,
    variadic: str | None = None,
) -> Any:
    def register(handler: Handler) -> Handler:
        known = name or handler.__name__
        text = help or (handler.__doc__ or "").strip().partition("\n")[0]
        META[known] = CommandInfo(alias, type, visible, default_timeout, text, signature, args or (), variadic)
        COMMANDS[known] = handler
        if alias:
            COMMANDS[alias] = handler
        return handler

    return register if function is None else register(function)


@overload
def control_command(function: F, /) -> F: ...
@overload
def control_command(**info: Any) -> Callable[[F], F]: ...
def control_command(function: Handler | None = None, /, **info: Any) -> Any:
    """Register a command: called with the Panel as `state` and its arguments; its return value is the answer.

    `name`, else the function's; `alias`, another one. For the command line: `args`, pairs of an argument's name and
    a converter from text; `variadic`, the name of the argument that takes the rest; `signature` and `help`, shown by
    `liteq control --list`; `visible`. `default_timeout` is accepted.
    """
    return _register(function, type="control", **info)


@overload
def inspect_command(function: F, /) -> F: ...
@overload
def inspect_command(**info: Any) -> Callable[[F], F]: ...
def inspect_command(function: Handler | None = None, /, **info: Any) -> Any:
    """As `control_command`, for a command of `liteq inspect`."""
    return _register(function, type="inspect", **info)


class Panel:
    """Looks for commands, and carries them out. A chore of the worker's loop.

    Commands get it as `state`, with `app`, `hostname`, `worker`, `consumer`, `pool`, and `revoked`: the ids of messages
    that are not to be started. The class is the registry of the commands, as Celery's is.
    """

    data = COMMANDS
    meta = META

    @classmethod
    def register(cls, *args: Any, type: str = "control", **info: Any) -> Any:  # noqa: A002 - Celery's parameter
        """As `control_command`, or with `type="inspect"` as `inspect_command`."""
        return _register(*args, type=type, **info)

    def __init__(self, worker: Any, storage: Storage, heartbeat: Heartbeat) -> None:
        self.worker = worker
        self.app = worker.app
        self.hostname: str = worker.hostname
        self.heartbeat = heartbeat
        self.storage = storage
        self.revoked = Remembered(REVOKES_KEPT_S)
        self.revoked_stamps: dict[str, Remembered] = {}  # by header, JSON
        self.started_at = time.monotonic()
        self.due_at = 0.0
        self._looked_at = 0.0
        self._sealed = vault_of(storage.driver) is not None
        self._enabled = bool(self.app.conf.worker_enable_remote_control)
        self._commands: Commands = storage.commands
        self._last = self._commands.last_seen()
        self.revoked.update(self._commands.revoked_ids())
        for header, stamp in self._commands.revoked_stamps():
            self.stamps_revoked(header, [stamp])

    @property
    def consumer(self) -> Consumer:
        consumer: Consumer = self.worker.running.consumer
        return consumer

    @property
    def pool(self) -> Pool:
        pool: Pool = self.worker.running.pool
        return pool

    # -- the chore ---------------------------------------------------------------------------------------------------

    def rung(self) -> None:
        """Look soon: at once, unless that was done a moment ago."""
        self.due_at = min(self.due_at, self._looked_at + LEAST_PAUSE_S)

    def returned(self) -> None:
        """Go on from the commands that are there: in a file that was made anew their numbers begin again."""
        self._last = min(self._last, self._commands.last_seen())

    def turn(self) -> None:
        """Carry out the commands since the last look."""
        self._looked_at = now = time.monotonic()
        self.due_at = now + SAFETY_POLL_S
        self._forget_revokes()
        for command in self._commands.after(self._last):
            self._last = command.id
            if self._is_for_us(command):
                with self.worker.ended_by():
                    self._obey(command)

    def _is_for_us(self, command: Command) -> bool:
        if not self._enabled or self.app.clock.now_ms() > command.expires_ms:
            return False
        try:
            return command.destination is None or self.hostname in decode(command.destination)
        except (BadMessage, TypeError):  # a row that another program wrote
            logger.warning("remote control: command %s is for no list of workers: passed over", command.id)
            return False

    def _obey(self, command: Command) -> None:
        answer = self._answer(command)
        if command.wants_reply:
            data = encode(answer, what=f"the answer to {command.name}", limit=LARGEST_REPLY)
            self._commands.reply(command.id, self.heartbeat.worker, self.hostname, data)

    def _answer(self, command: Command) -> Any:
        handler = COMMANDS.get(command.name)
        if handler is None:
            logger.error("remote control: unknown command %r", command.name)
            return {"error": f"unknown command {command.name!r}"}
        try:
            arguments: Mapping[str, Any] = decode(command.arguments)
            answer = handler(self, **arguments)
            encode(answer, what=f"the answer to {command.name}", limit=LARGEST_REPLY)
        except Exception as exc:
            logger.exception("remote control: %s failed", command.name)
            return {"error": repr(exc)}
        return answer

    # -- revoked messages --------------------------------------------------------------------------------------------

    def admit(self, leases: list[Lease], command: int, fresh: list[Lease]) -> list[Lease]:
        """Of leases that were just claimed, those to be executed; revoked ones are settled as such.

        `fresh`: those of them that this worker has not had before. `command`: the newest one that was there when they
        were claimed. A caller that revokes a stamp and then sends a message with it means that message, so earlier
        commands are carried out first.
        """
        if command > self._last:
            self.turn()
        else:  # the claim has looked
            self._looked_at = time.monotonic()
            self.due_at = self._looked_at + SAFETY_POLL_S
        if self._sealed and (ends := put_off_unopened(leases)):
            self.consumer.settle_later(ends)
            put_off = {lease.token for lease, _ in ends}
            leases = [lease for lease in leases if lease.token not in put_off]
            fresh = [lease for lease in fresh if lease.token not in put_off]
        self.worker.hooks.received(fresh)
        if not self.revoked and not self.revoked_stamps:
            return leases
        refused = {lease.token for lease in leases if self.refuses(lease)}
        if refused:
            ends = [(lease, self.cancelled(lease, terminated=False)) for lease in leases if lease.token in refused]
            self.consumer.settle_later(ends)
            leases = [lease for lease in leases if lease.token not in refused]
        return leases

    def stamps_revoked(self, header: str, stamps: Iterable[str]) -> None:
        """Start no message that has one of these stamps (JSON) under `header`."""
        self.revoked_stamps.setdefault(header, Remembered(REVOKES_KEPT_S)).update(stamps)

    def _forget_revokes(self) -> None:
        for remembered in (self.revoked, *self.revoked_stamps.values()):
            remembered.forget()
        self.revoked_stamps = {header: stamps for header, stamps in self.revoked_stamps.items() if stamps}

    def refuses(self, lease: Lease) -> bool:
        """Whether a message was revoked, by its id or by one of its stamps. A run that has begun ends by itself."""
        if lease.flags & Flag.HISTORY:
            return False
        if lease.id in self.revoked:
            return True
        return bool(self.revoked_stamps) and has_stamp(lease, self.revoked_stamps)

    def cancelled(self, lease: Lease, *, terminated: bool, signum: int | None = None) -> Cancel:
        """The outcome of a lease that was revoked; sends the signal `task_revoked`."""
        return revoked_outcome(self.app, lease, self.hostname, terminated=terminated, signum=signum)
