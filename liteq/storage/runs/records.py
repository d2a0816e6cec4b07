"""The data that readers and writers of runs exchange with the storage. Times are ms since the epoch, documents JSON."""

from __future__ import annotations

import re
from decimal import Decimal

from liteq.message import RunFacts, StepRow, new_id
from liteq.utils.records import NamedTuple

__all__ = [
    "ASIDE", "CANCEL", "DONE", "END", "ENDED", "FORK", "HOLES", "NO_CODE", "REWOUND", "STATUSES", "UNDONE", "Approval",
    "Asked", "Event", "History", "Intent", "Memo", "MemoEntry", "MemoStats", "MemoTaken", "RunRecord", "RunStep",
    "RunsWaiting", "Started", "aside", "doubt_scope", "id_aside", "in_place", "own_id",
]  # fmt: skip


STATUSES = ("queued", "running", "waiting", "paused", "stuck", "succeeded", "failed", "cancelled")
ENDED = frozenset({"succeeded", "failed", "cancelled"})
ADDED = re.compile(r"(?<=.)~[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.DOTALL)  # by `id_aside`
Event = tuple[str, bytes]  # its name, its payload (JSON)


class Started(NamedTuple):
    """The effect of a start: the run's `id`, and whether it is `new`."""

    id: str
    new: bool


# A mark of a fork, with the id of the run whose steps it has kept. The NUL keeps it out of the list of patches.
FORK = "\0fork "
# A mark of a rewound run, with the number of rewinds that have forgotten a step: what its transactional steps left in
# another database under a lower number is ignored.
REWOUND = "\0rewound "
# SCOPE/POS follows: the place at which the body was told of a cancel, or behind which it was told that a handle had
# ended (DONE) or had not (UNDONE).
CANCEL = "\0cancel "
END = "!"  # behind SCOPE: the body was told at the end of a saga's block, not at the call of that place
DONE = "\0done "
UNDONE = "\0undone "
# A mark of a run, with the number of the last retry that has set steps aside: those that the body did behind the failed
# one. A call that is made again takes its row back.
ASIDE = "\0aside "
# A mark of a run that was retried, rewound or forked, with a position: of the calls of its body before that some were
# forgotten, and are made again; 0: none. No other history has such a hole, but for one that older code has cut: of that
# it is not known.
HOLES = "\0holes "
# Stands among the fingerprints of the code that a run got stuck with: none tries it. It was imported, and is resumed.
NO_CODE = "*"


def doubt_scope(place: tuple[str, int]) -> str:
    """The scope of the questions about the step at `place`; their positions are how often it was begun, from 1."""
    return f"{place[0]}?{place[1]}"


def aside(scope: str, retry: int) -> str:
    """The scope of those steps of `scope` that the retry number `retry` has set aside."""
    return f"~{retry}~{scope}"


def in_place(scope: str) -> str | None:
    """The scope in which steps stood that stand aside in `scope`; None where no steps stand aside there."""
    return scope[1:].partition("~")[2] if scope.startswith("~") else None


def id_aside(id_: str) -> str:
    """An id for the child of a call that stands aside: its own, and behind it something that nobody else has."""
    return f"{id_}~{new_id()}"


def own_id(id_: str) -> str:
    """The id that a child had before it got `id_` by `id_aside`; `id_` itself for another one."""
    return ADDED.sub("", id_)


class Asked(NamedTuple):
    """A request to a run that executes, to be obeyed after the write that told it: "cancel", "pause", "timeout"."""

    what: str
    reason: str = ""


class History(NamedTuple):
    """The past of a run in its present generation: one snapshot. `steps` are in the order of their places."""

    facts: RunFacts
    steps: list[StepRow]
    marks: frozenset[str]


class Intent(NamedTuple):
    """A step that was begun, `begun` times, and whose end is not known. `step_key`: the key that it has for others."""

    name: str
    step_key: str
    begun: int
    began_ms: int


class Memo(NamedTuple):
    """The place of a result in the memo: how long it holds (None: for ever), and the tag of those that share it.

    `scope`: "" where all runs do. `spent`: what computing it has cost, a JSON array of objects as `ctx.spend` was told.
    """

    key: str
    holds_ms: int | None = None
    scope: str = ""
    spent: bytes | None = None


class MemoTaken(NamedTuple):
    """The answer to a look into the memo.

    `output`: JSON, what is stored. None: nothing is; then `mine` says whether this run is to compute it, and the claim
    holds exactly as long as its lease. Not mine: another run computes it at the moment. `spent`: as of a Memo.
    """

    output: bytes | None
    mine: bool
    spent: bytes | None = None


class RunRecord(NamedTuple):
    """A run as a reader sees it.

    `status`: one of STATUSES. `waiting_for`: "event go" "approval TITLE" "child ID" "timer" "memo NAME" "limit KEY"
    "slot". `now`: JSON of what its worker says that it executes. `number` is the mark behind which a list goes on.
    """

    number: int
    id: str
    name: str
    status: str
    version: str
    gen: int
    queue: str
    priority: int
    payload: bytes
    options: bytes | None
    result: bytes | None
    error: bytes | None
    due_ms: int | None
    parent_id: str | None
    root_id: str | None
    forked_from: str | None
    is_step: bool
    asked: str | None
    reason: str
    fingerprint: str | None
    now: bytes | None
    created_ms: int
    started_ms: int | None
    finished_ms: int | None
    deadline_ms: int | None
    flags: int = 0
    tags: tuple[str, ...] = ()
    waiting_for: tuple[str, ...] = ()


class RunStep(NamedTuple):
    """One step of a run, in the order in which they began: `n` counts from 1 over all generations that are kept.

    `status`: done failed running retrying waiting timed_out cancelled.
    """

    n: int
    gen: int
    status: str
    row: StepRow


class Approval(NamedTuple):
    """An open request for a person's decision. `details`: the JSON that the request was made with."""

    run_id: str
    title: str
    details: bytes | None
    since_ms: int
    due_ms: int | None


class RunsWaiting(NamedTuple):
    """How many runs wait for something, are paused, are stuck, and how many approvals are open, the oldest since when.

    Of each no more than about a thousand are counted.
    """

    waiting: int
    paused: int
    stuck: int
    approvals: int
    since_ms: int | None


class MemoStats(NamedTuple):
    """The memo of one step: how many results are kept, how often they have answered, their bytes.

    `saved`: what these answers did not spend, None for nothing that has a price. `open`: how many are being computed.
    """

    name: str
    entries: int
    hits: int
    size: int
    saved: Decimal | None
    open: int


class MemoEntry(NamedTuple):
    """A result that is kept. `output` is JSON; None where it was not asked for."""

    key: str
    name: str
    scope: str
    size: int
    hits: int
    saved: Decimal | None
    created_ms: int
    expires_ms: int | None
    output: bytes | None = None
