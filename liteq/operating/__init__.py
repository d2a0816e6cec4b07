"""The hands of an operator: acts on one message and on many, by the storage's verbs, each noted in the audit.

What may be done is offered by the table of states, and decided once more in the transaction that does it.
"""

from __future__ import annotations

from liteq.operating.acts import ACTIONS, OF_RUNS, Done, act, offered
from liteq.operating.bulk import resume_operation, start, stop
from liteq.operating.preview import Preview, preview
from liteq.storage.operating.audit import Actor

__all__ = [
    "ACTIONS",
    "OF_RUNS",
    "Actor",
    "Done",
    "Preview",
    "act",
    "offered",
    "preview",
    "resume_operation",
    "start",
    "stop",
]
