"""The properties of a row, in one integer column."""

from __future__ import annotations

__all__ = ["DEPTH_SHIFT", "Flag", "depth_of"]


class Flag:
    """The properties of a row in one integer column. Plain integers: an IntFlag's operators cost 0.5 us each."""

    LINKED = 1  # some row awaits it, or a group counts it: settling it must look for what comes next
    IGNORE_RESULT = 2  # its return value is not kept for readers
    TAKES_INPUT = 4  # the result of what it awaits becomes its first argument
    ON_FAILURE = 8  # it runs when what it awaits fails, and vanishes when that succeeds (an errback)
    ALIAS = 16  # runs nothing: it finishes as what it awaits finishes (a replaced message)
    TRACK_STARTED = 32  # STARTED is recorded
    EARLY_ACK = 64  # at most once: a crash while it runs dead-letters it instead of running it again
    REDELIVERED = 128  # its task has rejected it, to have it once more
    SHOWN = 512  # no message: a state that somebody has stored for an id; the message of that id takes its place
    KEPT = 1024  # its row stays when it has succeeded, although nobody may read its result: its id is not used again
    FOLLOWS = 2048  # an ALIAS of what is not its replacement: of the message that holds its unique key, or stood before
    LATE_KEY = 4096  # its options hold a unique key, which it takes when it is unblocked: it may not be needed at all
    PERHAPS = 8192  # an errback, or behind one: it may not be needed; once it has run, it stays for the next failure
    BEGUN = 16384  # it runs at most once, and has begun: if its worker vanishes, it has failed
    CALLBACK = 256  # it awaits what it is linked to, beside the chain, group or chord that that one is in
    # Of durable workflows (docs/adr/0020): above the depth, but for the one that is asked for everywhere.
    RUN = 1 << 15  # its execution is checkpointed: it has a row in liteq_runs, and steps
    STEP = 1 << 40  # of RUN: the function is one step, sent by another run
    # Of RUN, leased: a cancel or a pause waits in liteq_runs.asked; nothing more is checkpointed. Of a task that a run
    # has started, and let go of while it executed: where it is to run again, it ends.
    ASKED = 1 << 41
    HISTORY = 1 << 42  # of RUN: it was activated before, so there is history to read
    CHILD = 1 << 43  # a step row of a run waits for it: its end is copied there; no other end looks
    # Of production (docs/adr/0025): what a plain task does not have.
    PLACED = 1 << 44  # it has, or had, a place under a limit (liteq_slots): whatever ends its lease frees it
    EMITS = 1 << 45  # it has emitted something (liteq_stream)
    UNSTARTED = 1 << 46  # its unique key excludes others until it starts: the claim takes it away
    ALONE = 1 << 47  # its worker vanished with it: it is executed in no batch with others, which it may take along
    BATCH = 1 << 48  # leased: it stands for a batch (`Lease.run`), which a pool executes as one
    # Of what is kept beside the row (liteq_cursors, liteq_logs, liteq_run_tags).
    CURSOR = 1 << 49  # it has saved a cursor, which goes when it succeeds
    LOGS = 1 << 50  # its sender wants its log kept, or lines of it are
    TAGGED = 1 << 51  # it has tags
    ASIDE = 1 << 52  # of PERHAPS: its options name what had its id before, and gets it back where this is not needed
    FILED = 1 << 53  # leased, in a pool that several files share: `Lease.run` has the file's URL before its own
    CHILDREN = 1 << 54  # the results that its body has made are kept beside its own (liteq_children)
    CAUSE = 1 << 56  # it awaits a group: where that fails it has the error of the first member that did, no ChordError
    REPLICATED = 1 << 55  # its sender waits until its commit is at Litestream's remote (sending/replicated.py)
    BECAME = 1 << 57  # it is another message than was sent (RetryAt): its task, and what it awaits, may be others
    LEFT = 1 << 58  # scheduled: the worker that had it last cannot run it, and lets others take it first


DEPTH_SHIFT = 16  # from this bit on, the column says in how many groups the row stands
DEPTH_MASK = (1 << 24) - 1  # ... up to the flags above


def depth_of(flags: int) -> int:
    """In how many groups a row with these flags stands."""
    return flags >> DEPTH_SHIFT & DEPTH_MASK
