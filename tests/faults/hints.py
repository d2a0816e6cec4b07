"""The hints of locks in the verbs, each with the tests that fail without it, on an engine with several writers.

SQLite reads a hint as a comment: there none of these can fail. So they are tried with `LITEQ_TEST_URL`:

    LITEQ_TEST_URL='postgresql:///db?schema={name}' python -m tests.faults.hints [WORD]

A hint is named by its constant. TURNS are what has no row to lock: a turn that is waited for.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from ..conformance.stores import MANY_WRITERS
from .mutants import already_red, copy_to, run_in

__all__ = ["HINTS", "PATTERN", "TURNS", "UNTRIED", "constant_in", "without_hint"]

STORAGE: Final = Path("liteq") / "storage"
PATTERN: Final = re.compile(r" ?\n? *\{(?:SKIP_LOCKED|LOCK)\}")
SUITE: Final = "../conformance/interleaved/"
MESSAGES, CANVASES = "test_messages.py::test_", "test_canvases.py::test_"
RUNS, LIMITS, UPKEEP = "test_runs.py::test_", "test_limits.py::test_", "test_upkeep.py::test_"

HINTS: Final[dict[str, tuple[str, ...]]] = {
    "claim.NEXT": (MESSAGES + "two_claims_share_what_is_there",),
    "claim.DUE": (MESSAGES + "what_comes_due_is_claimed_once",),
    "admit.PENDING": (LIMITS + "two_workers_with_rates_of_their_own_share_what_is_there",),
    "rates.WAKE": (LIMITS + "what_a_workers_own_rate_held_is_woken_by_one",),
    "reap.OF_WORKER": (MESSAGES + "two_reapers_end_a_lease_once", CANVASES + "two_reapers_count_a_group_down_once"),
    "reap.EXPIRED": (CANVASES + "two_reapers_count_a_group_down_once",),
    "cancel.PURGEABLE": (MESSAGES + "a_purge_deletes_nothing_that_is_claimed",),
    "cancel.ALIVE": (MESSAGES + "a_cancel_misses_no_message_that_goes_back",),
    "continuation.AWAITING": (CANVASES + "a_member_that_is_cancelled_while_what_it_awaits_fails_ends_once",),
    "enqueue.IS_MESSAGE": (CANVASES + "what_is_sent_behind_a_task_that_ends_waits_for_nothing",),
    "unique.HOLDER": (MESSAGES + "a_unique_key_that_is_given_back_is_taken_or_stood_for",),
    "retention.MESSAGES": (MESSAGES + "what_is_sent_behind_a_finished_message_finds_it_or_is_refused",),
    "steps.suspend.STATE": (RUNS + "an_event_wakes_a_run_that_is_about_to_wait_for_it",),
    "steps.rows.HELD": (RUNS + "a_checkpoint_is_written_only_under_its_lease",),
    "runs.executing.HELD_BY": (RUNS + "a_checkpoint_is_written_only_under_its_lease",),
    "operations.HOLD": (UPKEEP + "an_operation_that_is_stopped_does_no_chunk_behind_that",),
    "acting.LOCKED": (MESSAGES + "an_operator_acts_on_a_message_as_it_is_now",),
    "cursors.HELD": (MESSAGES + "a_cursor_is_kept_only_under_its_lease",),
    "task_logs.HELD": (MESSAGES + "a_chunk_is_emitted_only_under_its_lease",),
    "streams.HELD": (MESSAGES + "a_chunk_is_emitted_only_under_its_lease",),
}

# A defence, its file, its text, and the tests.
TURNS: Final[tuple[tuple[str, str, str, tuple[str, ...]], ...]] = (
    (
        "limits are looked at in turn", "limits/keys.py", '    tx.in_turn("liteq_limits")\n',
        (
            LIMITS + "two_claims_do_not_exceed_the_places_of_a_key",
            LIMITS + "a_place_that_is_freed_while_another_is_held_back_is_handed_on",
        ),
    ),
    (
        "a memo is waited for and stored in turn", "steps/wake.py", '    tx.in_turn(f"liteq_memo {key}")\n',
        (RUNS + "a_memo_that_is_stored_wakes_a_run_that_is_about_to_wait_for_it",
         RUNS + "of_two_runs_that_want_a_memo_one_computes_it"),
    ),
    (
        "events are numbered in turn", "event_log.py", '    tx.in_turn("liteq_events")\n',
        (UPKEEP + "a_follower_of_events_misses_none",),
    ),
    (
        "commands are numbered in turn", "commands.py", '    tx.in_turn("liteq_commands")\n',
        (UPKEEP + "a_follower_of_commands_misses_none",),
    ),
)  # fmt: skip

SIMILAR = "two verbs that meet in it have no test yet"
TRIED = "its pair has a test, which has not failed without it: another lock, or its order, covers that one"
CHUNKS = "upkeep in chunks: without it a chunk waits, and does nothing wrong"
BEHIND = "what leads to it has locked the row already"
UNTRIED: Final[dict[str, str]] = {
    "audit.EXPIRE": CHUNKS,
    "batches.EXPIRE": CHUNKS,
    "cancel.STATE": SIMILAR,
    "cap.COUNTDOWNS": CHUNKS,
    "cap.STEPS": CHUNKS,
    "causes.EXPIRED": CHUNKS,
    "continuation.GROUP_STATE": BEHIND,
    "continuation.STATE_OF": BEHIND,
    "enqueue.IS_GROUP": SIMILAR,
    "event_log.TRIM": CHUNKS,
    "follow.HOLDER": SIMILAR,
    "limits.keys.PRUNE": CHUNKS,
    "limits.keys.STATE": BEHIND,
    "marks.EXPIRE": CHUNKS,
    "operations.EXPIRE": CHUNKS,
    "periodic.OWNED": BEHIND,
    "reseal.READ": SIMILAR,
    "retention.DEAD": CHUNKS,
    "retention.GROUPS": CHUNKS,
    "revive.KEYED": SIMILAR,
    "runs.asks.RUN": TRIED,
    "runs.memo.CLAIMED": SIMILAR,
    "runs.memo.EXPIRE": CHUNKS,
    "runs.retention.ENDED": CHUNKS,
    "runs.retention.FAILED": CHUNKS,
    "runs.retention.LOST_EVENTS": CHUNKS,
    "runs.retention.OLD": CHUNKS,
    "runs.starting.RUN": TRIED,
    "runs.stuck.STUCK": CHUNKS,
    "runs.terminating.ALIVE": SIMILAR,
    "sends.EXPIRE": CHUNKS,
    "sends.LOCKED": TRIED,
    "settle.FLAGS": SIMILAR,
    "standing.GROUP": SIMILAR,
    "standing.ROW": TRIED,
    "stats.HELD": TRIED,
    "steps.activation.FACTS": BEHIND,
    "steps.suspend.IN_INBOX": BEHIND,
    "steps.wake.NEXT_OF_SLOT": SIMILAR,
    "steps.wake.WAITING": BEHIND,
    "steps.wake.WAITS_FOR_CHILD": TRIED,
    "task_logs.DUE": CHUNKS,
    "unique.IS_THERE": SIMILAR,
    "unique.OVER": CHUNKS,
}


def constant_in(source: str, name: str) -> tuple[int, int]:
    """The first and the last line of the constant of this name."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node.lineno, node.end_lineno or node.lineno
    raise LookupError(name)


