"""The parts of `Storage`, by subject: `storage.reader`, `storage.dead`, `storage.groups`, `storage.schedules`, ...

No SQL here: the SQL of a verb is in the file that bears its name.
"""

from __future__ import annotations

from liteq.storage.facades.calls import PlainCalls
from liteq.storage.facades.dead import DeadLetters
from liteq.storage.facades.groups import Groups, SavedGroups
from liteq.storage.facades.operators.commands import Commands
from liteq.storage.facades.operators.workers import Workers
from liteq.storage.facades.parts import Parts
from liteq.storage.facades.reading.events import Events
from liteq.storage.facades.reading.reader import Reader
from liteq.storage.facades.schedules import Schedules

__all__ = [
    "Commands",
    "DeadLetters",
    "Events",
    "Groups",
    "Parts",
    "PlainCalls",
    "Reader",
    "SavedGroups",
    "Schedules",
    "Workers",
]
