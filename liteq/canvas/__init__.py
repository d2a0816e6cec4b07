"""The canvas: calls as values, and the values that are made of them. `liteq.sending.compile` turns them into rows.

task  --s()-->  Signature  --|, chain, group, chord-->  Signature  --delay()-->  AsyncResult
"""

from __future__ import annotations

from liteq.canvas.algebra import chain
from liteq.canvas.compat.stamping import Stamper, StampingVisitor
from liteq.canvas.eager import evaluate
from liteq.canvas.lazy import LazyTasks
from liteq.canvas.maps import ACCUMULATE, CHUNKS, MAP, STARMAP, chunks, xmap, xstarmap
from liteq.canvas.node import Node
from liteq.canvas.options import as_list, merged_options
from liteq.canvas.primitives import _chain, _chord, chord, group, is_void
from liteq.canvas.signature import Signature, maybe_signature, signature

Signature.stamper = Stamper
subtask = signature  # Celery's older name
maybe_subtask = maybe_signature

__all__ = [
    "ACCUMULATE",
    "CHUNKS",
    "MAP",
    "STARMAP",
    "LazyTasks",
    "Node",
    "Signature",
    "StampingVisitor",
    "_chain",
    "_chord",
    "as_list",
    "chain",
    "chord",
    "chunks",
    "evaluate",
    "group",
    "is_void",
    "maybe_signature",
    "maybe_subtask",
    "merged_options",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