def without_hint(source: str, name: str) -> str:
    """`source` without the hint of a constant."""
    first, last = constant_in(source, name)
    lines = source.splitlines(keepends=True)
    text = "".join(lines[first - 1 : last])
    assert PATTERN.search(text), f"{name} has no hint"
    return "".join([*lines[: first - 1], PATTERN.sub("", text), *lines[last:]])


class Try(NamedTuple):
    """A change of a file of the storage, and the tests of the interleaved suite that must fail then."""

    name: str
    file: Path
    change: Callable[[str], str]
    tests: tuple[str, ...]


def all_tries() -> list[Try]:
    tries = []
    for dotted, tests in HINTS.items():
        module, _, constant = dotted.rpartition(".")
        file = STORAGE / (module.replace(".", "/") + ".py")
        tries.append(Try(dotted, file, lambda text, constant=constant: without_hint(text, constant), tests))
    for name, turn_file, old, tests in TURNS:
        stands = old.replace(old.strip(), "pass")
        tries.append(Try(name, STORAGE / turn_file, lambda text, old=old, new=stands: text.replace(old, new, 1), tests))
    return tries


def try_out(one: Try) -> str:
    """The verdict, as of `mutants`: noticed where each of the tests fails."""
    with tempfile.TemporaryDirectory(prefix="hint-") as folder:
        copy_to(Path(folder))
        path = Path(folder) / one.file
        text = path.read_text()
        changed = one.change(text)
        if changed == text:
            return "stale"
        path.write_text(changed)
        verdicts = {test: run_in(Path(folder), SUITE + test) for test in one.tests}
    return ", ".join(f"{verdict} by {test}" for test, verdict in verdicts.items() if verdict != "noticed") or "noticed"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hints", description=__doc__)
    parser.add_argument("word", nargs="?", default="")
    chosen = [one for one in all_tries() if parser.parse_args().word in one.name]
    if not MANY_WRITERS:
        print("no hint can be missed with one writer: set LITEQ_TEST_URL to an engine with several")
        return 1
    red = already_red(list(dict.fromkeys(SUITE + test for one in chosen for test in one.tests)))
    if red:
        print(f"these fail without any change: {red}")
        return 1
    bad = 0
    for one in chosen:
        verdict = try_out(one)
        bad += verdict != "noticed"
        print(f"{verdict}: {one.name}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} noticed")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
