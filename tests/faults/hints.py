"""The hints of locks in the verbs, each with the tests that fail without it, on an engine with several writers.

SQLite reads a hint as a comment: there none of these can fail. So they are tried on a PostgreSQL server, whose driver
is kept from seeing one:

    python -m tests.faults.hints [WORD]

A hint is named by its constant. TURNS are what has no row to lock: a turn that is waited for, by the beginning of its
name.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from liteq.storage.driver import LOCK, SKIP_LOCKED

from .. import servers

__all__ = ["HINTS", "PATTERN", "TURNS", "UNTRIED", "WITHOUT", "failing_without", "take_away", "texts_of", "verdict"]

ROOT: Final = Path(__file__).resolve().parents[2]
PATTERN: Final = re.compile(r"\{(?:SKIP_LOCKED|LOCK)\}")
SUITE: Final = "tests/conformance/interleaved/"
WITHOUT: Final = "LITEQ_TEST_WITHOUT"  # the hint or turn that a run of the suite goes without
MESSAGES, CANVASES = "test_messages.py::test_", "test_canvases.py::test_"
RUNS, LIMITS, UPKEEP = "test_runs.py::test_", "test_limits.py::test_", "test_upkeep.py::test_"
GRAPHS, SPENDING = "test_graphs.py::test_", "test_spending.py::test_"

HINTS: Final[dict[str, tuple[str, ...]]] = {
    "claiming.claim.NEXT": (MESSAGES + "two_claims_share_what_is_there",),
    "claiming.claim.DUE": (MESSAGES + "what_comes_due_is_claimed_once",),
    "claiming.admit.PENDING": (LIMITS + "two_workers_with_rates_of_their_own_share_what_is_there",),
    "claiming.rates.WAKE": (LIMITS + "what_a_workers_own_rate_held_is_woken_by_one",),
    "limits.lines.HEAD": (LIMITS + "what_leaves_its_line_while_it_is_claimed_is_not_leased",),
    "claiming.reap.OF_WORKER": (
        MESSAGES + "two_reapers_end_a_lease_once",
        CANVASES + "two_reapers_count_a_group_down_once",
    ),
    "claiming.reap.EXPIRED": (CANVASES + "two_reapers_count_a_group_down_once",),
    "canvases.cancel.PURGEABLE": (MESSAGES + "a_purge_deletes_nothing_that_is_claimed",),
    "canvases.cancel.STATE": (MESSAGES + "what_leaves_while_it_is_revoked_is_kept_as_revoked",),
    "canvases.cancel.ALIVE": (MESSAGES + "a_cancel_misses_no_message_that_goes_back",),
    "canvases.continuation.AWAITING": (CANVASES + "a_member_that_is_cancelled_while_what_it_awaits_fails_ends_once",),
    "sending.enqueue.IS_GROUP": (CANVASES + "what_is_sent_behind_a_finished_group_finds_it_or_is_refused",),
    "sending.enqueue.IS_MESSAGE": (CANVASES + "what_is_sent_behind_a_task_that_ends_waits_for_nothing",),
    "canvases.follow.HOLDER": (CANVASES + "an_errback_takes_a_key_that_is_given_back_or_follows",),
    "sending.unique.HOLDER": (MESSAGES + "a_unique_key_that_is_given_back_is_taken_or_stood_for",),
    "rows.needed.HOLD": (MESSAGES + "what_is_sent_behind_a_finished_message_finds_it_or_is_refused",),
    "housekeeping.retention.GROUPS": (CANVASES + "what_is_sent_behind_a_finished_group_finds_it_or_is_refused",),
    "housekeeping.retention.DEAD": (MESSAGES + "what_is_sent_behind_a_finished_message_finds_it_or_is_refused",),
    "housekeeping.retention.MESSAGES": (MESSAGES + "what_is_sent_behind_a_finished_message_finds_it_or_is_refused",),
    "steps.suspend.STATE": (RUNS + "an_event_wakes_a_run_that_is_about_to_wait_for_it",),
    "steps.rows.HELD": (RUNS + "a_checkpoint_is_written_only_under_its_lease",),
    "kept.conversations.LOCKED": (
        "test_conversations.py::test_of_two_that_save_the_same_revision_one_is_told_to_look_again",
    ),
    "kept.conversations.HOLD": (
        "test_conversations.py::test_a_fork_of_a_conversation_that_is_deleted_has_its_messages_or_is_refused",
        "test_conversations.py::test_what_two_deleted_conversations_shared_is_gone",
    ),
    "graphs.items.EXPIRE": (GRAPHS + "what_is_stored_anew_while_it_expires_is_there",),
    "runs.memo.EXPIRE": (GRAPHS + "what_is_stored_anew_while_it_expires_is_there",),
    "sending.sends.EXPIRE": (MESSAGES + "a_name_under_which_more_is_sent_while_it_expires_is_known",),
    "runs.asks.RUN": (RUNS + "a_run_that_is_paused_while_it_begins_to_wait_is_not_woken",),
    "runs.memo.CLAIMED": (RUNS + "a_memo_is_computed_by_another_once_the_lease_of_the_first_has_ended",),
    "runs.terminating.ALIVE": (RUNS + "a_run_ends_or_is_terminated",),
    "runs.executing.HELD_BY": (RUNS + "a_checkpoint_is_written_only_under_its_lease",),
    "housekeeping.reseal.READ": (UPKEEP + "a_rotation_of_keys_takes_nothing_back_that_is_written_meanwhile",),
    "operating.operations.HOLD": (UPKEEP + "an_operation_that_is_stopped_does_no_chunk_behind_that",),
    "operating.acting.LOCKED": (MESSAGES + "an_operator_acts_on_a_message_as_it_is_now",),
    "kept.cursors.HELD": (MESSAGES + "a_cursor_is_kept_only_under_its_lease",),
    "kept.task_logs.HELD": (MESSAGES + "a_chunk_is_emitted_only_under_its_lease",),
    "statistics.stats.HELD": (UPKEEP + "both_of_two_sums_are_added",),
    "groups.open_groups.COUNTS": (CANVASES + "a_member_that_comes_while_its_group_closes_is_counted_once",),
    "settling.outcomes.FLAGS": (MESSAGES + "a_chunk_is_emitted_only_under_its_lease",),
    "runs.starting.RUN": (RUNS + "an_event_wakes_a_run_that_is_about_to_wait_for_it",),
    "kept.streams.HELD": (MESSAGES + "a_chunk_is_emitted_only_under_its_lease",),
}

TURNS: Final[dict[str, tuple[str, ...]]] = {
    "liteq_marks": (UPKEEP + "the_start_of_a_release_is_marked_once",),
    "liteq_workers": (UPKEEP + "two_workers_that_enter_at_once_see_each_other",),
    "liteq_limits": (
        SPENDING + "two_attempts_do_not_hold_more_than_there_is",
        SPENDING + "a_budget_that_is_changed_while_an_attempt_begins_holds_for_it_or_does_not",
        LIMITS + "two_claims_do_not_exceed_the_places_of_a_key",
        LIMITS + "a_place_that_is_freed_while_another_is_held_back_is_handed_on",
        LIMITS + "the_last_place_is_taken_by_one_step",
        LIMITS + "a_rate_that_is_set_beside_a_number_leaves_that",
        LIMITS + "what_is_claimed_while_a_limit_is_set_counts",
    ),
    "liteq_graphs": (
        GRAPHS + "a_checkpoint_that_comes_while_others_are_pruned_keeps_its_values",
        GRAPHS + "a_branch_that_leaves_an_older_checkpoint_while_it_is_pruned_has_its_list",
        GRAPHS + "a_value_that_two_replace_gives_its_blobs_back_once",
        GRAPHS + "a_special_write_that_two_replace_gives_its_blob_back_once",
        GRAPHS + "a_thread_is_copied_whole_while_it_goes_on",
    ),
    "liteq_memo": (
        RUNS + "a_memo_that_is_stored_wakes_a_run_that_is_about_to_wait_for_it",
        RUNS + "of_two_runs_that_want_a_memo_one_computes_it",
    ),
    "liteq_events": (UPKEEP + "a_follower_of_events_misses_none",),
    "liteq_commands": (UPKEEP + "a_follower_of_commands_misses_none",),
    "liteq_passing": (UPKEEP + "a_listener_misses_no_message_that_passes",),
    "liteq_stats": (
        UPKEEP + "both_of_two_sums_are_added",
        UPKEEP + "each_minute_is_put_into_its_hour_once",
    ),
    "liteq_sessions": ("test_sessions.py::test_two_that_take_at_once_take_different_items",),
}

CHUNKS = "upkeep in chunks: without it a chunk waits, and does nothing wrong"
BEHIND = "what leads to it has locked the row already, or a turn is waited for"
INSERTED = "an INSERT of the same id or name waits for the other, and the verb looks again behind it"
ORDER = (
    "it keeps the order of locks: an UPDATE behind it waits as well, perhaps in a deadlock, after which one runs again"
)
UNTRIED: Final[dict[str, str]] = {
    "operating.audit.EXPIRE": CHUNKS,
    "statistics.batches.EXPIRE": CHUNKS,
    "housekeeping.cap.COUNTDOWNS": CHUNKS,
    "housekeeping.cap.STEPS": CHUNKS,
    "statistics.causes.EXPIRED": CHUNKS,
    "canvases.continuation.GROUP_STATE": BEHIND,
    "canvases.continuation.STATE_OF": BEHIND,
    "statistics.event_log.TRIM": CHUNKS,
    "limits.keys.PRUNE": CHUNKS,
    "limits.keys.STATE": BEHIND,
    "operating.marks.EXPIRE": CHUNKS,
    "sending.passing.TRIM": CHUNKS,
    "operating.operations.EXPIRE": CHUNKS,
    "sending.periodic.OWNED": "each entry is put and deleted by its name: two that do so end alike",
    "canvases.revive.KEYED": "of a row that has gone meanwhile nothing is changed behind it",
    "housekeeping.retention.PLACES": CHUNKS,
    "runs.retention.ENDED": CHUNKS,
    "runs.retention.FAILED": CHUNKS,
    "runs.retention.LOST_EVENTS": CHUNKS,
    "runs.retention.OLD": CHUNKS,
    "runs.stuck.STUCK": CHUNKS,
    "sending.sends.LOCKED": INSERTED,
    "canvases.standing.GROUP": INSERTED,
    "canvases.standing.ROW": INSERTED,
    "steps.activation.FACTS": BEHIND,
    "steps.suspend.IN_INBOX": BEHIND,
    "steps.wake.NEXT_OF_SLOT": BEHIND,
    "steps.wake.WAITING": BEHIND,
    "steps.wake.WAITS_FOR_CHILD": ORDER,
    "kept.task_logs.DUE": CHUNKS,
    "sending.unique.IS_THERE": "its statement is that of sending.enqueue.IS_MESSAGE, and goes with it",
    "sending.unique.OVER": CHUNKS,
}


def texts_of(name: str) -> set[str]:
    """The statements with a hint, or their ends, that the constant of this name holds."""
    module, _, constant = name.rpartition(".")
    return set(_hinted(getattr(importlib.import_module(f"liteq.storage.{module}"), constant)))


def _hinted(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if LOCK in value or SKIP_LOCKED in value:
            yield value
    elif isinstance(value, Mapping):
        yield from _hinted(list(value.values()))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _hinted(one)


def take_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the PostgreSQL driver of this process see no lock in the hint `name`, or wait for no turn of that name."""
    from liteq_postgres import session

    translated, in_turn = session.statement, session.Session.in_turn
    if name in TURNS:
        monkeypatch.setattr(
            session.Session, "in_turn", lambda tx, turn: None if turn.startswith(name) else in_turn(tx, turn)
        )
        return
    bare = texts_of(name)

    def statement(sql: str) -> Any:
        found = translated(sql)
        return found._replace(sql=found.look) if any(text in sql for text in bare) else found

    monkeypatch.setattr(session, "statement", statement)


def failing_without(name: str) -> tuple[str, ...]:
    """The tests that fail without a hint, or a turn."""
    return HINTS[name] if name in HINTS else TURNS[name]


def verdict(name: str, server: str) -> str:
    """Whether each test of `name` fails without it: noticed, or those by which it goes unnoticed."""
    env = {**os.environ, WITHOUT: name, "LITEQ_TEST_POSTGRESQL": server}
    silent = []
    for test in failing_without(name):
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "postgresql"]
        done = subprocess.run([*command, SUITE + test], cwd=ROOT, env=env, capture_output=True, text=True)
        if done.returncode != 1:  # a test has failed; anything else shows nothing
            silent.append(f"{test} ({done.returncode}: {done.stdout[-200:] if done.returncode else 'it passes'})")
    return ", ".join(silent) or "noticed"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hints", description=__doc__)
    parser.add_argument("word", nargs="?", default="")
    word = parser.parse_args().word
    chosen = [name for name in (*HINTS, *TURNS) if word in name]
    bad = 0
    with servers.postgresql() as server:
        for name in chosen:
            found = verdict(name, server)
            bad += found != "noticed"
            print(f"{found}: {name}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} noticed")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
