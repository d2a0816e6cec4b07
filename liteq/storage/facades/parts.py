"""The parts of `Storage` that need nothing of it but the driver and the clock."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from liteq.clock import Clock
from liteq.storage.driver import Driver
from liteq.storage.facades.dead import DeadLetters
from liteq.storage.facades.groups import SavedGroups
from liteq.storage.facades.operators.commands import Commands
from liteq.storage.facades.operators.workers import Workers
from liteq.storage.facades.reading.events import Events
from liteq.storage.facades.reading.reader import Reader
from liteq.storage.facades.schedules import Schedules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from liteq.message import Message
    from liteq.storage.facades.exchanges import Exchanges
    from liteq.storage.facades.keeping.conversations import Conversations
    from liteq.storage.facades.keeping.graphs import Graphs
    from liteq.storage.facades.keeping.kept import Kept
    from liteq.storage.facades.leases import Leases
    from liteq.storage.facades.operators.alerts import Alerts
    from liteq.storage.facades.operators.audit import Audit
    from liteq.storage.facades.operators.limits import Limits
    from liteq.storage.facades.operators.queues import Queues
    from liteq.storage.facades.operators.values import Values
    from liteq.storage.facades.reading.batches import Batches
    from liteq.storage.facades.reading.spending import Spending
    from liteq.storage.facades.reading.stats import Causes, Stats
    from liteq.storage.facades.reading.streams import Streams
    from liteq.storage.facades.reading.views import Views
    from liteq.storage.facades.sends import Sends
    from liteq.storage.statistics.attempts import AttemptRecord

__all__ = ["Parts"]


class Parts:
    """The attributes of a `Storage` by which its parts are called.

    A program that sends tasks has no use for those of an operator: each of them is loaded at its first use.
    """

    driver: Driver
    clock: Clock

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self.reader = Reader(driver, clock)
        self.dead = DeadLetters(driver, clock)
        self.schedules = Schedules(driver, clock)
        self.commands = Commands(driver, clock)
        self.saved_groups = SavedGroups(driver, clock)
        self.workers = Workers(driver, clock)
        self.events = Events(driver, clock)

    def _events_of(self, messages: Sequence[Message]) -> Sequence[bytes]:
        """The events of messages that are sent."""
        raise NotImplementedError

    @cached_property
    def views(self) -> Views:
        """Reads for people and monitors."""
        from liteq.storage.facades.reading.views import Views

        return Views(self.driver, self.clock)

    @cached_property
    def alerts(self) -> Alerts:
        """The alerts that have been told of."""
        from liteq.storage.facades.operators.alerts import Alerts

        return Alerts(self.driver, self.clock)

    @cached_property
    def limits(self) -> Limits:
        """The limits by key."""
        from liteq.storage.facades.operators.limits import Limits

        return Limits(self.driver, self.clock)

    @cached_property
    def spending(self) -> Spending:
        """Usage, and the budgets of tags."""
        from liteq.storage.facades.reading.spending import Spending

        return Spending(self.driver, self.clock)

    @cached_property
    def queues(self) -> Queues:
        """The pauses of queues."""
        from liteq.storage.facades.operators.queues import Queues

        return Queues(self.driver, self.clock)

    @cached_property
    def audit(self) -> Audit:
        """The notes of what people and programs did."""
        from liteq.storage.facades.operators.audit import Audit

        return Audit(self.driver, self.clock)

    @cached_property
    def batches(self) -> Batches:
        """Which messages were executed together."""
        from liteq.storage.facades.reading.batches import Batches

        return Batches(self.driver, self.clock)

    @cached_property
    def stats(self) -> Stats:
        """The sums of what became of tasks."""
        from liteq.storage.facades.reading.stats import Stats

        return Stats(self.driver, self.clock)

    @cached_property
    def causes(self) -> Causes:
        """The causes of failures."""
        from liteq.storage.facades.reading.stats import Causes

        return Causes(self.driver, self.clock)

    @cached_property
    def sends(self) -> Sends:
        """Very many calls, part by part."""
        from liteq.storage.facades.sends import Sends

        return Sends(self.driver, self.clock, self._events_of)

    @cached_property
    def streams(self) -> Streams:
        """The chunks that tasks and runs emit."""
        from liteq.storage.facades.reading.streams import Streams

        return Streams(self.driver, self.clock)

    @cached_property
    def kept(self) -> Kept:
        """The cursors and logs of tasks that run."""
        from liteq.storage.facades.keeping.kept import Kept

        return Kept(self.driver, self.clock)

    @cached_property
    def graphs(self) -> Graphs:
        """The checkpoints and items of LangGraph."""
        from liteq.storage.facades.keeping.graphs import Graphs

        return Graphs(self.driver, self.clock)

    @cached_property
    def leases(self) -> Leases:
        """Leases: by their number and token, and with more than their outcomes."""
        from liteq.storage.facades.leases import Leases

        return Leases(self.driver, self.clock, self._events_of)

    @cached_property
    def exchanges(self) -> Exchanges:
        """Bindings of exchanges, and messages that pass."""
        from liteq.storage.facades.exchanges import Exchanges

        return Exchanges(self.driver, self.clock)

    @cached_property
    def values(self) -> Values:
        """The values that a payload codec seals."""
        from liteq.storage.facades.operators.values import Values

        return Values(self.driver, self.clock)

    @property
    def attempts(self) -> Callable[[str], Sequence[AttemptRecord]]:
        """Called with an id: the attempts of that message."""
        return self.causes.attempts

    @cached_property
    def conversations(self) -> Conversations:
        """The conversations of agents."""
        from liteq.storage.facades.keeping.conversations import Conversations

        return Conversations(self.driver, self.clock)
