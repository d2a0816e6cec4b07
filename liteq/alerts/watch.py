"""The watch: looks each minute or so, compares with what has been told, and tells what is new or over.

The file keeps what has been told to whom, so any number of watches may run: an alert is told by one of them. Only a
watch that is killed while it tells leaves an alert to be told twice, with the same id.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from liteq.alerts.rules import alerts
from liteq.alerts.targets import TIMEOUT_S, Target, Teller
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured, StorageError
from liteq.storage.operating.alerts import BEGAN, Tell
from liteq.storage.storage import Storage
from liteq.utils.records import NamedTuple
from liteq.utils.text import iso_time, printable

__all__ = ["Watch"]

logger = logging.getLogger("liteq.alerts")

HOLD_S = 2 * TIMEOUT_S  # an alert is told by its taker within this time, or by another
AT_ONCE = 16  # processes, of all targets in equal parts: a cause may have hundreds of alerts
QUIET = 1.5  # looks: an alert that one look has missed may be found by another watch's
PAUSE_S = 0.1  # between two looks whether a target has answered
SHORT_PAUSE_S = 0.02  # where nothing else is to be done
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 600.0
LONGEST_TEXT = 2_000
SMTP = ("smtp://", "smtps://")


class Telling(NamedTuple):
    """A process that tells `target` of `one`; it is given up at `until`, of the monotonic clock."""

    target: Target
    one: Tell
    teller: Teller
    until: float


class Watch:
    """Looks after the file of `app` for `targets`: `turn()` when `due_at` (monotonic seconds) has come.

    A turn takes milliseconds: targets are told by processes. `storage`: where it is not to be the app's own.
    """

    def __init__(
        self,
        app: App,
        targets: Sequence[Target],
        *,
        storage: Storage | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not app.conf.alert_smtp.startswith(SMTP):
            raise ImproperlyConfigured(f"alert_smtp begins with smtp:// or smtps://, not {app.conf.alert_smtp!r:.80}")
        self.app = app
        self.targets = tuple(dict.fromkeys(targets))
        self.due_at = 0.0
        self._given = storage
        self._monotonic = monotonic
        self._look_at = 0.0
        self._tellings: list[Telling] = []
        self._full: list[Target] = []  # that may have more to be told of than the last look took
        self._in_vain = 0

    @property
    def _storage(self) -> Storage:
        return self._given or self.app.storage

    @property
    def tells(self) -> bool:
        """Whether a target is being told."""
        return bool(self._tellings)

    def turn(self) -> None:
        """See how the targets took what they were told; look, where it is time, and tell what is to be told."""
        now = self._monotonic()
        try:
            self._see_ends(now)
            is_time = now >= self._look_at
            if is_time or not all(map(self._n_told, self._full)):
                self._look_at = now + self.app.conf.alert_every if is_time else self._look_at
                self.look()
        except StorageError as exc:
            logger.error("alerts: the queue cannot be used at the moment, trying again: %s", exc)  # noqa: TRY400
        self.due_at = min(self._look_at, now + PAUSE_S) if self._tellings or self._full else self._look_at

    def look(self) -> None:
        """Find what is wrong, and begin to tell what no watch has told, as much as may be told at once."""
        found = {one.key: (one.text, int(one.patience_s * 1000)) for one in alerts(self.app)}
        quiet_s = QUIET * self.app.conf.alert_every
        share = max(1, AT_ONCE // max(1, len(self.targets)))  # one that does not answer keeps no other waiting
        for target in self.targets:
            free = max(0, share - self._n_told(target))
            for one in self._storage.alerts.look(target.digest, found, quiet_s=quiet_s, hold_s=HOLD_S, limit=free):
                self._tell(target, one)
        self._full = [target for target in self.targets if self._n_told(target) >= share]

    def finish(self, within_s: float = TIMEOUT_S) -> None:
        """Wait until what is being told has been told, or `within_s` seconds; then let go of it."""
        give_up = self._monotonic() + within_s
        while self._tellings and self._monotonic() < give_up:
            self._see_ends(self._monotonic())
            time.sleep(SHORT_PAUSE_S)
        for telling in self._tellings:  # another watch tells of it, where this one did not come through
            telling.teller.kill()
            telling.teller.words()
            self._in_vain += 1
        self._tellings = []

    def once(self) -> bool:
        """Look, and tell all of it; whether all targets that were to be told took it."""
        before = self._in_vain
        while True:
            vain = self._in_vain
            self.look()
            n = len(self._tellings)
            self.finish()
            if not self._full or self._in_vain - vain >= n:
                return self._in_vain == before

    def test(self) -> bool:
        """Tell each target of a test, now; whether all of them took it."""
        now_ms = self.app.clock.now_ms()
        one = Tell("test", "this is a test of `liteq alert`", now_ms, now_ms, BEGAN, 0, 0)
        before = self._in_vain
        for target in self.targets:
            self._tell(target, one)
        self.finish()
        return self._in_vain == before

    # -- telling -----------------------------------------------------------------------------------------------------

    def _n_told(self, target: Target) -> int:
        """How many alerts `target` is being told of."""
        return sum(one.target == target for one in self._tellings)

    def _tell(self, target: Target, one: Tell) -> None:
        conf = self.app.conf
        mail = {"smtp": conf.alert_smtp, "from": conf.alert_from or f"liteq@{socket.gethostname()}"}
        try:
            teller = Teller(target, self._document(target, one), mail)
        except OSError as exc:
            self._was_in_vain(target, one, str(exc))
        else:
            self._tellings.append(Telling(target, one, teller, self._monotonic() + TIMEOUT_S))

    def _document(self, target: Target, one: Tell) -> dict[str, Any]:
        began = one.told == BEGAN
        rule, _, subject = one.key.partition(" ")
        about = hashlib.sha256(one.key.encode()).hexdigest()[:8]  # one look may find several of a rule
        return {
            "id": f"{target.digest}-{one.since_ms}-{rule}-{about}-{'alert' if began else 'well'}",
            "event": "alert" if began else "well",
            "rule": rule,
            "subject": subject,
            "text": (one.text if began else f"well again: {one.text}")[:LONGEST_TEXT],
            "since": iso_time(one.since_ms),
            "until": None if began else iso_time(one.seen_ms),
            "app": self.app.main or "liteq",
            "host": socket.gethostname(),
        }

    def _see_ends(self, now: float) -> None:
        """Let go of each telling that has ended. One that cannot be written down is met again: the file was busy."""
        for one in list(self._tellings):
            if self._ended(one, now):
                self._tellings.remove(one)

    def _ended(self, telling: Telling, now: float) -> bool:
        """Whether a telling has ended; what came of it is written down."""
        code = telling.teller.ended()
        if code is None and now < telling.until:
            return False
        if code is None:
            telling.teller.kill()
        words = telling.teller.words()
        if code == 0:
            self._storage.alerts.told(telling.target.digest, telling.one)
            logger.info("alerts: %s was told: %s", telling.target.shown, printable(telling.one.text))
        else:
            why = f"no answer within {TIMEOUT_S:g} s" if code is None else words or f"exit code {code}"
            self._was_in_vain(telling.target, telling.one, why)
        return True

    def _was_in_vain(self, target: Target, one: Tell, why: str) -> None:
        self._in_vain += 1
        again_s = min(FIRST_RETRY_S * 2 ** min(one.tries, 10), LONGEST_RETRY_S)
        logger.warning("alerts: %s was not told (%s); again in %g s or later: %s", target.shown, why, again_s, one.text)
        self._storage.alerts.tell_later(target.digest, one, in_s=again_s)
