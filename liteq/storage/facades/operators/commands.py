"""Remote control: requests to workers, their answers, and revoked ids, one transaction a method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from liteq.storage.canvases import cancel as _cancel
from liteq.storage.canvases.cancel import Revoked
from liteq.storage.driver import Bell, Promise
from liteq.storage.facades.base import Facade
from liteq.storage.operating import audit as _audit
from liteq.storage.operating import commands as _commands
from liteq.storage.operating.audit import Actor
from liteq.storage.operating.commands import Command, Reply

__all__ = ["Commands"]

CHUNK = 1_000  # ids of one transaction


class Commands(Facade):
    """Requests to workers, and their answers. Arguments and answers are JSON."""

    def send(
        self, name: str, arguments: bytes, destination: bytes | None = None, *, wants_reply: bool, expires_s: float
    ) -> int:
        """Ask the workers named in `destination` (None: all) for something; the command's number."""
        now_ms = self._clock.now_ms()
        expires_ms = now_ms + int(expires_s * 1000)
        with self._driver.write(Promise.PROGRESS) as tx:
            number = _commands.send(
                tx, name, arguments, destination, wants_reply=wants_reply, expires_ms=expires_ms, now_ms=now_ms
            )
        self._driver.ring(Bell.WORK)
        return number

    def last_seen(self) -> int:
        """The number of the newest command."""
        with self._driver.read() as tx:
            return _commands.last_seen(tx)

    def after(self, number: int) -> list[Command]:
        """The commands that came after the one of this number."""
        with self._driver.read() as tx:
            return _commands.new_commands(tx, number)

    def reply(self, command: int, worker: int, name: str, data: bytes) -> None:
        """Answer a command."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _commands.reply(tx, command, worker, name, data)
        self._driver.ring(Bell.DONE)

    def replies(self, command: int) -> list[Reply]:
        """The answers that are there."""
        with self._driver.read() as tx:
            return _commands.replies(tx, command)

    def revoke(self, ids: Sequence[str], *, keep_s: float, by: Actor | None = None) -> Revoked:
        """Cancel waiting messages; ids that run or are not known are kept as revoked for `keep_s` seconds.

        In chunks: others get their turn in between. `by`: for the audit.
        """
        revoked = Revoked([], [], [])
        for at in range(0, len(ids), CHUNK):
            found = self.revoke_some(ids[at : at + CHUNK], keep_s=keep_s, by=by)
            for known, new in zip(revoked, found, strict=True):
                known.extend(new)
        return revoked

    def revoke_some(self, ids: Sequence[str], *, keep_s: float, by: Actor | None = None) -> Revoked:
        """As `revoke`, in one transaction: the verb that is run again after a conflict, without the chunks before."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            now_ms = self._clock.now_ms()
            found = _cancel.revoke(tx, ids, now_ms=now_ms, keep_ms=int(keep_s * 1000))
            if by is not None:
                _audit.write_of(tx, by, "revoke", ids, now_ms=now_ms)
        self._ring(done=True, work=True)
        return found

    def revoked_ids(self) -> list[str]:
        """The ids that are kept as revoked."""
        with self._driver.read() as tx:
            return _cancel.revoked_ids(tx, now_ms=self._clock.now_ms())

    def revoke_stamps(self, stamps: Iterable[tuple[str, str]], *, keep_s: float) -> None:
        """Keep stamps (header, JSON) as revoked for `keep_s` seconds."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _cancel.revoke_stamps(tx, stamps, now_ms=self._clock.now_ms(), keep_ms=int(keep_s * 1000))

    def revoked_stamps(self) -> list[tuple[str, str]]:
        """The stamps (header, JSON) that are kept as revoked."""
        with self._driver.read() as tx:
            return _cancel.revoked_stamps(tx, now_ms=self._clock.now_ms())
