"""The defences, each with the line that it is, what that becomes without it, and the tests that must then fail.

`python -m tests.faults.mutants` tries them all. Each test of this folder is named here, but for the CONTROLS: so each
has been seen to fail (test_mutants.py). Tests of other folders are named from here: "../unit/...".
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CONTROLS", "MUTANTS", "Mutant"]


class Mutant(NamedTuple):
    """A defence, the file it is in, its text, what stands there without it, and the tests each of which must fail."""

    defence: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def without(defence: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(defence, file, old, new, tests)


# Tests that are the control of another, or have one: what they show without the defence, they show themselves.
CONTROLS = {
    "test_disk.py::test_the_control_that_never_syncs_is_damaged",
    "test_canvases.py::test_the_oracle_sees_what_waits_for_ever",
    "test_wal_reset.py::test_the_unguarded_control_is_damaged",
    "test_wal_reset.py::test_the_guarded_checkpoint_keeps_the_file_whole",  # the race is not met each time
    "test_limits_oracle.py::test_the_oracle_counts_what_overlaps_by_key",
    "test_limits_oracle.py::test_the_oracle_sees_that_an_execution_was_killed",
    "test_limits_oracle.py::test_the_oracle_takes_a_stopped_execution_for_a_living_one",
    "test_readers.py::test_a_week_of_commands_leaves_a_replica_sound",  # beside a replica that nobody looks at
    "test_hints.py::test_a_lock_that_is_not_taken_is_missed",  # each is a mutant itself
    "test_clock_jumps.py::test_workers_live_through_a_clock_that_is_set",  # nightly, of the verbs that are tried here
}

MODEL = "test_simulation.py::test_the_file_and_the_model_never_diverge"
SEALING = "../unit/test_sealing.py::"
SEALED = "../integration/test_sealed_queue.py::"
SERVER = "../integration/test_postgresql.py::"
MEETING = "../conformance/interleaved/"
CELERY = "../contrib/real_celery/"
MUTANTS = [
    without(
        "no value stands in the file in the open", "liteq/storage/sealed.py",
        "return vault.seal(value) if value else value", "return value",
        SEALING + "test_no_value_of_a_message_stands_in_its_row",
        SEALED + "test_the_corpus_stands_nowhere_while_keys_rotate_under_load",
        SEALED + "test_a_run_keeps_none_of_its_values_in_the_open",
    ),
    without(
        "the statements that write alone have their values sealed too", "liteq/storage/sealed.py",
        "super().change(sql, bound(self.vault, sql, params), promise, bell)",
        "super().change(sql, params, promise, bell)",
        SEALED + "test_the_corpus_stands_nowhere_while_keys_rotate_under_load",
    ),
    without(
        "the words of a failure stand in no line of a log where values are sealed", "liteq/execution/hushed.py",
        "(logger.addFilter if on else logger.removeFilter)(_HUSH)", "logger.removeFilter(_HUSH)",
        SEALED + "test_the_corpus_stands_nowhere_while_keys_rotate_under_load",
    ),
    without(
        "the words of a cause are sealed", "liteq/storage/statistics/causes.py",
        '"message": Private(cause.message)', '"message": cause.message',
        SEALED + "test_the_words_of_a_cause_are_sealed",
    ),
    without(
        "a message that cannot be opened is put off, uncounted", "liteq/worker/control/panel.py",
        "if self._sealed and (ends := put_off_unopened(leases)):", "if (ends := put_off_unopened([])):",
        SEALED + "test_a_worker_without_the_key_puts_messages_off_and_loses_none",
    ),
    without(
        "a value that cannot be opened fails its reader, not the transaction", "liteq/storage/sealed.py",
        "        except CodecError:\n            return value\n", "        except CodecError:\n            raise\n",
        SEALING + "test_a_missing_key_fails_no_transaction_and_changes_nothing",
    ),
    without(
        "a process without the codec writes nothing in the open", "liteq/storage/sealed.py",
        "    if vault is None and noted:\n", "    if vault is None and noted and works:\n",
        SEALING + "test_a_process_without_the_codec_writes_nothing_in_the_open",
        SEALED + "test_processes_without_the_codec_are_told",
    ),
    without(
        "what is sealed is not sealed again", "liteq/serialization/sealing.py",
        "        if data.startswith(SEAL):\n            return data\n        if self._codec is None:\n",
        "        if self._codec is None:\n",
        SEALING + "test_what_is_sealed_is_not_sealed_again",
    ),
    without(
        "a forked process counts its values anew", "contrib/liteq_crypt/codec.py",
        "writing.process != _process()", "False",
        "../unit/test_crypt.py::test_a_fork_counts_for_itself",
    ),
    without(
        "equal tokens of two files are told apart in the pool that they share", "liteq/worker/files/sharing.py",
        "if self._owners.setdefault(lease.token, share) is share and lease.token not in share.held:",
        "if self._owners.setdefault(lease.token, share) is not None:",
        "../unit/worker/test_sharing.py::test_equal_tokens_of_two_files_are_told_apart",
    ),
    without(
        "what a task sends goes to the file it came from", "liteq/worker/pool/executor.py",
        "            with self.app.at_home(url):\n", "            if url:\n",
        "../integration/test_many_files.py::test_tasks_of_each_file_run_and_say_where_they_came_from",
        "../integration/test_many_files.py::"
        "test_what_a_task_sends_goes_to_the_file_it_came_from_unless_it_says_another",
    ),
    without(
        "a file with much to do leaves room for the others", "liteq/worker/files/sharing.py",
        "max(1, room // self.among)", "room",
        "../unit/worker/test_sharing.py::test_each_that_wants_room_gets_an_equal_part_and_at_least_one",
    ),
    without(
        "what is ahead of the executors leaves a place for a file that wakes", "liteq/worker/files/sharing.py",
        "return room - 1 if len(self.held) + room > self.size * self.width and room > 0 else room", "return room",
        "../unit/worker/test_sharing.py::"
        "test_what_is_ahead_of_the_executors_leaves_a_place_for_a_file_that_wakes",
    ),
    without(
        "a file with nothing to do is closed", "liteq/worker/files/loop.py",
        "if idle_s >= REST_AFTER_S or (n < surplus and idle_s > 0):", "if surplus < 0 and n < 0:",
        "../integration/test_many_files.py::"
        "test_files_at_rest_hold_no_descriptor_and_wake_by_a_ring_a_due_time_and_a_write",
        "../integration/test_thousand_files.py::"
        "test_idle_files_cost_no_descriptor_and_hardly_any_time_and_each_is_served",
    ),
    without(
        "a ring that is lost wakes a file at rest a little later", "liteq/worker/files/loop.py",
        "and stamp_of(seat.path) != seat.stamp:", "and stamp_of(seat.path) is None:",
        "../integration/test_many_files.py::test_a_ring_that_is_lost_costs_a_few_seconds_only",
    ),
    without(
        "what is written while a file is closed is not taken for seen", "liteq/worker/files/seat.py",
        "ends_at if ends_at > now else inf)\n",
        "ends_at if ends_at > now else inf)\n        self.stamp = stamp_of(self.path)\n",
        "../integration/test_many_files.py::"
        "test_a_message_that_comes_as_its_file_is_closed_and_rings_in_vain_is_found",
    ),
    without(
        "a damaged file does not end the worker of the others", "liteq/worker/files/loop.py",
        "            self._set_aside(seat, str(aside), now)\n", "            raise\n",
        "../integration/test_many_files.py::"
        "test_a_damaged_file_is_set_aside_with_its_reason_and_the_others_go_on",
    ),
    without(
        "no canvas crosses files", "liteq/app/files/__init__.py",
        "if here is not own and self._url(here) != self._url(own):", "if here is None:",
        "../unit/test_using.py::test_no_canvas_crosses_files",
    ),
    without(
        "of a killed process of coroutines the guilty one alone counts that", "liteq/worker/pool/aio/handle.py",
        "tokens = {self.guilty[0]}", "tokens = {lease.token for lease in started}",
        "../integration/test_asyncio_pool.py::test_one_that_cannot_be_cancelled_ends_with_its_child_and_pays_alone",
        "../integration/test_asyncio_pool.py::test_one_that_holds_the_loop_up_is_named_and_pays_alone",
    ),
    without(
        "the death of a process of coroutines is charged to what it executed", "liteq/worker/pool/aio/handle.py",
        "tokens = {happened.in_step, *happened.in_threads}", "tokens = {lease.token for lease in started}",
        "../integration/test_asyncio_pool.py::test_the_one_that_kills_its_child_counts_that_alone",
        "test_coroutine_kills.py::test_the_guilty_are_buried_and_no_other_is_lost",
    ),
    without(
        "a coroutine that holds up the loop pays, whosever limit is over", "liteq/worker/pool/aio/pool.py",
        "guilty = in_step if in_step in child.leases else token", "guilty = token",
        "../integration/test_asyncio_pool.py::"
        "test_the_limit_of_one_that_is_held_up_is_charged_to_the_one_that_holds_up",
    ),
    without(
        "a hard limit cancels a coroutine and spares its process", "liteq/worker/pool/aio/executor.py",
        "running.stop, TimeLimitExceeded(hard)", "running.settled",
        "../integration/test_asyncio_pool.py::test_the_hard_limit_cancels_the_coroutine_and_its_child_lives",
    ),
    without(
        "a soft limit reaches a coroutine at its await", "liteq/worker/pool/aio/running.py",
        "            self.task.cancel()\n\n    def stop(", "            pass\n\n    def stop(",
        "../integration/test_asyncio_pool.py::test_the_soft_limit_is_an_exception_at_the_next_await",
    ),
    without(
        "no limit hits what follows the body of a coroutine", "liteq/worker/pool/aio/executor.py",
        "            request._disarm = running.settled\n", "            pass\n",
        "../integration/test_asyncio_pool.py::test_no_limit_hits_what_follows_the_body",
    ),
    without(
        "each coroutine has a context of its own", "liteq/worker/pool/aio/running.py",
        "context = base.copy()", "context = base",
        "../integration/test_asyncio_pool.py::test_each_task_has_a_context_of_its_own",
    ),
    without(
        "a terminated coroutine is cancelled", "liteq/worker/pool/aio/child.py",
        "            running.stop(TaskRevokedError(", "            str(TaskRevokedError(",
        "../integration/test_asyncio_pool.py::test_a_terminated_one_is_cancelled_and_no_other_notices",
    ),
    without(
        "at a warm end what waits beside coroutines for a thread goes back", "liteq/worker/pool/aio/pool.py",
        "            child.call_back()\n        return super().take_back()",
        "            pass\n        return super().take_back()",
        "../integration/test_asyncio_pool.py::test_a_warm_end_finishes_what_runs_and_returns_what_waits",
    ),
    without(
        "a loop of coroutines that stands still is named", "liteq/worker/pool/aio/watch.py",
        "                self._tell()\n", "                pass\n",
        "../integration/test_asyncio_pool.py::test_one_that_holds_the_loop_up_is_named_and_pays_alone",
    ),
    without(
        "a worker that is asked to end finishes what runs", "liteq/worker/worker.py",
        'Warm shutdown (finishing %d tasks)", len(pool.leases()))\n                    consumer.finish()',
        'Warm shutdown (finishing %d tasks)", len(pool.leases()))\n                    consumer.abort()',
        "../integration/test_asyncio_pool.py::test_a_warm_end_finishes_what_runs_and_returns_what_waits",
        "test_rolling_restart.py::"
        "test_a_rolling_restart_under_load_loses_nothing_runs_nothing_twice_and_makes_no_pause",
    ),
    without(
        "the watchdog hears the loop, and nothing beside it", "liteq/cli/processes/service.py",
        'if worker.pool_kind == "solo" and self._manager', "if self._manager",
        "../integration/test_as_a_service.py::test_the_watchdog_hears_nothing_of_a_loop_that_stands_still",
    ),
    without(
        "the watchdog hears a worker whose file is locked", "liteq/worker/worker.py",
        "if self._on_turn is not None:", "if self._on_turn is not None and not self.running.consumer._paused_until:",
        "../integration/test_as_a_service.py::test_a_locked_file_is_no_reason_to_kill_a_worker",
    ),
    without(
        "a long task of the solo pool is no stuck worker", "liteq/cli/processes/service.py",
        'if worker.pool_kind == "solo" and self._manager', "if not self._manager",
        "../integration/test_as_a_service.py::test_a_long_task_of_the_solo_pool_is_no_stuck_worker",
    ),
    without(
        "what a task starts does not speak for its worker", "liteq/utils/service_manager.py",
        'environ.pop("NOTIFY_SOCKET", "")', 'environ.get("NOTIFY_SOCKET", "")',
        "../unit/test_service_manager.py::test_the_manager_is_taken_out_of_the_environment",
        "../integration/test_as_a_service.py::test_a_program_of_a_task_cannot_speak_for_the_worker",
    ),
    without(
        "a service of many files has no figures of one file", "liteq/cli/processes/service.py",
        "if isinstance(consumer, Consumer):", "if consumer is not None:",
        "../integration/test_as_a_service.py::test_a_worker_of_many_files_tells_of_them",
    ),
    without(
        "a container's first process buries what tasks leave behind", "liteq/cli/init.py",
        "os.waitpid(-1, os.WNOHANG)", "os.waitpid(child, os.WNOHANG)",
        "../integration/test_first_process.py::test_what_tasks_leave_behind_does_not_stay_as_zombies",
    ),
    without(
        "a container is stopped while it imports", "liteq/cli/group.py",
        "            stay_behind()\n", "            del stay_behind\n",
        "../integration/test_first_process.py::test_term_ends_what_is_still_importing",
        "../integration/test_first_process.py::test_a_worker_that_is_killed_ends_the_container",
    ),
    without(
        "Ctrl-C in a container's terminal is one signal", "liteq/cli/init.py",
        "found.si_code == SI_KERNEL and", "found.si_code == -1 and",
        "../integration/test_first_process.py::test_ctrl_c_in_its_terminal_is_one_signal",
    ),
    without(
        "a pause by glob holds for queues that appear later", "liteq/storage/claiming/pauses.py",
        "WHERE :queue {GLOB} p.queue AND (p.until_ms", "WHERE p.queue = :queue AND (p.until_ms",
        "../conformance/test_pauses.py::test_a_glob_holds_for_queues_that_fit_and_for_those_that_appear_later",
        "../integration/test_queue_order.py::"
        "test_a_paused_queue_starts_nothing_and_loses_nothing_whatever_happens_meanwhile",
    ),
    without(
        "no queue of a worker starves behind a heavy one", "liteq/worker/order.py",
        "        credit[order[0]] -= total\n", "",
        "../unit/worker/test_order.py::test_none_starves",
        "../integration/test_queue_order.py::test_weights_share_and_none_starves",
    ),
    without(
        "a quiet worker claims nothing", "liteq/worker/loop.py",
        "self._accepting and not (self._space.full or self.quiet)", "self._accepting and not self._space.full",
        "../integration/test_queue_order.py::"
        "test_a_quiet_worker_finishes_what_runs_claims_nothing_and_stays",
    ),
    without(
        "a probe sees that a worker hangs", "liteq/monitor/health.py",
        "if abs(age_ms) > late_ms:", "if False:",
        "../integration/test_health.py::test_a_worker_without_a_sign_of_life_hangs",
    ),
    without(
        "a worker that cannot write for others' sake is not started again", "liteq/monitor/health.py",
        "if why := _locked_out(driver):", 'if why := "":',
        "../integration/test_health.py::test_a_worker_that_cannot_write_is_not_started_again",
    ),
    without(
        "a worker tells when it takes no tasks", "liteq/worker/chores/heartbeat.py",
        "if stage != self._stage:", "if False:",
        "../integration/test_health.py::test_a_worker_that_ends_is_live_until_its_task_is_done",
    ),
    without(
        "a backup that fails removes none of before", "liteq/operating/backups.py",
        "            storage.backup(target)\n",
        "            self._prune(target, keep or 99)\n            storage.backup(target)\n",
        "../unit/cli/test_cli_backups.py::test_a_backup_that_fails_removes_none_of_before",
    ),
    without(
        "of a folder of backups only this queue's own are removed", "liteq/operating/backups.py",
        "if self._ours.fullmatch(path.name) and", 'if path.suffix == ".db" and',
        "../unit/cli/test_cli_backups.py::test_the_newest_are_kept_and_only_this_queues_own_go",
    ),
    without(
        "space is given back only while nobody writes", "liteq/worker/chores/idle_vacuum.py",
        "elif self._driver.version() != self._seen:", "elif False:",
        "../unit/worker/test_idle_vacuum.py::test_nothing_is_done_while_others_write",
        "../unit/worker/test_idle_vacuum.py::test_a_write_between_two_slices_stops_it",
    ),
    without(
        "a slice of the vacuum holds up nobody for long", "liteq/storage/sqlite/keeping/vacuum.py",
        "max(fitting, FEWEST), MOST, 2 * self.pages", "max(fitting, FEWEST), 1 << 30",
        "../unit/worker/test_idle_vacuum.py::test_a_slice_is_as_large_as_its_time_allows",
    ),
    without(
        "where rows are damaged the doctor writes nothing", "liteq/storage/sqlite/doctor/remedies.py",
        "lost = isinstance(problems, list) and", "lost = problems is None and",
        "../unit/cli/test_cli_doctor.py::test_where_rows_are_damaged_nothing_is_written",
    ),
    without(
        "the doctor ends no lease of a process that lives", "liteq/cli/files/doctor.py",
        " if is_dead(worker.identity, one_machine=here)]\n    if gone:", "]\n    if gone:",
        "../unit/cli/test_cli_doctor.py::test_leases_of_a_process_that_lives_stay",
    ),
    without(
        "what comes of age is deleted as fast as it comes", "liteq/worker/chores/heartbeat.py",
        "            if self.monotonic() >= until:\n                return True\n", "            return True\n",
        "../integration/test_care.py::test_a_look_does_many_chunks_where_much_is_old",
    ),
    without(
        "every call goes through the middleware", "liteq/sending/sender.py",
        "Passing(self.app, self._maker) if self.app.middleware.publishes else self._maker", "self._maker",
        "../unit/test_middleware.py::test_each_way_to_send_goes_through_it",
        "../unit/test_middleware.py::test_what_is_raised_refuses_the_sending_as_a_whole",
    ),
    without(
        "a bulk action goes on at its cursor", "liteq/storage/operating/operations.py",
        "SET cursor = :cursor, done", "SET cursor = coalesce(cursor, :cursor), done",
        "test_operations.py::test_each_dead_letter_is_requeued_once_although_its_operation_is_killed",
        "../conformance/test_operating.py::test_an_operation_stops_after_its_chunk_and_is_continued_at_its_cursor",
    ),
    without(
        "a bulk action's owner of before acts no more", "liteq/storage/facades/operators/operations.py",
        "            stop = _operations.hold(tx, id_, owner)", "            stop = False",
        "../conformance/test_operating.py::test_an_owner_that_was_taken_for_dead_acts_no_more",
    ),
    without(
        "of two that continue a bulk action one does", "liteq/storage/operating/operations.py",
        "AND coalesce(owner, '') = coalesce(CAST(:was AS TEXT), '')\n   AND beat_ms = :beat_ms",
        "AND coalesce(:was, :beat_ms, '') IS NOT NULL",
        "../conformance/test_operating.py::test_of_two_that_continue_it_one_does",
    ),
    without(
        "a message that has run since a bulk action began is not its", "liteq/storage/facades/operators/operations.py",
        "            if (target.token or 0) > chunk.fence:", "            if False:",
        "../conformance/test_operating.py::test_a_message_that_failed_once_more_is_not_requeued_twice",
        "../conformance/test_operating.py::test_a_retried_message_that_waits_once_more_is_not_made_due_twice",
    ),
    without(
        "a chunk is in the audit", "liteq/storage/facades/operators/operations.py",
        "            for queue, of_queue in queues.items():", "            for queue, n in ():",
        "../conformance/test_operating.py::test_a_chunk_moves_the_cursor_counts_and_is_noted",
        "../conformance/test_operating.py::test_a_chunk_whose_cursor_or_audit_is_not_written_has_done_nothing",
    ),
    without(
        "an act is in the audit, in its own transaction", "liteq/storage/facades/operators/operations.py",
        "            _audit.write(tx, by, action, id_, target.queue, 1, now_ms=now_ms)\n",
        "            pass\n",
        "../conformance/test_operating.py::test_nothing_is_done_that_the_audit_does_not_know",
    ),
    without(
        "an operator acts within the queues that it sees", "liteq/storage/operating/acting.py",
        "    if target is None or not is_among(target.queue, queues):", "    if target is None:",
        "../conformance/test_operating.py::test_what_lies_outside_the_actors_queues_is_not_there",
        "../conformance/test_operating.py::test_an_operation_acts_within_its_actors_queues_alone",
    ),
    without(
        "a form that is sent twice acts once", "liteq/storage/facades/operators/operations.py",
        "            if version is not None and version != _acting.version(target):\n                if _was_last",
        "            if False:\n                if _was_last",
        "../conformance/test_operating.py::test_the_second_of_two_equal_requests_does_nothing",
    ),
    without(
        "fencing token: a late worker's write changes nothing", "liteq/storage/settling/outcomes.py",
        "UNDER_LEASE = \"WHERE seq = ? AND state = 'leased' AND token = ?\"",
        "UNDER_LEASE = \"WHERE seq = ? AND state = 'leased' AND ? IS NOT NULL\"",
        MODEL,
        "test_restore.py::test_a_worker_that_slept_through_the_restore_changes_nothing",
    ),
    without(
        "a claim takes no row between those that it has read", "liteq/storage/claiming/claim.py",
        "    if last - first == len(rows) - 1 and not flags & SPECIAL:", "    if not flags & SPECIAL:",
        "../conformance/test_queue_verbs.py::test_each_lease_has_the_token_of_its_row_also_where_others_stand_between",
    ),
    without(
        "a token is never given out twice", "liteq/storage/sqlite/tokens.py",
        "        last = max(now_ns // 1000 + self._lift_us, self._last, above)", "        last = self._lift_us",
        MODEL,
        "test_simulation.py::TestQueueMachine",
    ),
    without(
        "tokens go up although the clock was set back", "liteq/storage/sqlite/tokens.py",
        "        if was_set_back or until - AHEAD_US > now:", "        if False:",
        "../unit/storage/test_tokens.py::test_tokens_go_up_over_all_processes_when_the_clock_is_set_back",
        "../unit/storage/test_tokens.py::test_a_process_that_starts_after_the_clock_was_set_back_goes_on_above",
    ),
    without(
        "enqueue is idempotent by id", "liteq/storage/sending/enqueue.py",
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)\nON CONFLICT DO NOTHING",
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)\nON CONFLICT DO UPDATE SET state = 'pending'",
        MODEL,
    ),
    without(
        "a time of a schedule waits for the run before", "liteq/beat/catch_up.py",
        "                return Decision([], due, waits=True)\n", "                pass\n",
        "../integration/test_beat_overlap.py::test_queue_gives_each_time_its_turn",
        "../integration/test_beat_overlap.py::test_runs_in_a_queue_begin_one_after_another",
    ),
    without(
        "a time that waited for its turn is not taken for missed", "liteq/beat/catch_up.py",
        "has_waited = last.ended is not None and due <= last.ended", "has_waited = False",
        "../integration/test_beat_overlap.py::test_queue_gives_each_time_its_turn",
    ),
    without(
        "a cancel leaves what stands aside to the clean-up", "liteq/workflow/history/taking.py",
        "        machine.aside.put_back(aside)\n", "",
        "../integration/test_workflow_taken_back.py::"
        "test_a_cancel_at_a_call_that_was_answered_leaves_the_answer_to_the_clean_up",
    ),
    without(
        "a child whose call is answered has its own id again", "liteq/storage/runs/executing.py",
        "    steps = _under_their_ids(tx, steps)\n", "    steps = [*steps]\n",
        "../integration/test_workflow_taken_back.py::"
        "test_children_whose_calls_are_answered_have_their_own_ids_again",
    ),
    without(
        "the run whose place is taken is cancelled", "liteq/beat/beat.py",
        "replaces=entry.unfinished\n", "replaces=None\n",
        "../integration/test_beat_overlap.py::test_cancel_lets_the_new_run_take_the_place_of_the_old_one",
        "../integration/test_beat_overlap.py::test_a_run_whose_place_is_taken_is_cancelled_with_a_reason",
    ),
    without(
        "a reminder is sent once", "liteq/workflow/calling/waits.py",
        "if times > row.attempts else None", "if times else None",
        "../integration/test_workflow_waits.py::test_a_reminder_is_not_sent_again_by_what_else_wakes_the_run",
    ),
    without(
        "a replay from a file leaves the queue alone", "liteq/cli/workflow/replay.py",
        "        session.app.close()  # the queue", "        # the queue",
        "../unit/cli/test_cli_workflow.py::test_a_replay_from_a_file_leaves_the_queue_alone",
    ),
    without(
        "a chord is counted by each end, the failed too", "liteq/storage/canvases/continuation.py",
        "remaining = remaining - :n, failed = failed + :failed", "remaining = remaining - :n, failed = failed",
        MODEL,
    ),
    without(
        "a death travels along the chain", "liteq/storage/canvases/continuation.py",
        "todo.extend(_fail(tx, ", "list(_fail(tx, ",
        MODEL,
        "test_canvases.py::test_a_send_raises_and_has_written_nothing_or_every_part_of_it_ends",
    ),
    without(
        "a crash is counted, and a poison pill ends", "liteq/storage/settling/outcomes.py",
        "SET state = 'pending', crashes = crashes + 1,", "SET state = 'pending', crashes = crashes,",
        MODEL,
    ),
    without(
        "a lease that ran out is reaped", "liteq/storage/claiming/reap.py",
        "m.state = 'leased' AND m.deadline_ms <= :now_ms", "m.state = 'leased' AND m.deadline_ms <= :now_ms - 3600000",
        MODEL,
        "test_locks.py::test_workers_stopped_past_their_leases_cannot_acknowledge",
        "test_hosts.py::test_three_hosts_and_a_failover_end_clean",
    ),
    without(
        "a result stays while a follower may ask for it", "liteq/storage/rows/needed.py",
        "WHERE taker.awaits = {row}.id AND taker.state IN {takers})", "WHERE taker.awaits = {row}.id AND 0)",
        MODEL,
        "../conformance/test_needed.py::test_the_input_of_a_row_stays_until_it_has_finished",
    ),
    without(
        "the results of a header stay for its body", "liteq/storage/rows/needed.py",
        "WHERE taker.awaits = above.id AND taker.state", "WHERE 0 AND taker.state",
        "../conformance/test_needed.py::test_the_input_of_a_row_stays_until_it_has_finished",
    ),
    without(
        "a part whose unique key is held follows the holder", "liteq/storage/sending/enqueue.py",
        "            _write_one(tx, as_alias(m, holder), now_ms)\n", "            pass\n",
        MODEL,
        "../integration/test_canvases_end.py::test_a_part_whose_key_is_held_ends_as_the_message_that_holds_it",
    ),
    without(
        "a lease of before its follower came is looked at anew", "liteq/storage/settling/outcomes.py",
        'ENDS = f"{UNDER_LEASE} AND flags & {KNOWN} <= ?"', 'ENDS = f"{UNDER_LEASE} AND ? IS NOT NULL"',
        MODEL,
        "../integration/test_canvases_end.py::test_what_is_followed_may_run_already",
    ),
    without(
        "what waits for a part is not followed by it", "liteq/storage/sending/enqueue.py",
        "waits_for(tx, holder, {waiter.id})", "False",
        "../integration/test_canvases_end.py::test_a_replacement_ends_whatever_ids_and_keys_it_has",
        "../integration/test_canvases_end.py::test_what_is_added_to_a_chord_ends_whatever_its_key",
    ),
    without(
        "a replacement has ids of its own", "liteq/storage/settling/terms.py",
        "names = {own: new_id()} if", "names = {own: own} if",
        "../integration/test_canvases_end.py::test_a_replacement_ends_whatever_ids_and_keys_it_has",
    ),
    without(
        "a canvas of which a part is something else's is refused", "liteq/storage/canvases/standing.py",
        "    if same is None:\n", "    if False:\n",
        "../integration/test_canvases_end.py::test_a_canvas_of_which_a_part_is_another_message_is_refused_by_name",
    ),
    without(
        "what has become another task is still the part that was sent", "liteq/storage/canvases/standing.py",
        "became = row.flags & Flag.BECAME", "became = 0",
        "../conformance/test_open_groups.py::test_a_member_that_has_become_another_task_is_counted_once",
        MEETING + "test_open_groups.py::test_a_member_that_comes_twice_while_it_becomes_another_task_is_counted_once",
    ),
    without(
        "a canvas is looked at as if nothing of it had been written", "liteq/storage/sending/enqueue.py",
        "            if canvas:\n                tx.execute(UNDO)\n            placed =", "            placed =",
        "../integration/test_canvases_end.py::test_a_replacement_ends_whatever_ids_and_keys_it_has",
    ),
    without(
        "an errback takes its key when it is to run", "liteq/storage/canvases/follow.py",
        "if m.unique_key is None else _late(m)", "if True else _late(m)",
        "../integration/test_canvases_end.py::test_an_errback_takes_its_key_when_it_runs",
    ),
    without(
        "a replay that fails again calls its errbacks again", "liteq/storage/canvases/revive.py",
        "        _rearm(tx, node, now_ms)\n", "",
        MODEL,
        "../conformance/test_needed.py::test_a_replay_that_fails_again_calls_its_errbacks_again",
    ),
    without(
        "a replay meets keys that were taken since", "liteq/storage/canvases/revive.py",
        "AND state = 'upstream_failed' AND unique_key IS NULL", "AND state = 'upstream_failed'",
        "../conformance/test_needed.py::test_a_replay_whose_followers_key_was_taken_goes_on_and_the_follower_follows",
    ),
    without(
        "a failure is stored once", "liteq/storage/rows/results.py",
        "if error is None or len(error) <= PASSED_ON_BYTES:", "if True:",
        "../conformance/test_needed.py::test_an_error_is_stored_once_however_many_fail_because_of_it",
    ),
    without(
        "what runs at most once and never began goes back", "liteq/storage/claiming/reap.py",
        "not flags & Flag.BEGUN", "not flags & Flag.EARLY_ACK",
        MODEL,
        "../conformance/test_needed.py::test_what_runs_at_most_once_and_never_began_goes_back",
    ),
    without(
        "what has replaced itself is revoked with its replacement", "liteq/storage/canvases/cancel.py",
        "                todo.append(awaits)\n", "                pass\n",
        "../integration/test_revoked_replacements.py::test_what_has_replaced_itself_is_revoked_with_its_replacement",
    ),
    without(
        "what was revoked is REVOKED, whatever it had said of itself", "liteq/result/reading.py",
        "return ended is None or decode_error(ended).type != TaskRevokedError.__name__", "return True",
        "../integration/test_revoked_replacements.py::test_what_has_told_its_progress_and_is_cancelled_is_revoked",
    ),
    without(
        "what is idempotent is found again", "liteq/storage/settling/outcomes.py",
        "STAYS = Flag.LINKED | Flag.KEPT | Flag.PERHAPS", "STAYS = Flag.LINKED | Flag.PERHAPS",
        "../integration/test_same_id_again.py::test_idempotent_runs_once_where_its_result_is_ignored",
    ),
    without(
        "a large result that is stored again takes its body along", "liteq/storage/rows/results.py",
        "        tx.executemany(CLEAR_BODY, [(result_ref(seq),)])\n", "",
        "../conformance/test_needed.py::test_a_large_result_that_is_stored_again_leaves_no_body_behind",
    ),
    without(
        "what is accepted has waited for the disk", "liteq/storage/sqlite/keeping/upkeep.py",
        "(Durability.DURABLE, Promise.ACCEPTED): True", "(Durability.DURABLE, Promise.ACCEPTED): False",
        "test_disk.py::test_durable_loses_nothing_that_was_accepted",
    ),
    without(
        "strict: so has what was acknowledged", "liteq/storage/sqlite/keeping/upkeep.py",
        "(Durability.STRICT, Promise.PROGRESS): True", "(Durability.STRICT, Promise.PROGRESS): False",
        "test_disk.py::test_strict_loses_no_acknowledgement_either",
    ),
    without(
        "a commit that fails raises", "liteq/storage/sqlite/apsw_driver.py",
        "            self.connection.execute(\"COMMIT\")\n        except apsw.Error as error:\n"
        "            raise self.error(error) from error",
        "            self.connection.execute(\"COMMIT\")\n        except apsw.Error as error:\n"
        "            self.rollback()",
        "test_disk.py::test_an_operation_that_fails_raises_and_a_repeated_call_makes_one_row",
    ),
    without(
        "the ballast is dropped on a full disk", "liteq/storage/sqlite/keeping/ballast.py",
        "os.truncate(fd, 0)", "pass",
        "test_disk_full.py::test_acks_finish_from_the_ballast_and_the_worker_resumes_alone",
    ),
    without(
        "the worker claims nothing while the disk is full", "liteq/worker/loop.py",
        "self._accepting and not (self._space.full or self.quiet)", "self._accepting and not self.quiet",
        "test_disk_full.py::test_acks_finish_from_the_ballast_and_the_worker_resumes_alone",
    ),
    without(
        "a worker that comes later learns that the disk is full", "liteq/worker/space.py",
        "self.full = self._driver.in_reserve()", "self.full = False",
        "test_disk_full.py::test_a_worker_that_comes_while_the_disk_is_full_claims_nothing",
    ),
    without(
        "a limit of file sizes is no failed disk", "liteq/storage/sqlite/errors.py",
        "if limit := limits.largest_file(path, code):", "if limit := 0:",
        "test_bad_files.py::test_a_limit_of_file_sizes_is_told_as_such_and_not_as_a_failed_disk",
    ),
    without(
        "a database that was moved is told as such where it is used", "liteq/storage/sqlite/disk/files.py",
        "raise StorageUnavailable(lost_database(path) or new)", "raise StorageUnavailable(new)",
        "test_foreign_files.py::test_a_process_whose_database_was_moved_is_told_that_its_log_is_there",
    ),
    without(
        "nothing new is accepted while the disk is full", "liteq/storage/sqlite/base.py",
        "if self._short and promise is Promise.ACCEPTED:", "if False:",
        "test_disk_full.py::test_nothing_new_is_accepted_into_the_space_that_is_kept_for_acknowledgements",
    ),
    without(
        "who holds the write lock is named", "liteq/storage/sqlite/turns/holder.py",
        "WAL_WRITE_LOCK = 120", "WAL_WRITE_LOCK = 119",
        "test_locks.py::test_a_worker_outlives_a_file_that_a_stranger_has_locked",
    ),
    without(
        "who reads without end is named", "liteq/storage/sqlite/turns/holder.py",
        "READ_MARKS = (123, 127)", "READ_MARKS = (110, 111)",
        "test_locks.py::test_a_reader_without_end_is_named_and_holds_nobody_up",
    ),
    without(
        "a log that was deleted is noticed", "liteq/storage/sqlite/disk/files.py",
        "    _refuse_lost_log(path)\n", "",
        "test_bad_files.py::test_a_bad_file_is_refused_within_a_second",
    ),
    without(
        "a folder in the file's place is refused", "liteq/storage/sqlite/disk/files.py",
        "if stat.S_ISDIR(status.st_mode):", "if False:",
        "test_bad_files.py::test_a_bad_file_is_refused_within_a_second",
    ),
    without(
        "a file that this user may not write is refused", "liteq/storage/sqlite/disk/files.py",
        "    _refuse_read_only(path)\n", "",
        "test_bad_files.py::test_a_file_that_this_user_may_not_write_is_refused",
        "test_bad_files.py::test_a_read_only_file_system_is_told_as_such",
        "test_shared_files.py::test_without_the_setting_the_second_user_is_told_what_is_wrong",
    ),
    without(
        "the reaper pauses when the clock was set", "liteq/worker/chores/heartbeat.py",
        "self._judge_from = self.monotonic() + self._visibility_s", "self._judge_from = self.monotonic()",
        "test_clock_jumps.py::test_a_live_lease_outlasts_a_clock_that_is_set",
        "test_clock_jumps.py::test_any_number_of_jumps",
    ),
    without(
        "an older worker does not write a newer file", "liteq/storage/sqlite/migrate.py",
        "if found.min_writer > known:", "if False:",
        "test_versions.py::test_who_may_write_is_what_the_file_says",
        "test_versions.py::test_an_older_worker_does_not_start_on_a_newer_file",
    ),
    without(
        "a running worker learns of a newer file", "liteq/worker/loop.py",
        "            self._storage.driver.check_schema()\n", "",
        "test_versions.py::test_a_running_worker_stops_when_its_file_is_migrated_by_a_newer_one",
    ),
    without(
        "a child forked inside a transaction is refused", "liteq/storage/sqlite/turns/fork.py",
        "    _forbidden[path] = parent\n", "    pass\n",
        "test_forks.py::test_a_child_forked_inside_a_transaction_is_refused",
    ),
    without(
        "a payload that is too large is refused", "liteq/exceptions/tasks.py",
        "is {size:,} bytes encoded, the limit", "is too large, the limit",
        "test_hostile_payloads.py::test_64_mib_are_refused_with_their_size",
    ),
    without(
        "a task that kills its process is a dead letter", "liteq/storage/settling/terms.py",
        "return lease.crashes + 1 >= self.max_crashes or", "return lease.crashes + 1 >= 1000 or",
        "test_child_deaths.py::test_tasks_that_kill_their_process_are_dead_letters_and_others_go_on",
    ),
    without(
        "a dead child's task goes back at once", "liteq/worker/pool/prefork/pool.py",
        "self._outcomes.append((lease, self._fate(child, lease, status)))", "self._fate(child, lease, status)",
        "test_child_deaths.py::test_a_child_that_dies_gives_its_task_back_within_a_second",
        "test_child_deaths.py::test_a_killed_childs_task_is_back_within_a_second",
        "test_start_method_kills.py::test_nothing_is_lost_and_nobody_is_left",
    ),
    without(
        "a killed worker's leases are given back by the next one", "liteq/context/identity.py",
        "return Presence.UNKNOWN if _exists(other.pid) else Presence.GONE", "return Presence.UNKNOWN",
        "test_kill.py::test_nothing_is_lost_when_workers_are_killed_whole",
        "test_kill.py::test_nothing_is_lost_when_anything_is_killed",
    ),
    without(
        "a zombie's heartbeat learns that its lease is lost", "liteq/storage/claiming/extend.py",
        "if not tx.executemany(EXTEND,", "if tx.executemany(EXTEND,",
        "../conformance/test_queue_verbs.py::test_a_heartbeat_keeps_a_lease_and_names_the_lost",
    ),
    without(
        "a warm end returns what has not started", "liteq/worker/loop.py",
        "        self._pool.leave_runs()\n        self._return(self._pool.take_back())\n",
        "        self._pool.leave_runs()\n        self._pool.take_back()\n",
        "../integration/test_worker_endings.py::test_term_finishes_what_runs_and_returns_what_has_not_started",
    ),
    without(
        "a worker ends once all that it did is in the file", "liteq/worker/loop.py",
        "while self._accepting or self._pool.leases() or self._outcomes:", "while self._accepting:",
        "test_signals.py::test_a_warm_end_at_any_step_loses_nothing_and_runs_nothing_twice",
    ),
    without(
        "who is killed by a cold end has not crashed", "liteq/worker/pool/prefork/pool.py",
        "        if self._stopping:  # killed by a cold shutdown, not by its task", "        if False:",
        "test_signals.py::test_a_cold_end_does_not_wait_for_what_runs",
    ),
    without(
        "a worker that starts after the clock was set knows of it", "liteq/worker/chores/heartbeat.py",
        "return max((offset - found for found in known), key=abs, default=0.0)", "return 0.0",
        "test_clock_jumps.py::test_a_worker_that_starts_after_the_clock_was_set_knows_of_it",
    ),
    without(
        "a log that is deleted under running processes is noticed", "liteq/storage/sqlite/keeping/sidecars.py",
        "return self._lost(LOG)", "return False",
        "test_bad_files.py::test_a_log_that_is_deleted_under_running_processes_is_noticed_and_loses_nothing",
    ),
    without(
        "what the clocks skip runs at the end of the gap", "liteq/schedules/wall_clock.py",
        "return [_end_of_gap(wall, zone)]", "return []",
        "test_cron_zones.py::test_each_slot_of_the_wall_clock_fires_once_in_every_zone",
        "test_cron_zones.py::test_every_hour_goes_on_through_the_repeated_hour",
    ),
    without(
        "what they show twice runs once", "liteq/schedules/wall_clock.py",
        "if twice else [first.astimezone(UTC)]", "if wall else [first.astimezone(UTC)]",
        "test_cron_zones.py::test_each_slot_of_the_wall_clock_fires_once_in_every_zone",
    ),
    without(
        "the minutes go on through a repeated hour, however long", "liteq/schedules/wall_clock.py",
        "return abs(first - second)", "return timedelta(hours=1)",
        "test_cron_zones.py::test_clocks_that_are_set_back_by_three_hours_lose_no_minute",
    ),
    without(
        "a file is its owner's alone", "liteq/storage/sqlite/disk/ownership.py",
        "MODE = 0o600", "MODE = 0o666",
        "test_limits.py::test_every_file_is_its_owners_alone_whatever_the_umask_allows",
    ),
    without(
        "a file that another user laid out is refused", "liteq/storage/sqlite/disk/files.py",
        "    _refuse_planted(path, status)\n", "",
        "test_limits.py::test_what_another_user_has_laid_out_is_not_written_to",
    ),
    without(
        "a traceback has a limit", "liteq/serialization/errors.py",
        "    if len(data) <= limit:", "    if data:",
        "test_limits.py::test_results_and_tracebacks_are_held_to_their_limits",
    ),
    # -- the file
    without(
        "what is wrong with a file is a sentence, and an exit code", "liteq/cli/group.py",
        'if os.environ.get("LITEQ_DEBUG") == "1" and', "if",
        "test_bad_files.py::test_a_worker_ends_at_once_and_does_not_spin",
    ),
    without(
        "damage inside a file is told as such", "liteq/storage/sqlite/errors.py",
        "case c if c == CORRUPT:", "case c if c == 99:",
        "test_bad_files.py::test_flipped_bytes_are_told_as_damage_or_found_by_the_doctor",
    ),
    without(
        "an index that is deleted under running processes is noticed", "liteq/storage/sqlite/keeping/sidecars.py",
        "return self._lost(INDEX)", "return False",
        "test_bad_files.py::test_a_log_that_is_deleted_under_running_processes_is_noticed_and_loses_nothing",
    ),
    without(
        "a worker pauses while its file cannot be used", "liteq/worker/loop.py",
        "TROUBLE_PAUSE_S = 0.5", "TROUBLE_PAUSE_S = 0.0",
        "test_bad_files.py::test_a_worker_whose_file_turns_bad_goes_on_trying_calmly",
    ),
    without(
        "a log gives its space back where it is wanted", "liteq/storage/sqlite/keeping/upkeep.py",
        "            self._cut_log()\n", "            pass\n",
        "test_disk_full.py::test_a_log_that_has_grown_gives_its_space_back",
    ),
    without(
        "a full disk is told from other failures", "liteq/storage/sqlite/errors.py",
        "case c if c == FULL:", "case c if c == 99:",
        "test_disk.py::test_a_full_disk_is_told_as_such",
    ),
    without(
        "a checkpoint waits for the disk", "liteq/storage/sqlite/session.py",
        '"synchronous=NORMAL"', '"synchronous=OFF"',
        "test_disk.py::test_relaxed_loses_the_newest_and_nothing_from_between",
    ),
    # -- processes
    without(
        "an exception ends its task, not its child", "liteq/execution/execute.py",
        "        except Exception as exc:\n            executed = _raised",
        "        except ValueError as exc:\n            executed = _raised",
        "test_child_deaths.py::test_out_of_memory_is_an_error_of_the_task_and_the_child_goes_on",
    ),
    without(
        "what a dead child had not started comes back", "liteq/worker/pool/prefork/pool.py",
        "        self._again += child.take_back()\n        started = ", "        child.take_back()\n        started = ",
        "test_kill.py::test_nothing_is_lost_when_children_are_killed",
    ),
    without(
        "a canvas is sent in one transaction", "liteq/storage/storage.py",
        "                with self.driver.write(Promise.ACCEPTED, Bell.WORK) as tx:\n"
        "                    ids = write(tx, batch, now_ms=now_ms, again=again)\n",
        "                ids = []\n"
        "                for one in batch.messages:\n"
        "                    with self.driver.write(Promise.ACCEPTED, Bell.WORK) as tx:\n"
        "                        groups = batch.groups if one is batch.messages[0] else []\n"
        "                        ids += write(tx, Batch([one], groups), now_ms=now_ms, again=again)\n",
        "test_kill.py::test_what_a_killed_producer_reported_is_there",
    ),
    without(
        "QUIT ends a worker cold", "liteq/worker/signals.py",
        '"SIGQUIT": Demand.COLD,', '"SIGQUIT": Demand.WARM,',
        "test_signals.py::test_a_cold_end_at_any_step_gives_everything_back_at_once",
    ),
    without(
        "connections are closed before a fork", "liteq/storage/sqlite/base.py",
        "                break\n        self._close_idle()\n", "                break\n",
        "test_forks.py::test_children_forked_beside_busy_threads_have_connections_of_their_own",
        "test_forks.py::test_a_pool_of_forked_processes_enqueues",
    ),
    without(
        "who finds the file locked waits for its turn", "liteq/storage/storage.py",
        "    busy_timeout_s: float = 30.0,\n", "    busy_timeout_s: float = 0.01,\n",
        "test_forks.py::test_64_producers_meet_no_locked_database",
    ),
    without(
        "a lock's holder is looked up", "liteq/storage/sqlite/turns/holder.py",
        "return found[0].pid if found else None", "return None",
        "test_locks.py::test_a_writer_stopped_in_its_transaction_is_named_to_the_others",
    ),
    without(
        "a worker's number is never used again", "liteq/storage/sqlite/migrations/0001_initial.sql",
        "id           INTEGER PRIMARY KEY AUTOINCREMENT,", "id           INTEGER PRIMARY KEY,",
        "test_simulation.py::test_a_late_reaper_of_a_dead_worker_leaves_the_next_worker_alone",
    ),
    # -- stalls
    without(
        'a stall is not a death', "liteq/worker/chores/heartbeat.py",
        'came_back = self._bury(dead, expired_ms=now_ms if expired else None, living=alive)',
        'came_back = self._bury(dead, expired_ms=self._storage.clock.now_ms())',
        "test_stalls.py::test_a_lock_that_outlasts_the_leases_ends_none",
        "test_stalls.py::test_all_are_stopped_and_go_on_one_after_the_other",
    ),
    without(
        'a worker that lives here is not judged by the clock alone', "liteq/worker/chores/heartbeat.py",
        'if found is Presence.ALIVE)', 'if found is None)',
        "test_stalls.py::test_a_worker_that_lives_here_is_not_judged_by_the_clock_alone",
    ),
    without(
        "a beat that was asked for is no stall", "liteq/worker/chores/heartbeat.py",
        "self.due_at = min(self.due_at, max(self.monotonic(), self._again_at))", "self.due_at = 0.0",
        "test_stalls.py::test_a_beat_that_was_asked_for_is_no_stall",
    ),
    without(
        'whoever stood still waits a lease before it judges', "liteq/worker/chores/heartbeat.py",
        'if now - due_at > self.interval_s:', 'if False:',
        "test_stalls.py::test_whoever_stood_still_waits_a_lease_before_it_judges",
    ),
    without(
        'whoever was stopped since its beat waits a lease before it judges', "liteq/worker/chores/heartbeat.py",
        'if now - self._beaten_at > 2 * self.interval_s:', 'if False:',
        "test_stalls.py::test_whoever_was_stopped_between_its_beat_and_its_look_waits_too",
    ),
    without(
        'whoever could not beat waits a lease before it judges', "liteq/worker/chores/heartbeat.py",
        '            self._judge_later()  # what', '            pass  # what',
        "test_stalls.py::test_whoever_could_not_beat_waits_a_lease_before_it_judges",
    ),
    without(
        'whoever waits does not wait for ever', "liteq/worker/chores/heartbeat.py",
        'self._judge_from = self.monotonic() + self._visibility_s', 'self._judge_from = self.monotonic() + 1e9',
        "test_stalls.py::test_a_dead_workers_leases_end_after_a_stall_too",
    ),
    without(
        'a lease that its living worker knows nothing of ends', "liteq/storage/claiming/reap.py",
        'until_ms = min(heartbeat_ms, now_ms) if', 'until_ms = -1 if',
        "test_stalls.py::test_a_lease_that_its_living_worker_knows_nothing_of_ends",
    ),
    without(
        'unreadable is not dead', "liteq/context/identity.py",
        'return Presence.UNKNOWN if _exists(other.pid) else Presence.GONE', 'return Presence.GONE',
        "test_stalls.py::test_a_process_that_cannot_be_read_is_not_dead",
        "test_stalls.py::test_another_users_process_behind_hidepid_is_not_dead",
    ),
    without(
        'a start time means something in one time namespace', "liteq/context/identity.py",
        'found.append(str(Path("/proc/self/ns/time").readlink()))', 'pass',
        "test_stalls.py::test_in_another_time_namespace_a_start_time_means_nothing",
    ),
    without(
        'one of the idle workers looks at all', "liteq/worker/chores/heartbeat.py",
        'if first or self._is_first():', 'if True:',
        "test_stalls.py::test_idle_workers_look_at_few_others",
    ),
    without(
        'a worker looks at the one before it', "liteq/worker/chores/heartbeat.py",
        'self._bury([before.id])', 'return False',
        "test_stalls.py::test_of_many_that_die_together_each_is_found_by_the_next",
    ),
    without(
        'another looks at all when the first has gone', "liteq/worker/chores/heartbeat.py",
        'if before is None or not fresh:', 'if before is None:',
        "test_stalls.py::test_when_the_first_has_gone_another_looks_at_all",
    ),
    # -- clocks
    without(
        'a countdown is never longer than it was', "liteq/storage/housekeeping/cap.py",
        '    "countdowns": COUNTDOWNS,\n', '',
        "test_clock_jumps.py::test_whatever_was_sent_before_the_clock_was_set_ends",
    ),
    without(
        'the time of its sending holds no link of a chain', "liteq/storage/canvases/continuation.py",
        'CASE WHEN due_ms > created_ms AND due_ms > :now_ms + coalesce(delay_ms, 0) THEN due_ms\n'
        '                     ELSE :now_ms + coalesce(delay_ms, 0) END,\n'
        '       state = CASE WHEN (due_ms > created_ms AND due_ms > :now_ms) OR',
        'CASE WHEN due_ms > :now_ms + coalesce(delay_ms, 0) THEN due_ms\n'
        '                     ELSE :now_ms + coalesce(delay_ms, 0) END,\n'
        '       state = CASE WHEN (due_ms > :now_ms) OR',
        "test_clock_jumps.py::test_whatever_was_sent_before_the_clock_was_set_ends",
    ),
    without(
        'no bucket is emptier than empty', "liteq/policy/rates.py",
        '        self.full_at = empty\n        return True', '        return False',
        "test_clock_jumps.py::test_whatever_was_sent_before_the_clock_was_set_ends",
        "test_clock_jumps.py::test_a_rate_holds_no_longer_than_it_says",
    ),
    without(
        'a heartbeat of the future counts from when it is seen', "liteq/worker/chores/heartbeat.py",
        'return now - since > self._visibility_s', 'return False',
        "test_clock_jumps.py::test_a_dead_workers_lease_ends_in_spite_of_it",
        "test_clock_jumps.py::test_whatever_was_sent_before_the_clock_was_set_ends",
    ),
    without(
        'no lease ends later than its worker says', "liteq/storage/claiming/extend.py",
        '    tx.executemany(CAP, [{"worker": worker, "deadline_ms": deadline_ms}])\n', '',
        "test_clock_jumps.py::test_a_lease_that_its_worker_has_lost_sight_of_ends_in_spite_of_it",
    ),
    without(
        'what has finished has finished by now', "liteq/storage/housekeeping/cap.py",
        """    "finished": finished("finished_ms IS NOT NULL AND state <> 'dead'"),\n""", "",
        "test_clock_jumps.py::test_what_has_finished_leaves_in_spite_of_it",
    ),
    without(
        'an entry of beat waits no longer than its schedule says', "liteq/beat/beat.py",
        'if record.enabled and (before_s is not None or ahead):', 'if False:',
        "test_clock_jumps.py::test_entries_go_on_firing",
    ),
    without(
        "the reaper pauses for a clock that was set, and for nothing else", "liteq/worker/chores/heartbeat.py",
        "if abs(jump_s) > JUMP_S:", "if True:",
        "test_clock_jumps.py::test_a_worker_that_starts_after_nobody_set_a_clock_waits_for_nothing",
        "test_clock_jumps.py::test_a_dead_workers_lease_ends_in_spite_of_it",
    ),
    without(
        "a worker that nobody can ask about is given up in the end", "liteq/worker/chores/heartbeat.py",
        "return other.heartbeat_ms < now_ms - self._silence_s * 1000", "return False",
        "test_clock_jumps.py::test_a_worker_that_cannot_be_asked_and_is_silent_for_long_is_taken_off_the_list",
    ),
    # -- tasks and their processes
    without(
        'a task whose process is gone tells its hooks', "liteq/worker/pool/base.py",
        '            tell_lost(app, lease, exc, hostname)', '            pass',
        "test_child_deaths.py::test_a_task_that_fails_with_its_process_tells_its_hooks",
    ),
    without(
        'an alarm that a task left is cancelled', "liteq/worker/pool/leftovers.py",
        '            signal.setitimer(signal.ITIMER_REAL, 0)', '            pass',
        "test_child_deaths.py::test_an_alarm_that_a_task_left_ends_no_other",
    ),
    without(
        'a thread that a task left is named', "liteq/worker/pool/prefork/pool.py",
        'child.left_behind = report[3]', 'pass',
        "test_child_deaths.py::test_a_thread_that_a_task_left_is_named_when_it_ends_the_process",
    ),
    without(
        'a task that a worker does not know is left to others', "liteq/worker/pool/executor.py",
        '        if left_ms <= 0:', '        if True:',
        "test_child_deaths.py::test_a_task_that_a_worker_does_not_know_waits_for_one_that_does",
    ),
    without(
        'what is printed is joined once', "liteq/cli/logs.py",
        'mine.parts.append(text)', 'mine.parts = ["".join([*mine.parts, text])]',
        "../unit/test_log.py::test_printing_without_line_ends_costs_in_proportion",
    ),
    without(
        'a task takes the rest of its line along', "liteq/utils/lines.py",
        '        stream.flush()', '        pass',
        "../unit/test_log.py::test_the_rest_of_a_task_is_not_the_next_ones",
    ),
    without(
        'an exception is logged to a limit', "liteq/utils/text.py",
        '    if len(text) <= most:', '    if True:',
        "../unit/test_log.py::test_an_exception_is_logged_to_a_limit",
    ),
    without(
        'a revoke is forgotten when its time is over', "liteq/worker/revoking.py",
        '            del self._until[value]', '            pass',
        "../unit/worker/test_worker_parts.py::test_what_was_revoked_is_forgotten_when_its_time_is_over",
    ),
    without(
        "a large group's results are joined where they are used", "liteq/storage/rows/results.py",
        "if largest < inf and group_bytes(tx, node) > largest:", "if False:",
        "../conformance/test_continuation.py::test_the_results_of_a_large_group_are_read_by_whoever_executes",
    ),
    without(
        "large arguments are read under their token", "liteq/storage/rows/payloads.py",
        "m.state = 'leased' AND m.token = ?", "m.state = 'leased' AND ? IS NOT NULL",
        "../conformance/test_bodies.py::test_the_arguments_of_a_lost_lease_are_not_read",
    ),
    without(
        "no claim reads what is large", "liteq/storage/rows/results.py",
        "RESULT if largest == inf else IN_ROW", "RESULT",
        "../conformance/test_bodies.py::test_a_claim_reads_nothing_that_is_large",
    ),
    # -- versions
    without(
        "a migration says who may write from now on", "liteq/storage/sqlite/migrations/0006_workflows.sql",
        "UPDATE liteq_meta SET value = 6 WHERE key IN ('min_reader', 'min_writer');",
        "UPDATE liteq_meta SET value = 1 WHERE key IN ('min_reader', 'min_writer');",
        "test_versions.py::test_an_older_one_refuses_the_file_of_this_one_and_writes_nothing",
        "test_versions.py::test_a_running_older_worker_hands_over_to_this_one",
    ),
    without(
        "a migration keeps what rows stand for", "liteq/storage/sqlite/migrations/0004_plain_indexes.sql",
        "CREATE UNIQUE INDEX liteq_messages_unique", "CREATE INDEX liteq_messages_unique",
        "test_versions.py::test_a_file_of_an_older_one_is_migrated_with_live_rows_in_every_state",
    ),
    without(
        "a migration carries on what is held", "liteq/storage/sqlite/migrations/0008_production.sql",
        "UPDATE liteq_messages SET held_by = 'own:' || task WHERE state = 'held';", "",
        "test_upgrade.py::test_a_half_done_file_of_an_older_one_is_carried_on_under_load",
    ),
    # -- backups
    without(
        "the tokens of a new epoch lie ahead", "liteq/storage/sqlite/tokens.py",
        "EPOCH_US: Final = 2**37", "EPOCH_US: Final = 0",
        "../unit/storage/test_tokens.py::test_a_copy_on_a_machine_whose_clock_is_a_day_behind_goes_on_above",
    ),
    without(
        "what is leased in a copy is nobody's", "liteq/storage/sqlite/versions/epoch.py",
        '    "UPDATE liteq_messages SET token = 0, deadline_ms = 0 WHERE state = \'leased\'",\n', "",
        "test_restore.py::test_a_lease_given_out_after_the_backup_is_void",
        "test_litestream.py::test_a_copy_is_a_state_that_was_and_leases_of_before_are_void",
    ),
    without(
        "a copy that comes into use begins a new epoch", "liteq/storage/sqlite/versions/create.py",
        "                epoch.begin(session)\n", "                pass\n",
        "test_restore.py::test_a_lease_given_out_after_the_backup_is_void",
        "test_litestream.py::test_a_follower_takes_over_and_the_old_leader_acknowledges_nothing",
    ),
    without(
        "a file that is in use is not replaced", "liteq/storage/sqlite/keeping/restore.py",
        "        if users or not _alone(session):", "        if False:",
        "test_restore.py::test_all_that_the_copy_has_is_done",
    ),
    without(
        "what has no queue in it is no backup", "liteq/storage/sqlite/keeping/restore.py",
        "        _check(session)\n", "",
        "test_restore.py::test_what_is_no_backup_is_refused_and_changes_nothing",
    ),
    without(
        "the queue that a backup replaces is kept", "liteq/storage/sqlite/keeping/restore.py",
        "if suffix or not _linked(target, kept):", "if suffix:",
        "test_restore.py::test_the_queue_that_was_there_is_kept_and_can_be_put_back",
    ),
    without(
        "the old queue keeps its name until the copy takes it", "liteq/storage/sqlite/keeping/restore.py",
        "if suffix or not _linked(target, kept):", "if True:",
        "test_restore.py::test_killed_at_any_moment_there_is_the_old_queue_or_the_copy",
    ),
    without(
        "the copy of a killed restore is cleared by the next", "liteq/storage/sqlite/disk/parts.py",
        "    clear(target)\n    part", "    part",
        "test_restore.py::test_what_a_killed_restore_leaves_is_cleared_by_the_next_and_told_by_doctor",
    ),
    without(
        "the lock on a copy tells whether its process lives", "liteq/storage/sqlite/disk/parts.py",
        "        return _lock(fd)\n", "        return True\n",
        "test_restore.py::test_what_a_killed_restore_leaves_is_cleared_by_the_next_and_told_by_doctor",
    ),
    without(
        "the log of a file that became read-only is put on the disk", "liteq/storage/sqlite/disk/files.py",
        'os.O_RDONLY if sys.platform == "linux" else os.O_RDWR', "os.O_RDWR",
        "test_closed_folders.py::"
        "test_who_has_the_queue_open_works_on_while_it_is_read_only_and_others_are_told",
    ),
    without(
        "a folder that cannot be entered is no empty queue", "liteq/storage/sqlite/disk/files.py",
        "    if closed := unreachable(path):\n", "    if closed := '':\n",
        "test_closed_folders.py::"
        "test_a_folder_that_cannot_be_entered_is_told_as_such_and_not_as_an_empty_or_damaged_queue",
    ),
    # -- Litestream
    without(
        "a copy is read without a file being made", "liteq/storage/sqlite/read_only.py",
        "        alone = copies.stands_alone(self.path)\n", "        alone = False\n",
        "test_readers.py::test_a_week_of_commands_leaves_a_replica_sound",
    ),
    without(
        "a replicated send waits for its copy", "liteq/sending/replicated.py",
        "            replicator.wait(conf.replicated_timeout)\n", "            pass\n",
        "test_litestream.py::test_what_was_replicated_is_there_when_all_is_killed",
        "../integration/test_replicated.py::test_each_way_of_sending_looks_before_and_asks_after_the_commit",
    ),
    without(
        "a copy is one where the remote has this commit", "liteq/storage/sqlite/litestream/control.py",
        "                    if there >= wanted > 0:\n", "                    if True:\n",
        "../integration/test_replicated.py::test_a_remote_that_lags_is_asked_again_for_this_commit_alone",
        "../integration/test_replicated.py::test_an_answer_that_names_no_commit_is_no_copy",
    ),
    without(
        "where no copy would be made, nothing is sent", "liteq/storage/sqlite/litestream/control.py",
        "            self._check()\n", "            pass\n",
        "../integration/test_replicated.py::test_where_nobody_answers_nothing_is_written",
        "../integration/test_replicated.py::test_a_litestream_of_another_file_is_refused",
    ),
    without(
        "a copy that was put into place by hand is told of", "liteq/storage/sqlite/litestream/marks.py",
        "        _without_log.add(identity)\n", "        pass\n",
        "../unit/cli/test_cli_litestream.py::test_a_copy_put_into_place_by_hand_is_told_of",
    ),
    without(
        "a log that is copied is not begun anew", "liteq/storage/sqlite/keeping/checkpoint.py",
        "    if is_copied(folder):\n", "    if False:\n",
        "test_litestream.py::test_a_log_that_was_folded_while_it_was_away_damages_no_copy",
    ),
    # -- what other folders test
    without(
        "a process that a task has forked has no outcome", "liteq/worker/pool/executor.py",
        "            if _forks.n != forks:\n", "            if False:\n",
        "../integration/test_worker_tasks.py::test_a_forked_copy_that_comes_back_out_of_its_task_ends_there",
    ),
    without(
        "a bell that has gone with the database does not end its listener", "liteq/storage/sqlite/waking/inotify.py",
        "        with suppress(OSError, StorageUnavailable):\n", "        if True:\n",
        "../integration/test_sqlite_processes.py::test_a_listener_outlives_its_folder_and_hears_the_next_one",
    ),
    without(
        "a bell that was replaced while somebody holds it open is heard", "liteq/storage/sqlite/waking/inotify.py",
        "            self._unsure = True\n", "            pass\n",
        "../integration/test_sqlite_processes.py::"
        "test_a_bell_that_was_replaced_while_somebody_holds_it_open_is_heard",
    ),
    without(
        "a pickle is read under a signature only", "liteq/serialization/content.py",
        "        if not any([compare_digest", "        if False and not any([compare_digest",
        "../unit/test_serializers.py::test_a_pickle_without_our_signature_is_never_loaded",
        "../unit/test_serializers.py::test_a_pickle_that_was_changed_anywhere_is_not_loaded",
    ),
    without(
        "what others wrote drives no terminal and forges no line", "liteq/utils/text.py",
        "    if text.isprintable():", "    if text:",
        "test_limits.py::test_results_and_tracebacks_are_held_to_their_limits",
        "../unit/test_log.py::test_a_name_cannot_forge_a_line_or_drive_the_terminal",
    ),
    without(
        "a row that no verb can take becomes a dead letter", "liteq/storage/sqlite/doctor/misfits.py",
        "    return [_bury_one(tx, seq, now_ms) for seq in sorted(found)]", "    return []",
        "test_guilty.py::test_a_message_written_by_hand_is_a_dead_letter_and_the_next_one_runs",
    ),
    without(
        "a text that is none is found behind any number of rows", "liteq/storage/sqlite/doctor/misfits.py",
        "    while not found and (rows := tx.execute(NEXT, (after,))):\n",
        "    for rows in [tx.execute(NEXT, (after,))]:\n",
        "test_guilty.py::test_text_that_is_none_stops_no_queue_behind_any_number_of_rows",
    ),
    without(
        "the loop goes on after an error that no storage raises", "liteq/worker/loop.py",
        "            self._pass_over(exc)", "            raise",
        "test_guilty.py::test_any_values_in_any_columns",
    ),
    without(
        "a reader passes over a row that is none", "liteq/storage/limits/rules.py",
        "    except (ValueError, TypeError):\n        return None", "    except KeyError:\n        return None",
        "test_guilty.py::test_what_another_program_wrote_beside_the_messages_stops_no_worker",
    ),
    without(
        "a rate is one that a file can hold", "liteq/policy/rates.py",
        "        or 0 < value < LEAST\n", "",
        "test_guilty.py::test_a_rate_that_no_file_can_hold_is_refused_where_it_is_said",
    ),
    without(
        "a group stays one when it is frozen, though one task is left of it", "liteq/canvas/primitives.py",
        "self.tasks = [*members, group()] if several else members", "self.tasks = members",
        "../unit/test_compile_properties.py::test_a_frozen_canvas_means_the_same",
        "../integration/test_canvases_end.py::"
        "test_a_group_that_is_a_chain_is_the_same_group_when_it_is_frozen",
    ),
    without(
        "no group counts a member without a task", "liteq/sending/sender.py",
        "        if not compiled.batch.messages:  #", "        if False:  #",
        "../integration/test_group_growth.py::test_a_canvas_without_a_task_is_no_member",
    ),
    without(
        "an outcome that cannot be stored fails its task alone", "liteq/worker/loop.py",
        "if isinstance(exc, Exception) and not passes(exc):", "if type(exc) is StorageError:",
        "test_guilty.py::test_a_task_of_which_no_outcome_can_be_stored_fails_alone",
    ),
    without(
        "an outcome waits while the storage refuses for a reason of its own", "liteq/worker/apart.py",
        "            if passes(exc):", "            if False:",
        "../unit/worker/test_worker_in_process.py::"
        "test_an_outcome_is_kept_where_the_storage_is_busy_while_they_are_settled_one_by_one",
    ),
    without(
        "the time of a retry is a possible one", "liteq/policy/times.py",
        "    if not abs(seconds) <= LONGEST_S:", "    if abs(seconds) != abs(seconds):",
        "../unit/test_call_options.py::test_a_time_that_there_is_not",
    ),
    without(
        "a signed pickle is read in its own place alone", "liteq/serialization/content.py",
        'join([self._purpose, *(part.encode() for part in owner or ())])', "join([])",
        "../unit/test_serializers.py::test_a_signed_pickle_is_read_as_the_arguments_of_its_own_message_alone",
        "../unit/test_serializers.py::test_a_pickle_that_is_copied_to_another_row_becomes_a_dead_letter",
    ),
    without(
        "a message names no module to import", "liteq/worker/control/commands.py",
        "    if modules and not state.app.conf.worker_pool_restarts:", "    if False:",
        "../integration/test_control_worker.py::test_a_message_imports_no_module_unless_the_settings_allow_it",
    ),
    without(
        "names and ids that others sent are one line of the log", "liteq/utils/log.py",
        "    return printable(without_secrets(text)) if ours and", "    return without_secrets(text) if ours and",
        "../unit/test_log.py::test_neither_form_of_the_log_shows_raw_what_others_sent",
    ),
    without(
        "a line of the log quotes no sensitive argument", "liteq/utils/log.py",
        "    return printable(without_secrets(text)) if ours and", "    return printable(text) if ours and",
        "../contrib/traces/test_logs.py::test_a_retry_and_a_failure_tell_their_error_and_no_secret",
    ),
    without(
        "a traceback in the log quotes no sensitive argument", "liteq/utils/log.py",
        "excerpt(without_secrets(logging.Formatter().formatException(exc_info)),",
        "excerpt(logging.Formatter().formatException(exc_info),",
        "../contrib/traces/test_logs.py::test_a_retry_and_a_failure_tell_their_error_and_no_secret",
    ),
    without(
        "an observer that fails changes nothing of what it sees", "liteq/context/observing.py",
        "        return None\n    stack.push(", "        raise\n    stack.push(",
        "../contrib/traces/test_spans.py::test_an_observer_that_fails_changes_nothing",
    ),
    without(
        "a status route without a token is open to nobody", "liteq/monitor/documents.py",
        "    if not guard.local:", "    if False:",
        "../contrib/flask/test_flask_extension.py::test_a_program_that_has_said_nothing_lets_nobody_look",
    ),
    without(
        "an exception's module is not imported", "liteq/serialization/errors.py",
        "    found: Any = sys.modules.get(doc.module)", "    found: Any = __import__(doc.module)",
        "../unit/test_error_documents.py::test_a_module_is_not_imported_because_a_document_names_it",
    ),
    # -- payloads
    without(
        "depth is counted where orjson would go on", "liteq/serialization/codec.py",
        "if room <= 1 or not _is_plain(value, room - 1):", "if not _is_plain(value, room - 1):",
        "test_hostile_payloads.py::test_a_tower_of_lists_is_refused_and_overflows_no_stack",
    ),
    without(
        "the slow way down a value ends", "liteq/serialization/walk.py",
        "if depth >= self.max_depth:", "if False:",
        "test_hostile_payloads.py::test_a_value_that_contains_itself_is_refused",
    ),
    without(
        "a refusal says where the value is", "liteq/serialization/walk.py",
        'f"{path}[{i}]"', "path",
        "test_hostile_payloads.py::test_the_message_says_where_the_value_is",
    ),
    without(
        "a number that JSON has no form for gets a tag", "liteq/serialization/codec.py",
        "if not isfinite(value):", "if False:",
        "test_hostile_payloads.py::test_anything_is_either_refused_or_comes_back",
    ),
    without(
        "a limit is held to the byte", "liteq/serialization/codec.py",
        "if limit is not None and len(data) > limit:", "if limit is not None and len(data) > limit + 1:",
        "test_limits.py::test_arguments_are_held_to_their_limits_to_the_byte",
    ),
    without(
        "a result that cannot be stored is a failure of its task", "liteq/execution/execute.py",
        "except Exception as exc:  # it cannot be stored", "except ZeroDivisionError as exc:  #",
        "test_limits.py::test_a_result_that_was_refused_leaves_its_child_alive",
    ),
    without(
        "an error names no argument", "liteq/storage/sqlite/apsw_driver.py",
        'execute(sql, params).fetchall()\n        except apsw.Error as error:\n'
        "            raise self.error(error) from error",
        'execute(sql, params).fetchall()\n        except apsw.Error as error:\n'
        '            raise StorageError(f"{error} {params}") from error',
        "test_limits.py::test_a_storage_error_names_no_more_than_its_path",
    ),
    # -- interrupts, threads, foreign files
    without(
        "a limit is held back while the storage works", "liteq/worker/pool/limits.py",
        "for module in (storage, signals,", "for module in (signals,",
        "test_interrupts.py::test_a_limit_never_raises_inside_the_storage",
    ),
    without(
        "a limit is held back where it would be swallowed", "liteq/worker/pool/limits.py",
        'if name == "__del__" or (name', "if (name",
        "test_interrupts.py::test_a_limit_that_comes_in_a_receiver_a_destructor_or_a_collection_is_not_swallowed",
    ),
    without(
        "a limit that Python has swallowed is tried again", "liteq/worker/pool/limits.py",
        "self._watched = _Watched(exceeded, self._again)", "pass",
        "test_interrupts.py::test_a_limit_that_comes_in_a_receiver_a_destructor_or_a_collection_is_not_swallowed",
    ),
    without(
        "a limit that is held back is tried again", "liteq/worker/pool/limits.py",
        "signal.setitimer(signal.ITIMER_REAL, AGAIN_S)", "pass",
        "test_interrupts.py::test_soft_limits_inside_the_storage_all_arrive_and_leave_nothing_behind",
        "test_interrupts.py::test_a_limit_that_comes_in_a_receiver_a_destructor_or_a_collection_is_not_swallowed",
    ),
    without(
        "what an interrupted exit left open is rolled back", "liteq/storage/interrupts.py",
        "            drop(trace.tb_frame.f_locals[\"self\"])\n", "            pass\n",
        "test_interrupts.py::test_an_interrupt_at_any_step_leaves_the_gate_open_and_the_handler_able_to_send",
    ),
    without(
        "a backup without room names its own disk", "liteq/storage/sqlite/keeping/backup.py",
        "    except StorageFull as error:", "    except ZeroDivisionError as error:",
        "test_disk_full.py::test_a_backup_without_room_names_its_own_disk",
    ),
    without(
        "the doctor names who keeps all others from writing", "liteq/storage/sqlite/doctor/describe.py",
        'kept_by(driver.path, KEPT_S) if whole else ""', '""',
        "test_locks.py::test_the_doctor_names_who_keeps_all_others_from_writing",
    ),
    without(
        "a worker that is refused its beats did not stand still", "liteq/worker/chores/heartbeat.py",
        "            if self._again_at:\n", "            if False:\n",
        "test_stalls.py::test_whoever_is_refused_its_beats_does_not_say_that_it_stood_still",
    ),
    without(
        "what is done on a return is done after a refusal too", "liteq/worker/chores/heartbeat.py",
        "self.worker, self._returns = self._register(), True", "self.worker = self._register()",
        "test_stalls.py::test_what_is_done_on_a_return_is_done_also_where_the_first_try_is_refused",
    ),
    without(
        "a beat that is refused is told once", "liteq/worker/chores/heartbeat.py",
        'self._report(logging.WARNING, f"the heartbeat failed, trying again: {exc}")',
        'logger.warning("the heartbeat failed, trying again: %s", exc)',
        "test_stalls.py::test_what_beats_beside_a_busy_loop_tells_of_a_refusal_once",
    ),
    without(
        "a waiter that is left behind lets go", "liteq/storage/sqlite/turns/gate.py",
        "self._fd = os.dup(fd)", "self._fd = fd",
        "test_interrupts.py::test_an_interrupt_while_waiting_for_the_gate_gives_the_place_up",
    ),
    without(
        "nobody waits at the gate without end", "liteq/storage/sqlite/turns/gate.py",
        "or self._wait(min(timeout_s, PATIENCE_S))", "or self._wait(timeout_s)",
        "test_threads.py::test_a_process_that_is_stopped_at_the_gate_holds_nobody_up",
    ),
    without(
        "one waiter of a process is enough for a queue that does not move", "liteq/storage/sqlite/turns/gate.py",
        "if self._path in _left.values():", "if False:",
        "test_threads.py::test_a_process_that_is_stopped_at_the_gate_holds_nobody_up",
        "test_interrupts.py::test_an_interrupt_while_waiting_for_the_gate_gives_the_place_up",
    ),
    without(
        "files that were forgotten meanwhile are not lost", "liteq/storage/sqlite/keeping/sidecars.py",
        "            if known is before:\n                return not ", "            return not ",
        "test_threads.py::test_the_last_connection_that_closes_between_two_looks_is_no_deletion",
    ),
    without(
        "what is known of the log is one value", "liteq/storage/sqlite/keeping/sidecars.py",
        "identity(self._paths[which]) != known[which]:", "identity(self._paths[which]) != self._known[which]:",
        "test_threads.py::test_the_last_connection_that_closes_between_two_looks_is_no_deletion",
    ),
    without(
        "a session is one thread's at a time", "liteq/storage/sqlite/base.py",
        "            if idle:\n                del idle[-1]\n", "",
        "test_threads.py::test_forty_threads_that_send_and_ask_meet_no_error",
    ),
    without(
        "the drivers are not gone through while one is added", "liteq/storage/sqlite/turns/fork.py",
        "    with _registering:\n        return list(_at.get(path, ()))",
        "    return list(_at.get(path, ()))",
        "test_threads.py::test_drivers_may_be_opened_while_others_look_for_them",
    ),
    without(
        "what many connections do together counts for the log", "liteq/storage/sqlite/keeping/upkeep.py",
        "self._work += session.work", "self._work = session.work",
        "test_threads.py::test_the_log_of_many_threads_is_folded",
    ),
    without(
        "no reader is blamed that is not there", "liteq/storage/sqlite/keeping/checkpoint.py",
        "    if who:\n", "    if True:\n",
        "test_threads.py::test_a_large_log_that_nobody_reads_is_laid_at_nobodys_door",
    ),
    without(
        "a greenlet waits in a native thread", "liteq/storage/sqlite/turns/greenlets.py",
        'return getattr(_thread, name) if monkey is None else monkey.get_original("_thread", name)',
        "return getattr(_thread, name)",
        "test_threads.py::test_greenlets_and_a_second_process_all_get_through",
    ),
    without(
        "a fork waits for imports", "liteq/utils/imports.py",
        "not in (None, me)", "is NotImplemented",
        "test_threads.py::test_a_child_is_not_forked_while_another_thread_imports",
    ),
    without(
        "whoever forks waits for liteq's imports", "liteq/storage/sqlite/turns/fork.py",
        "    imports.settle(IMPORT_S, OURS)  # first: such an import may need a transaction\n", "",
        "test_threads.py::test_whoever_forks_does_so_after_the_imports_of_liteq_s_parts",
    ),
    without(
        "a fork waits for a connection that is being closed", "liteq/storage/sqlite/base.py",
        "                self._release(session)\n                holder.session = None\n        if not keep:",
        "                holder.session = None\n            self._release(session)\n        if not keep:",
        "test_threads.py::test_a_connection_that_is_being_closed_is_one_that_a_fork_waits_for",
    ),
    without(
        "the umask has no say in a queue's mode", "liteq/storage/sqlite/disk/files.py",
        "                os.fchmod(fd, mode)  # the umask has perhaps taken bits\n", "                pass\n",
        "test_shared_files.py::test_the_setting_says_who_may_use_the_files_and_the_umask_does_not",
    ),
    without(
        "what is beside a shared queue is shared", "liteq/storage/sqlite/disk/ownership.py",
        "wanted = MODE | (database.st_mode & GROUP if database.st_mode & stat.S_IWGRP else 0)", "wanted = MODE",
        "test_shared_files.py::test_two_users_of_a_group_share_a_queue_and_a_third_does_not",
    ),
    without(
        "the mode of a file that is there is its owner's choice", "liteq/storage/sqlite/disk/files.py",
        "    except FileExistsError:\n        return\n",
        "    except FileExistsError:\n        os.chmod(path, mode)\n        return\n",
        "test_shared_files.py::test_a_file_that_is_there_keeps_its_mode",
    ),
    without(
        "a queue is one user's or one group's", "liteq/settings/table.py",
        '        choices=("600", "660"),\n', "",
        "test_shared_files.py::test_no_other_mode_is_taken",
    ),
    without(
        "a side file of another user is refused", "liteq/storage/sqlite/disk/ownership.py",
        "in (os.geteuid(), 0, database.st_uid)", "is not None",
        "test_foreign_files.py::test_a_side_file_of_another_user_is_refused",
        "test_foreign_files.py::test_a_side_file_that_is_laid_out_later_is_refused_too",
        "test_foreign_files.py::test_the_ballast_of_another_user_says_nothing_and_a_link_in_its_place_harms_nothing",
    ),
    without(
        "each connection looks whose the log is", "liteq/storage/sqlite/base.py",
        "            ownership.check(self.path, ownership.LOG_FILES)\n", "",
        "test_foreign_files.py::test_a_log_that_is_laid_out_between_two_connections_is_refused",
    ),
    without(
        "a group's side file has no bit more than the database", "liteq/storage/sqlite/disk/ownership.py",
        "status.st_gid == database.st_gid and not more", "status.st_gid == database.st_gid",
        "test_foreign_files.py::test_a_group_shares_a_queue_whichever_of_its_users_made_the_side_files",
    ),
    without(
        "a log without its database is refused", "liteq/storage/sqlite/disk/files.py",
        "    if lost := lost_database(path):", "    if lost := False:",
        "test_foreign_files.py::test_a_log_without_its_database_is_refused",
    ),
    without(
        "a database that is mounted alone is refused", "liteq/storage/sqlite/disk/mounts.py",
        "if any(point == path for point, _ in _mounts()):", "if False:",
        "test_foreign_files.py::test_a_database_that_is_mounted_alone_is_refused",
    ),
    without(
        "a file system of a virtual machine is refused", "liteq/storage/sqlite/disk/mounts.py",
        "UNSAFE = NETWORK | SHARED", "UNSAFE = NETWORK",
        "test_foreign_files.py::test_a_file_system_that_machines_share_is_refused",
    ),
    without(
        "a side file that is none is refused", "liteq/storage/sqlite/disk/ownership.py",
        "    if not stat.S_ISREG(status.st_mode):\n        return False\n", "",
        "test_foreign_files.py::test_what_is_refused_says_what_to_do",
    ),
    without(
        "a restore keeps the owner and the mode", "liteq/storage/sqlite/keeping/restore.py",
        "            _give_to_owner(part, target)\n", "",
        "test_foreign_files.py::test_a_restore_by_root_keeps_owner_and_mode_and_else_goes_by_the_folder",
    ),
    without(
        "a child needs descriptors", "liteq/worker/pool/prefork/forking.py",
        "    make_room()\n", "",
        "test_descriptors.py::test_a_worker_with_more_children_than_descriptors_works_with_fewer",
    ),
    without(
        "whoever notices that the clock was set sets the times right", "liteq/worker/chores/heartbeat.py",
        "        found = self._set_right()\n        if first or self._is_first():\n",
        "        found = False\n        if first or self._is_first():\n            found = self._set_right()\n",
        "test_clock_jumps.py::test_whoever_notices_sets_right_and_not_the_first_alone",
    ),
    without(
        "times are set right once the file can be written", "liteq/worker/chores/heartbeat.py",
        "self._cap_at, self._cap_until = self.monotonic(), inf",
        "self._cap_at, self._cap_until = self.monotonic(), self.monotonic() + self._visibility_s",
        "test_clock_jumps.py::test_it_is_set_right_however_long_the_file_cannot_be_written",
    ),
    without(
        "others are told of the clock as of the last look", "liteq/worker/chores/heartbeat.py",
        "OFFSET: round(self._seen_offset_s, 3)", "OFFSET: round(self._offset(), 3)",
        "test_clock_jumps.py::test_a_worker_that_starts_after_one_that_has_not_set_right_does",
    ),
    without(
        "the countdown of a retry ends by the clock of now", "liteq/storage/settling/outcomes.py",
        "due_ms = retry.due_ms if retry.delay_ms is None else min(retry.due_ms, now_ms + retry.delay_ms)",
        "due_ms = retry.due_ms",
        "test_clock_jumps.py::test_a_retry_waits_no_longer_than_its_countdown_if_the_clock_is_set_on_its_way",
    ),
    without(
        "a message that is handed back pauses from now on", "liteq/storage/settling/outcomes.py",
        "self.write(LEFT if elsewhere else HANDED_BACK, lease, self.terms.now_ms + pause_ms, pause_ms, options)",
        "self.write(LEFT if elsewhere else HANDED_BACK, lease, pause_ms, pause_ms, options)",
        "test_clock_jumps.py::test_what_is_handed_back_pauses_from_when_it_is_settled",
    ),
    without(
        "the copy of an errback is not due when the original was", "liteq/storage/canvases/revive.py",
        "CASE WHEN state = 'upstream_failed' AND due_ms > created_ms THEN due_ms ELSE :now_ms END,",
        "due_ms,",
        "test_clock_jumps.py::test_an_errback_of_a_replay_runs_at_once_though_the_clock_was_set_back",
    ),
    without(
        "... nor after the delay of its last retry", "liteq/storage/canvases/revive.py",
        "CASE WHEN retries = 0 THEN delay_ms END,", "delay_ms,",
        "../conformance/test_needed.py::test_an_errback_that_was_retried_is_called_again_at_once",
    ),
    without(
        "a canvas is itself though its errback is called again", "liteq/storage/canvases/standing.py",
        " and m.id not in self._own]", "]",
        "../conformance/test_needed.py::test_a_canvas_whose_errback_is_called_again_is_the_one_that_was_sent",
    ),
    without(
        "a row on a server is found by its key", "contrib/liteq_postgres/translate.py",
        'if "liteq_messages" in sql else sql', 'if not sql else sql',
        "../integration/test_portable_sql.py::test_a_row_that_is_named_is_found_by_its_key",
    ),
    without(
        "a plan for few rows is made anew", "contrib/liteq_postgres/session.py",
        "            self._later.append(PLAN_ANEW)\n", "",
        "../integration/test_postgresql_plans.py::test_a_plan_that_was_made_for_few_rows_is_made_anew",
    ),
    without(
        "what has ended tells of a clock that was set back", "liteq/storage/housekeeping/cap.py",
        "for sql in NEWEST for (at_ms,)", "for sql in NEWEST[:1] for (at_ms,)",
        "test_clock_jumps.py::test_a_worker_that_starts_when_all_others_have_left_sees_it_by_what_has_ended",
    ),
    without(
        "an age of 0 is never", "liteq/storage/storage.py",
        "before_ms = now_ms - int(result_expires_s * 1000) if result_expires_s else None",
        "before_ms = now_ms - int(result_expires_s * 1000) if result_expires_s is not None else None",
        "../conformance/test_queue_verbs.py::test_an_age_of_none_or_0_keeps_all",
        "test_mix.py::test_the_mix_ends_clean",
        "test_everything.py::test_everything_at_once_ends_clean",
    ),
    without(
        "a tracer called inside a traced task runs its own", "liteq/execution/tracing.py",
        "            _run.set(None)  # a tracer that is called inside this task runs a task of its own\n", "",
        "../contrib/test_celery_wrapping.py::test_a_tracer_that_is_called_inside_a_task_runs_its_own",
    ),
    without(
        "a tracer that runs nothing is a failure", "liteq/execution/enclosing.py",
        "    if executed is None:\n        return whole.failed(RuntimeError(",
        "    if False:\n        return whole.failed(RuntimeError(",
        "../contrib/test_celery_wrapping.py::test_a_tracer_that_runs_nothing_is_a_failure",
    ),
    without(
        "a forked child leaves the event loops of its parent's threads alone", "liteq/utils/coroutines.py",
        "if self.pid == os.getpid():", "if True:",
        "../unit/test_coroutines.py::test_a_fork_from_another_thread_leaves_the_loop_awake",
    ),
    without(
        "a chord that was opened by a task which died then fails at once", "liteq/storage/groups/ended.py",
        "if give_up(tx, one.id, one.error, now_ms=now_ms):", "if False:",
        "../conformance/test_open_groups.py::test_a_group_whose_sender_ended_before_it_was_whole_fails_with_the_rest",
    ),
    without(
        "a task of Celery's begins once in all processes of a pool", "contrib/liteq_kombu/running.py",
        "self.lost = not self.file.begun.is_first(lease.token)", "self.lost = False",
        CELERY + "test_backend.py::test_an_early_task_begins_once_in_all_processes_of_a_pool",
    ),
    without(
        "a row tells of what has crashed too often", "liteq/storage/settling/settle.py",
        "told = leave_word(tx, lease.seq, lease.id, now_ms=terms.now_ms)", "told = False",
        "../conformance/test_giving_up.py::test_a_row_tells_of_what_has_crashed_too_often",
    ),
    without(
        "nobody is told twice of what is given up", "liteq/storage/settling/telling.py",
        " or tx.execute(FOLLOWED, (id_,)):", ":",
        "../conformance/test_giving_up.py::test_nobody_is_told_twice_where_rows_stand_behind_it",
    ),
    without(
        "what a worker cannot run is left to others for a moment", "liteq/storage/claiming/claim.py",
        '"left_ms": now_ms - LEFT_MS', '"left_ms": now_ms',
        "../conformance/test_queue_verbs.py::test_what_a_worker_cannot_run_others_take_first",
    ),
    without(
        "a consumer of Celery's looks again where the file has changed", "contrib/liteq_kombu/waking.py",
        "if version != self._version or self", "if self",
        CELERY + "test_transport.py::test_a_consumer_looks_again_where_the_file_has_changed",
    ),
    without(
        "a result behind an early acknowledgement is synced", "contrib/liteq_kombu/holder.py",
        "return bool(self._leases) or (self._node is not None and self._node.has_tasks())", "return bool(self._leases)",
        CELERY + "test_transport.py::"
        "test_with_relaxed_durability_a_worker_syncs_what_was_promised_and_no_heartbeat",
    ),
    without(
        "an async body's exception has no context of liteq's own", "liteq/utils/coroutines.py",
        "        is_under_a_loop = False\n", "        return _run_here(coroutine)\n",
        "../contrib/test_celery_wrapping.py::test_whoever_wraps_an_async_body_sees_its_end_and_its_exception",
    ),
    without(
        "a default that one program changes is nobody else's", "liteq/settings/celery_names.py",
        "copy.deepcopy(_DEFAULTS.get(name))", "_DEFAULTS.get(name)",
        "../unit/test_settings.py::test_a_default_that_a_program_changes_in_place_is_nobody_else_s",
    ),
    without(
        'a worker that lost its run records nothing', 'liteq/storage/steps/rows.py',
        'UNDER_HOLD = "seq = ? AND state = \'leased\' AND token = ?"',
        'UNDER_HOLD = "seq = ? AND state = \'leased\' AND ? IS NOT NULL"',
        '../conformance/test_runs.py::test_a_lost_lease_writes_nothing',
    ),
    without(
        'a checkpoint tells what is asked', 'liteq/storage/steps/rows.py',
        'AND flags & {Flag.ASKED} = 0 {LOCK}',
        '{LOCK}',
        '../conformance/test_runs.py::test_a_cancel_is_told_by_the_next_checkpoint_which_is_recorded',
    ),
    without(
        'a step that has ended stays as it ended', 'liteq/storage/steps/rows.py',
        ' WHERE liteq_steps.ended_ms IS NULL\n',
        ' WHERE liteq_steps.kind IS NOT NULL\n',
        '../conformance/test_runs.py::test_a_row_that_has_ended_is_not_written_again',
    ),
    without(
        'a run that suspends looks into its inbox', 'liteq/storage/steps/suspend.py',
        '        awake |= _take_all(tx, lease, name, now_ms)\n',
        '        pass\n',
        'test_workflow_kills.py::test_no_wake_up_is_lost_between_a_wait_and_what_it_waits_for',
        '../conformance/test_run_races.py::test_nothing_that_a_run_waits_for_is_lost',
        '../conformance/test_runs.py::test_an_event_before_the_run_before_the_wait_and_after_it',
    ),
    without(
        'a run that suspends sees what came into its open waits', 'liteq/storage/steps/suspend.py',
        'awake = bool(state.news) or any(', 'awake = any(',
        '../conformance/test_runs.py::test_an_event_for_an_open_wait_comes_while_the_body_runs',
        '../conformance/test_run_races.py::test_nothing_that_a_run_waits_for_is_lost',
    ),
    without(
        'a run that suspends counts the children that ended meanwhile', 'liteq/storage/steps/suspend.py',
        'need = outcome.need - (state.ends - outcome.seen[0]) if outcome.need else None',
        'need = outcome.need or None',
        '../conformance/test_run_races.py::test_nothing_that_a_run_waits_for_is_lost',
        '../conformance/test_runs.py::test_the_end_of_a_child_wakes_its_run_once_enough_have_ended',
    ),
    without(
        'a run that suspends looks what it is asked', 'liteq/storage/steps/suspend.py',
        '(bool(state.flags & Flag.ASKED) and not paused)',
        'False',
        '../conformance/test_runs.py::test_a_cancel_while_it_suspends_wakes_it',
    ),
    without(
        'a cancel that is obeyed wakes nobody again', 'liteq/storage/steps/suspend.py',
        '(bool(state.flags & Flag.ASKED) and not paused)',
        '(state.asked is not None and not paused)',
        '../conformance/test_runs.py::test_the_clean_up_after_a_cancel_may_wait',
    ),
    without(
        'a wait ends by time in the claim', 'liteq/storage/steps/activation.py',
        'if not first and _time_out(',
        'if False and _time_out(',
        '../conformance/test_runs.py::test_a_wait_that_timed_out_stays_so',
    ),
    without(
        'a run that has begun does not expire', 'liteq/storage/steps/activation.py',
        'lease.expires_ms if first else None',
        'lease.expires_ms',
        '../conformance/test_runs.py::test_a_begun_run_does_not_expire_and_is_not_purged',
    ),
    without(
        'a slot is handed on', 'liteq/storage/steps/wake.py',
        'slot.startswith(HELD)',
        'slot.startswith(SLOT)',
        '../conformance/test_runs.py::test_a_limit_lets_so_many_run_and_hands_each_slot_on',
    ),
    without(
        'a limit counts those that run', 'liteq/storage/runs/executing.py',
        'room = max(0, slots.limit - int(tx.execute(RUNNING, (HELD + name,))[0][0]))',
        'room = slots.limit',
        '../conformance/test_runs.py::test_a_limit_lets_so_many_run_and_hands_each_slot_on',
    ),
    without(
        'no wake-up lets a paused run go on', 'liteq/storage/steps/wake.py',
        '   AND NOT EXISTS (SELECT 1 FROM liteq_runs AS r WHERE r.run = :run AND r.parked IS NOT NULL)\n',
        '',
        '../conformance/test_runs.py::test_a_pause_holds_wake_ups_back',
    ),
    without(
        'a crash counts against the step it happened in', 'liteq/storage/steps/suspend.py',
        'if here != mark:',
        'if here < 0:',
        'test_workflow_kills.py::test_a_crash_counts_against_the_step_it_happened_in',
        'test_example_workflows.py::test_an_agent_that_is_killed_at_every_write_never_pays_twice',
        '../conformance/test_runs.py::test_a_crash_counts_against_the_step_it_happened_in',
    ),
    without(
        'the end of a run ends its children', 'liteq/storage/settling/endings.py',
        '        if spawned:\n',
        '        if spawned < 0:\n',
        '../conformance/test_runs.py::test_the_end_of_a_run_cancels_what_it_has_left_open',
        '../conformance/test_run_races.py::test_nothing_that_a_run_waits_for_is_lost',
    ),
    without(
        'a child spawned while a cancel comes does not escape', 'liteq/storage/runs/executing.py',
        '    if told is not None:\n        return told\n    fresh',
        '    fresh',
        '../conformance/test_runs.py::test_a_cancel_before_a_spawn_sends_nothing',
    ),
    without(
        'the claim of a memo ends with the lease', 'liteq/storage/runs/memo.py',
        "AND o.output IS NULL AND m.state = 'leased' {LOCK}",
        'AND o.output IS NULL {LOCK}',
        '../conformance/test_runs.py::test_a_claimant_that_goes_frees_the_memo',
    ),
    without(
        'runs have an age of their own', 'liteq/storage/housekeeping/retention.py',
        '   AND {RUNS_STAY} AND NOT {task_logs.STAYS}\n   AND (m.state',
        '   AND NOT {task_logs.STAYS}\n   AND (m.state',
        '../conformance/test_runs.py::test_runs_have_an_age_of_their_own',
    ),
    without(
        'a rate holds no run back that has begun', 'liteq/storage/claiming/admit.py',
        '        if not begun and not self._has_own(row[TASK]):',
        '        if not self._has_own(row[TASK]):',
        '../conformance/test_runs.py::test_a_rate_holds_no_run_back_that_has_begun',
    ),
    without(
        'no more of a key run at once than may', 'liteq/storage/limits/ledger.py',
        '            if account.places < 1 and not placed:',
        '            if False:',
        '../conformance/test_limits.py::test_no_more_of_a_key_run_at_once_than_may',
        '../conformance/test_runs.py::test_no_more_execute_at_once_than_may',
    ),
    without(
        'a place goes with its lease', 'liteq/storage/settling/settle.py',
        '    leases = places.ending(tx, others, ENDINGS)\n', '    leases: places.Leases = ()\n',
        '../conformance/test_limits.py::test_each_outcome_frees_the_place_and_the_next_one_starts',
    ),
    without(
        'the places of a worker that vanished are free', 'liteq/storage/claiming/reap.py',
        '    places.free(tx, [(row[0], row[1]) for row in rows if row[3] & Flag.PLACED], now_ms=now_ms)\n',
        '',
        '../conformance/test_limits.py::test_a_vanished_workers_places_are_taken_by_others',
    ),
    without(
        'a new limit counts what runs', 'liteq/storage/facades/operators/limits.py',
        '        _change.place_running(tx, [key], now_ms=now_ms)\n',
        '',
        '../conformance/test_limits.py::test_a_limit_that_is_set_while_tasks_run_counts_them',
    ),
    without(
        'an ending looks whether a place has come while it ran', 'liteq/storage/settling/outcomes.py',
        'KNOWN = Flag.LINKED | Flag.PLACED | Flag.CURSOR',
        'KNOWN = Flag.LINKED | Flag.CURSOR',
        '../conformance/test_limits.py::test_a_limit_that_came_while_it_ran_is_freed_by_one_statement_too',
    ),
    without(
        'a pause of a key holds for all workers', 'liteq/storage/limits/ledger.py',
        '            if account.paused_ms > self._now_ms:',
        '            if False:',
        '../conformance/test_limits.py::test_retry_after_holds_for_all_workers_and_counts_no_attempt',
    ),
    without(
        'no burst follows a pause', 'liteq/storage/limits/keys.py',
        '    ramp = float(2**over_s) if over_s < RAMP_S else 0.0',
        '    ramp = 0.0',
        '../conformance/test_limits.py::test_no_burst_follows_a_pause',
    ),
    without(
        'a message that comes new does not overtake its line', 'liteq/storage/claiming/admit.py',
        '            if row is not None and (best is None or _place(row) < _place(heads[best])):',
        '            if row is not None:',
        '../conformance/test_limits.py::test_what_comes_new_does_not_overtake_its_line',
    ),
    without(
        'the exact limit wins over a pattern', 'liteq/storage/limits/rules.py',
        '            rule = self.by_key.get(key)\n',
        '            rule = None\n',
        '../conformance/test_limits.py::'
        'test_a_key_with_a_star_counts_each_that_fits_apart_and_the_exact_one_wins',
    ),
    without(
        'keys take turns', 'liteq/storage/limits/sources.py',
        '        line.turn = self._served[line.key, queue, line.priority] = now + 1',
        '        line.turn = self._served[line.key, queue, line.priority] = now',
        '../conformance/test_fairness.py::test_keys_take_turns_also_within_one_claim',
    ),
    without(
        'a key that had to wait does not catch up', 'liteq/storage/limits/sources.py',
        '        now = self._now[queue, line.priority] = max(self.now(queue, line.priority), line.turn)',
        '        now = self._now[queue, line.priority] = line.turn',
        '../conformance/test_fairness.py::test_one_that_waited_for_long_does_not_catch_up',
    ),
    without(
        'a transactional step without its checkpoint is undone', 'liteq/storage/facades/runs/step_transaction.py',
        'if kind is None and not self._recorded:',
        'if kind is None and self._recorded is None:',
        '../conformance/test_runs.py::test_a_steps_rows_and_its_checkpoint_are_one_commit',
    ),
    without(
        'a number that comes again finds no history', 'liteq/storage/sqlite/migrations/0010_agents.sql',
        '    DELETE FROM liteq_steps WHERE run = OLD.seq;\n',
        '',
        '../conformance/test_runs.py::test_a_number_that_comes_again_finds_no_history',
    ),
    without(
        "a run's wait of before a new generation takes no event", 'liteq/storage/steps/wake.py',
        '   AND gen = (SELECT r.gen FROM liteq_runs AS r WHERE r.run = :run)\n',
        '',
        '../conformance/test_runs.py::test_an_event_goes_to_the_present_generation',
    ),
    # -- runs of workflows
    without(
        'history is read before a run goes on', "liteq/workflow/activating/activation.py",
        '            machine.load()\n',
        '            pass\n',
        "test_workflow_kills.py::test_a_run_killed_anywhere_goes_on_behind_its_last_recorded_step",
        "test_workflow_kills.py::test_a_run_whose_worker_is_killed_goes_on_in_the_next",
        "test_workflow_kills.py::test_runs_survive_kills_at_random",
        "test_example_workflows.py::test_an_import_whose_processes_are_killed_loads_each_item",
        "test_example_workflows.py::test_an_example_is_one_command",
        "test_workflow_kills.py::test_a_paused_run_goes_on_in_another_worker_and_a_fork_repeats_nothing",
    ),
    without(
        "a step is recorded under its lease alone", "liteq/storage/steps/rows.py",
        "UNDER_HOLD = \"seq = ? AND state = 'leased' AND token = ?\"",
        "UNDER_HOLD = \"seq = ? AND state = 'leased' AND ? IS NOT NULL\"",
        "test_workflow_kills.py::test_a_worker_stopped_past_its_lease_cannot_write_for_its_run",
    ),
    without(
        'a run is written for under its lease alone', "liteq/storage/runs/executing.py",
        'HELD_BY = f"{LOOK} {LOCK}"\n', "HELD_BY = f\"{LOOK.replace('m.token = ?', '? IS NOT NULL')} {LOCK}\"\n",
        "test_workflow_kills.py::test_a_worker_stopped_past_its_lease_cannot_write_for_its_run",
    ),
    without(
        "a worker says that it works on the leases of its runs", "liteq/worker/loop.py",
        "self._heartbeat.beat(self.held())",
        "self._heartbeat.beat([])",
        "test_workflow_kills.py::test_a_lease_is_not_taken_by_workers_that_start",
    ),
    without(
        'an event that is taken leaves the inbox', "liteq/storage/steps/suspend.py",
        '        tx.executemany(TAKE_OUT if dedup is None else TAKE, [(number,)])\n',
        '',
        "test_workflow_kills.py::test_events_come_once_and_in_order_though_each_turn_is_killed",
    ),
    without(
        'a wait whose time has come has timed out for good', "liteq/storage/steps/activation.py",
        '    if not first and _time_out(',
        '    if False and _time_out(',
        "test_workflow_kills.py::test_a_wait_that_timed_out_stays_so_though_it_is_killed_again_and_again",
        "test_workflow_kills.py::test_a_sleep_of_a_day_goes_on_over_a_restart_and_ends_once",
    ),
    without(
        'compensations run last in, first out', "liteq/workflow/calling/saga.py",
        "*self._added[i])), -1))", "*self._added[i])), 0))",
        "test_workflow_kills.py::test_compensations_run_last_in_first_out_also_when_they_are_killed",
    ),
    without(
        'a cancel is raised at each call that follows it', "liteq/workflow/history/machine.py",
        '        if not scope.shields:\n            self.cancel(place, reason)',
        '        if not scope.shields:\n            pass',
        "test_workflow_kills.py::test_a_cancel_is_not_swallowed_and_runs_what_undoes",
    ),
    without(
        'a run that ends takes its children along', "liteq/storage/settling/endings.py",
        '            cancel_children(tx, rows.open_children(tx, run, gen), now_ms=now_ms)\n',
        '            pass\n',
        "test_workflow_kills.py::test_a_cancelled_run_takes_its_children_along_also_the_one_just_born",
    ),
    without(
        'the process of a run that is terminated is killed at once', "liteq/worker/control/commands.py",
        'state.pool.terminate(wanted, signal_number("SIGKILL"), lambda _lease: Release())',
        'wanted - wanted',
        "test_workflow_kills.py::test_a_terminated_run_loses_its_process_and_undoes_nothing",
    ),
    without(
        "a step's rows and its result are one commit, also elsewhere", "liteq/workflow/stepping/databases.py",
        '    _run(connection, mark, WRITE, (*_place(call), data.decode()))\n',
        '',
        "test_workflow_kills.py::test_a_transactional_step_leaves_one_row_wherever_it_is_killed",
    ),
    without(
        'a claim on an expensive answer keeps others from it', "liteq/storage/runs/memo.py",
        '    if tx.execute(CLAIMED, (key,)):\n        return MemoTaken(None, mine=False)\n',
        '',
        "test_workflow_kills.py::test_an_expensive_answer_is_paid_for_once_though_who_computes_it_is_killed",
    ),
    without(
        'attempts are counted over restarts', "liteq/workflow/stepping/call.py",
        '        self.attempt = 1 if row is None else row.attempts + 1\n',
        '        self.attempt = 1\n',
        "test_workflow_kills.py::test_attempts_and_their_pauses_survive_kills_and_restarts",
    ),
    without(
        'a step whose process was killed at its deadline has had an attempt', "liteq/worker/pool/prefork/handle.py",
        '            self.overdue = overdue[0]\n',
        '',
        "test_workflow_kills.py::test_a_step_past_its_timeout_is_interrupted_or_its_process_is_killed",
    ),
    without(
        'a warm stop has runs give their leases back', "liteq/worker/loop.py",
        '        self._pool.leave_runs()\n',
        '',
        "test_workflow_kills.py::test_a_warm_stop_waits_for_the_step_in_progress_at_most",
    ),
    without(
        'what other code got stuck with is tried', "liteq/worker/chores/runs.py",
        "        if now >= self._stuck_at:\n", "        if False:\n",
        "test_workflow_kills.py::test_a_rolling_deploy_strands_no_run_and_repeats_no_step",
    ),
    without(
        'code that got stuck with a run does not try it again', "liteq/storage/runs/stuck.py",
        'if not marks_of([tried]) & {fingerprint, NO_CODE}]',
        'if True]',
        "test_workflow_kills.py::test_a_run_that_new_code_cannot_go_on_with_is_stuck_until_the_right_code_comes",
        "../conformance/test_runs.py::test_a_stuck_run_is_tried_once_by_each_code",
    ),
    without(
        'a try that did not come to its end is made again', "liteq/storage/runs/stuck.py",
        'TRY = "UPDATE liteq_runs SET parked = NULL WHERE run = ?"',
        'TRY = "UPDATE liteq_runs SET parked = NULL, tried = \'[\\"new\\"]\' WHERE run = ?"',
        "../conformance/test_runs.py::test_a_try_that_did_not_come_to_its_end_is_made_again",
    ),
    without(
        "a result above its limit fails its step", "liteq/workflow/stepping/attempts.py",
        "        data, value = step.codec.result.kept(value, machine.max_bytes)\n",
        "        data, value = step.codec.result.kept(value, None)\n",
        "test_workflow_kills.py::test_large_results_pass_and_what_is_over_the_limit_names_the_setting",
    ),
    without(
        "what writes for a run waits for its turn", "liteq/settings/table.py",
        'Setting("busy_timeout", float, 30.0,', 'Setting("busy_timeout", float, 0.001,',
        "test_workflow_kills.py::test_a_locked_file_reaches_nobody",
    ),
    without(
        "a call is what history holds at its place, with the same arguments", "liteq/workflow/calling/scope.py",
        "row.kind != kind or row.name != name or row.arghash != arghash", "row.kind != kind or row.name != name",
        "../integration/test_workflow_recovery.py::test_other_arguments_are_divergence_too",
    ),
    without(
        "a recorded step is answered from history, whatever it returned", "liteq/workflow/calling/scope.py",
        "if row is not None and row.ended_ms is not None:\n            value = self.answer(row, step.form)",
        "if row is not None and row.output not in (None, b\"null\"):\n            value = self.answer(row, step.form)",
        "../integration/test_workflow_recovery.py::test_a_step_that_returned_nothing_is_recovered_and_not_run_again",
    ),
    without(
        "a body that ends before its history does parks", "liteq/workflow/history/ahead.py",
        "if self._last.get(name, 0) <= pos:", "if self._last:",
        "../integration/test_workflow_recovery.py::test_a_step_that_is_gone_parks_the_run",
    ),
    without(
        "code behind one id of `patched` goes together in a run", "liteq/workflow/calling/scope.py",
        "machine.unpatched.add(id_)", "pass",
        "../integration/test_workflow_recovery.py::"
        "test_patched_is_true_for_new_runs_and_for_those_that_had_not_come_that_far",
    ),
    without(
        "a failing step has its retries, and no more", "liteq/workflow/declared/step.py",
        "if attempt > self.retries or", "if attempt >= self.retries or",
        "../integration/test_workflow_recovery.py::test_attempts_and_their_waits_survive_restarts",
    ),
    without(
        "what cannot come back is not tried again", "liteq/workflow/declared/step.py",
        "return isinstance(exc, StepTimeout) or not isinstance(exc, (WorkflowError, BadMessage))", "return True",
        "../integration/test_workflow_recovery.py::"
        "test_a_value_that_cannot_come_back_fails_its_step_at_once_and_is_not_retried",
    ),
    without(
        "a body that was left answers no call any more", "liteq/workflow/history/machine.py",
        "        if self.leaving is not None:\n            raise self.leaving\n        if self.thread",
        "        if self.thread",
        "../integration/test_workflow_sagas.py::test_steps_run_inside_a_shield",
    ),
    without(
        "after a cancel no step begins outside of sagas and shields", "liteq/workflow/history/machine.py",
        "        if not scope.shields:\n            self.cancel(place, reason)", "        pass",
        "../integration/test_workflow_sagas.py::test_a_cancel_in_a_step_lets_it_end_and_begins_no_other",
        "../integration/test_workflow_sagas.py::test_a_cancel_cannot_be_swallowed",
    ),
    without(
        "compensations run last in first out", "liteq/workflow/calling/saga.py",
        "*self._added[i])), -1))", "*self._added[i])), 0))",
        "../integration/test_workflow_sagas.py::test_compensations_run_last_in_first_out_once_each",
    ),
    without(
        "a cancel with the last write of a saga undoes it too", "liteq/workflow/calling/saga.py",
        "        if exc is None:\n            self._last_look()\n        elif",
        "        if exc is None:\n            pass\n        elif",
        "../integration/test_workflow_sagas.py::test_a_cancel_with_the_last_write_of_a_saga_undoes_it_too",
    ),
    without(
        "the result of a step in another database stands beside its rows", "liteq/workflow/stepping/databases.py",
        "return str(rows[0][0]).encode() if rows else None", "return None",
        "../integration/test_workflow_memo_tx.py::test_a_step_in_a_database_of_ones_own_has_its_effect_once",
    ),
    without(
        "a rewound step in another database is made again", "liteq/workflow/stepping/databases.py",
        'again = f".{machine.rewound}" if machine.rewound else ""', 'again = ""',
        "../integration/test_workflow_rewound.py::test_a_rewound_run_does_its_steps_in_other_databases_again",
    ),
    without(
        "a rewind keeps the id of what was sent", "liteq/storage/runs/again.py",
        ' and step.kind != "send"}', "}",
        "../integration/test_workflow_child_ids.py::test_a_rewind_leaves_what_was_sent_under_an_id_of_its_own",
    ),
    without(
        "a handle that is named twice is waited for once", "liteq/workflow/calling/handles.py",
        "need = len({handle._place for handle in open_ if handle.id is not None})",
        "need = sum(handle.id is not None for handle in open_)",
        "../integration/test_workflow_targets.py::test_a_handle_that_is_named_twice_is_waited_for_once",
    ),
    without(
        "a sent step has the options of its call", "liteq/workflow/calling/targets.py",
        "options=to_send(step)", "options=None",
        "../integration/test_workflow_sent_options.py::test_a_sent_step_that_is_to_be_asked_about_is_not_repeated",
    ),
    without(
        "a run that a transactional step starts belongs to its commit", "liteq/workflow/client/starting.py",
        'transaction if hasattr(transaction, "start") else app.storage.runs', "app.storage.runs",
        "../integration/test_workflow_memo_tx.py::test_what_a_transactional_step_sends_belongs_to_its_commit",
    ),
    without(
        "a kept result crosses no tag", "liteq/workflow/stepping/special.py",
        '    if scope:\n        data = b"%s\\0%s" % (scope.encode(), data)\n', "",
        "../integration/test_workflow_memo_tx.py::test_an_answer_crosses_no_tenant",
    ),
    without(
        "a run without a tag shares with nobody", "liteq/workflow/stepping/special.py",
        '        if found is None:\n            return None\n        scope = found\n', "        scope = found or ''\n",
        "../integration/test_workflow_memo_tx.py::test_an_answer_crosses_no_tenant",
    ),
    without(
        "what is not recorded passes every except of the body", "liteq/workflow/client/recording.py",
        "            machine.leave(  # and not raised: a framework would catch it\n",
        "            (lambda exc: (_ for _ in ()).throw(exc))(\n",
        "../integration/test_workflow_recording.py::"
        "test_what_is_not_recorded_passes_every_except_exception_of_the_body",
    ),
    without(
        "an export hides what is sensitive", "liteq/monitor/runs/run_export.py",
        '    message["payload"] = encode(shown,', '    message["payload"] = encode(given,',
        "../integration/test_workflow_recording.py::test_what_is_sensitive_is_neither_exported_nor_needed",
    ),
    without(
        "a body reveals no secret", "liteq/workflow/secret.py", "guards.append(_not_in_a_body)\n", "",
        "../integration/test_workflow_secret.py::test_a_body_may_not_reveal_it",
    ),
    without(
        "a step that is repeated adds to a session once", "liteq/storage/kept/sessions.py",
        "    if step is not None and tx.execute(ADDED, (session, step)):\n        return False\n", "",
        "../conformance/test_sessions.py::test_a_step_that_is_repeated_writes_once",
    ),
    without(
        "an async body goes on while another run computes a memo", "liteq/workflow/activating/pending.py",
        "                await asyncio.sleep(LOOK_S)", "                __import__('time').sleep(LOOK_S)",
        "../integration/test_workflow_memo_tx.py::test_an_async_body_goes_on_while_another_run_computes",
    ),
    without(
        "each branch of an async body has places of its own", "liteq/workflow/activating/loop.py",
        "        context.run(enter, frame.branch())\n", "",
        "../integration/test_workflow_async.py::test_branches_with_random_delays_replay_the_same",
    ),
    without(
        "the cancellation of a branch does not reach a step", "liteq/workflow/activating/pending.py",
        "found = await asyncio.shield(task)", "found = await task",
        "../integration/test_workflow_async.py::test_a_step_is_not_reached_by_the_cancellation_of_its_branch",
    ),
    without(
        "an async step that is recorded is answered from history", "liteq/workflow/stepping/attempts.py",
        "if row is not None and row.ended_ms is not None:", "if False:",
        "test_agent_kills.py::test_an_agent_killed_inside_each_request_and_each_tool",
        "test_agent_kills.py::test_agents_killed_at_random_repeat_what_was_in_progress",
    ),
    without(
        "a row says that a step begins whose effect may be in doubt", "liteq/workflow/stepping/attempts.py",
        "            note_begin(self)", "            pass",
        "test_agent_kills.py::test_a_charge_that_was_killed_is_looked_for_and_not_repeated",
        "test_agent_kills.py::test_a_charge_that_was_killed_waits_for_a_person",
    ),
    without(
        "the answer to one doubt is none to the next", "liteq/workflow/stepping/doubt.py",
        "max(call.begun, *questions, 0) + 1", "call.begun + 1",
        "../integration/test_workflow_doubt.py::test_a_kill_after_a_retry_is_a_new_doubt",
    ),
    without(
        "an attempt that has failed is in no doubt while it waits", "liteq/workflow/stepping/call.py",
        "        self.machine.checkpoint(row, None, True)", "        self.machine.checkpoint(row)",
        "../integration/test_workflow_doubt.py::test_an_attempt_that_has_failed_is_in_no_doubt",
    ),
    without(
        "a run that is retried asks anew about a step in doubt", "liteq/storage/runs/again.py",
        "*(step for step in standing if step.scope in asked and step not in gone)", "",
        "../integration/test_workflow_doubt.py::test_a_person_says_that_it_fails",
    ),
    without(
        "a divergence is the end whatever catches it", "liteq/workflow/activating/activation.py",
        " or isinstance(machine.leaving, Diverged)", "",
        "../integration/test_workflow_named_steps.py::test_divergence_is_reported_whatever_catches_it",
    ),
    without(
        "an event that a race has lost interest in is the next wait's", "liteq/storage/runs/executing.py",
        'if step is not None and step.child is None and step.kind in ("event", "timer", "sleep", "approval"):',
        "if step is None:",
        "../integration/test_workflow_waits.py::"
        "test_the_event_that_a_race_has_lost_interest_in_goes_to_the_next_wait",
    ),
    without(
        "attempts go with their row, also after a requeue", "liteq/storage/sqlite/migrations/0007_monitoring.sql",
        "OR OLD.reaps > 0 OR OLD.cause IS NOT NULL", "OR OLD.reaps > 0",
        "../conformance/test_statistics.py::test_attempts_go_with_their_row_also_after_a_requeue",
    ),
    without(
        "a task that is retried for ever keeps its newest attempts", "liteq/storage/statistics/attempts.py",
        "    tx.executemany(FORGET, ", "    list(",
        "../conformance/test_statistics.py::test_of_a_task_that_is_retried_for_ever_the_newest_attempts_stay",
    ),
    without(
        "there is an end to the causes of a file", "liteq/storage/statistics/causes.py",
        "if tx.execute(COUNT)[0][0] >= MOST:", "if False:",
        "../conformance/test_statistics.py::test_beyond_the_last_place_causes_are_counted_as_one",
    ),
    without(
        "there is an end to the names that are counted", "liteq/storage/statistics/stats.py",
        "self._tx.execute(TASKS)[0][0] >= MOST_NAMES", "False",
        "../conformance/test_statistics.py::test_beyond_the_last_place_names_are_counted_as_one",
    ),
    without(
        "the sum of all never goes back", "liteq/storage/statistics/stats.py",
        "        _add(tx, ALL, 0, key, tally)\n", "",
        "../conformance/test_statistics.py::test_minutes_become_hours_and_hours_go_and_the_sum_of_all_stays",
    ),
    without(
        "what has become an hour is counted once", "liteq/storage/statistics/stats.py",
        "    tx.executemany(DELETE, [_place(MINUTE, row[0], row[1:5]) for row in rows])\n", "",
        "../conformance/test_statistics.py::test_minutes_become_hours_and_hours_go_and_the_sum_of_all_stays",
    ),
    without(
        "sums of a turn that was refused stay", "liteq/worker/chores/counting.py",
        "        if wrote:\n", "        if True:\n",
        "../unit/worker/test_counting.py::test_sums_are_due_once_a_second_and_stay_until_they_are_written",
    ),
    without(
        "a lease that was lost is no success", "liteq/worker/chores/counting.py",
        'told = ("lost", "") if lost else ', "told = ",
        "../unit/worker/test_counting.py::test_lost_leases_are_counted_as_lost",
    ),
    without(
        "an idle worker writes the rest of its sums", "liteq/worker/chores/counting.py",
        "            self._storage.stats.add(sums)\n", "",
        "../unit/worker/test_counting.py::test_an_idle_worker_writes_the_rest",
    ),
    without(
        "a worker that ends writes the rest of its sums", "liteq/worker/loop.py",
        "        self._attempt(lambda _now: self._counting.turn(), time.monotonic())\n", "",
        "../integration/test_worker_statistics.py::test_a_worker_that_ends_writes_the_rest",
    ),
    without(
        "a claim leaves out what is paused", "liteq/storage/claiming/pauses.py",
        "WHERE :queue {GLOB} p.queue AND (p.until_ms IS NULL", "WHERE p.queue IS NULL AND (p.until_ms IS NULL",
        "../conformance/test_pauses.py::test_nothing_is_claimed_from_a_paused_queue",
        "../conformance/test_pauses.py::test_a_claim_without_a_look_leaves_it_out_too",
        "../integration/test_worker_statistics.py::test_a_pause_reaches_a_worker_that_waits",
        "../integration/test_queue_order.py::"
        "test_a_paused_queue_starts_nothing_and_loses_nothing_whatever_happens_meanwhile",
        "../integration/test_queue_order.py::test_a_pause_holds_from_its_commit_on",
    ),
    without(
        "a claim within rates leaves out what is paused", "liteq/storage/claiming/admit.py",
        "        if not paused:\n            looks[queue] = 0 if fair else at_ms",
        "        if True:\n            looks[queue] = 0 if fair else at_ms",
        "../conformance/test_pauses.py::test_a_claim_within_rates_leaves_it_out_and_holds_nothing",
    ),
    without(
        "a run of a paused queue is not tried again", "liteq/storage/runs/stuck.py",
        "in open_queues(tx, queues, now_ms=now_ms):", "in queues:",
        "../conformance/test_runs.py::test_a_run_of_a_paused_queue_is_neither_claimed_nor_tried_again",
    ),
    without(
        "the end of a pause is looked for", "liteq/worker/chores/pauses.py",
        "            self._look()\n", "            pass\n",
        "../unit/worker/test_watches.py::test_the_end_of_a_pause_makes_the_loop_look",
    ),
    # -- limits by key, unique calls, batches and named sends, while workers are killed
    without(
        "the places of a key are counted over all workers", "liteq/storage/limits/ledger.py",
        "inf) - places.running(self._tx, key) if limited else inf", "inf) if limited else inf",
        "test_limits_kills.py::test_a_limit_is_never_exceeded_whatever_is_killed",
    ),
    without(
        "a step takes a place", "liteq/workflow/stepping/limits.py",
        "        if not keys:\n            return None\n", "        return None\n",
        "test_limits_kills.py::test_runs_and_their_steps_keep_to_their_limits_whatever_is_killed",
    ),
    without(
        "the place of a lease that is reaped is free at once", "liteq/storage/claiming/reap.py",
        "    places.free(tx, [(row[0], row[1]) for row in rows if row[3] & Flag.PLACED], now_ms=now_ms)\n", "",
        "test_limits_kills.py::test_a_killed_holder_frees_its_place_within_a_second",
    ),
    without(
        "a worker that has died is missed by the others", "liteq/worker/loop.py",
        "SAFETY_POLL_S = 0.5", "SAFETY_POLL_S = 500.0",
        "test_limits_kills.py::test_a_killed_holder_frees_its_place_within_a_second",
    ),
    without(
        "what ran before a limit has its place", "liteq/storage/limits/change.py",
        "    places.take(tx, found)\n", "",
        "test_limits_kills.py::test_a_new_limit_is_in_force_at_once_and_rewrites_no_message",
    ),
    without(
        "a refusal pauses its key for all", "liteq/storage/limits/meeting.py",
        "            pause(tx, key, until_ms=until_ms, reason=MET, now_ms=now_ms)\n", "            pass\n",
        "test_limits_kills.py::test_retry_after_holds_for_all_processes_and_no_burst_follows",
    ),
    without(
        "a claim under limits leaves out what is paused", "liteq/storage/claiming/admit.py",
        "        if not paused:\n            looks[queue] = 0 if fair else at_ms",
        "        if True:\n            looks[queue] = 0 if fair else at_ms",
        "test_limits_kills.py::test_a_paused_queue_starts_and_loses_nothing_and_what_comes_due_waits",
    ),
    without(
        "the fair keys of a queue take turns", "liteq/storage/limits/lines.py",
        "return f\"{FAIR}{queue}:{key}\"", "return f\"{FAIR}{queue}:\"",
        "test_limits_kills.py::test_the_first_of_another_key_is_among_the_next_ten_starts",
    ),
    without(
        "a message is held in one write", "liteq/storage/claiming/admit.py",
        "self.tx.executemany(HOLD, [(line, row[SEQ]) for row, line, _ in held])",
        "self.tx.executemany(HOLD, [(line, row[SEQ]) for row, line, _ in held] * 2)",
        "test_limits_kills.py::test_a_held_message_leaves_the_claimable_set_once_and_comes_back_once",
    ),
    without(
        "a duplicate is told", "liteq/sending/sender.py",
        "result._duplicate = stands != message.id", "result._duplicate = False",
        "test_unique_kills.py::test_of_equal_unique_calls_there_is_one_message_at_a_time",
    ),
    without(
        "each member of a batch has its own outcome", "liteq/worker/pool/executor.py",
        "Each([found[lease.token] for lease in members])", "Each([found[lease.token] for lease in reversed(members)])",
        "test_batches_kills.py::test_each_member_settles_once_whatever_is_killed",
        "test_batches_kills.py::test_each_member_settles_once_at_whatever_line_its_worker_is_killed",
    ),
    without(
        "the place of a named send is the one of its commits", "liteq/storage/facades/sends.py",
        "begin=part.begin, end=part.end, now_ms", "begin=part.begin, end=part.end + 1, now_ms",
        "test_named_sends.py::test_each_element_of_a_named_send_is_there_once_although_it_is_killed_again_and_again",
    ),
    # -- reads for people
    without(
        "a read for people that takes too long is stopped", "liteq/storage/sqlite/transaction.py",
        "session.stop_at(monotonic() + self._within_s)", "pass",
        "../conformance/test_browse.py::test_a_read_that_takes_too_long_is_stopped_and_the_next_one_is_not",
    ),
    without(
        "the next read on that connection has its own time", "liteq/storage/sqlite/transaction.py",
        "                session.stop_at(None)", "                pass",
        "../conformance/test_browse.py::test_a_deadline_is_of_one_read_alone",
    ),
    without(
        "a million rows of one moment cost a page nothing", "liteq/storage/reading/browse.py",
        "if groups and groups[-1][1] is down and n < len(order) - 1:", "if groups and groups[-1][1] is down:",
        "../conformance/test_plans.py::test_a_reading_statement_looks_at_no_more_than_it_may",
    ),
    without(
        "a search compares arguments as they may be shown", "liteq/monitor/tasks/matching.py",
        "call = shown(self._app, row)",
        "call = type('C', (), dict(zip(('args', 'kwargs'), __import__('orjson').loads(row.payload))))",
        "../unit/test_search.py::test_a_search_answers_nothing_that_a_page_hides",
    ),
    without(
        "a search in errors answers no hidden argument that they quote", "liteq/monitor/tasks/matching.py",
        "return _contains(self._masked_error(line), words)", "return True",
        "../unit/test_search.py::test_a_search_answers_nothing_that_a_page_hides",
    ),
    without(
        "the error of another task hides what that one hides", "liteq/monitor/access/failing.py",
        "if failed.state != State.UPSTREAM_FAILED:", "if True:",
        "../unit/test_why.py::test_a_list_masks_the_error_of_another_task",
    ),
    without(
        "keys are cut where arguments may not be seen", "liteq/monitor/access/keys.py",
        "    if not see.payloads:\n        return _cut(key)\n", "",
        "../unit/test_limits_seen.py::test_keys_are_cut_where_arguments_may_not_be_seen",
        "../unit/test_unique_seen.py::test_keys_are_cut_where_arguments_may_not_be_seen",
    ),
    without(
        "a key that quotes a sensitive argument is hidden", "liteq/monitor/access/keys.py",
        "return key if sent is None else masked(app, sent.task, key, lambda: _record(app, sent))", "return key",
        "../unit/test_limits_seen.py::test_a_key_that_quotes_a_sensitive_argument_is_hidden",
    ),
    without(
        "a search by a key needs the right to see arguments", "liteq/monitor/tasks/matching.py",
        "if search.limit and not see.payloads:", "if False:",
        "../unit/test_limits_seen.py::test_keys_are_cut_where_arguments_may_not_be_seen",
    ),
    without(
        "of a limit is seen what is in the viewer's queues", "liteq/monitor/tasks/limits.py",
        "held = [one for one in all_held if see.sees(one.queue)]", "held = all_held",
        "../unit/test_limits_seen.py::test_a_viewer_of_one_queue_sees_what_is_there",
    ),
    without(
        "a limit is changed by those who see all queues", "liteq/operating/limits.py",
        "return see.queues is None or (queue is not None and see.sees(queue))", "return True",
        "../unit/test_limits_seen.py::test_a_limit_is_changed_by_those_who_see_all_queues",
    ),
    without(
        "the words of a task need the right to see payloads", "liteq/monitor/tasks/telling.py",
        "return {**found, **numbers, \"note\": numbers[\"note\"] if see.payloads else None}",
        "return {**found, **numbers}",
        "../unit/test_telling_seen.py::test_words_need_the_right_payloads_and_numbers_do_not",
    ),
    without(
        "a chunk that quotes a sensitive argument is masked", "liteq/monitor/tasks/telling.py",
        "shown = masked(app, record.task, text, lambda: record)", "shown = text",
        "../unit/test_telling_seen.py::test_a_chunk_that_quotes_a_sensitive_argument_is_masked_and_a_long_one_cut",
    ),
    without(
        "what a key holds is counted up to a bound", "liteq/storage/reading/holding.py",
        "left = limit - before.n.n", "left = 10**9",
        "../conformance/test_holding.py::test_numbers_of_a_key_have_a_bound_and_say_so",
    ),
    without(
        "a search is bounded to what its viewer may see", "liteq/monitor/tasks/matching.py",
        "and self._see.sees(queue)", "",
        "../unit/test_search.py::test_other_queues_are_neither_listed_nor_found",
    ),
    without(
        "options that are no JSON hold up no neighbour in the log", "liteq/context/observing.py",
        "    except (ValueError, AttributeError):\n", "    except AttributeError:\n",
        "test_guilty.py::test_any_values_in_any_columns", "../unit/test_links.py::"
        "test_options_that_others_wrote_have_no_headers",
    ),
    without(
        "a dead letter that fails again is not requeued twice", "liteq/cli/tasks/dead.py",
        "until_ms=now_ms if search.until_ms is None else min(now_ms, search.until_ms)", "until_ms=search.until_ms",
        "../unit/cli/test_cli_where.py::test_one_that_fails_again_meanwhile_is_left_where_it_is",
    ),
    # -- keys of messages
    without(
        "a message has the keys of its arguments", "liteq/sending/publisher.py",
        "if d.has_more or (options", "if False or (options",
        "../integration/test_message_keys.py::test_one_call",
    ),
    without(
        "a key is not made of what is private", "liteq/policy/keys.py",
        'not name.isidentifier() or name.startswith("_")', "not name.isidentifier()",
        "../unit/test_keys.py::test_what_is_no_template_is_refused",
    ),
    without(
        "what came without its keys gets them", "liteq/storage/claiming/admit.py",
        "if budget.keys_of is None or", "if True or",
        "../integration/test_limits_by_key.py::test_what_was_sent_without_the_code_is_limited_too",
        "../integration/test_limits_by_key.py::test_a_link_of_a_chain_is_limited_by_the_result_that_it_takes",
    ),
    without(
        "a worker's parent runs no code to make a key", "liteq/policy/keyed.py",
        "return functions or not isinstance(key, Function)", "return True",
        "../integration/test_message_keys.py::test_a_worker_s_parent_runs_no_code_for_it",
        "../unit/test_keyed.py::test_without_the_code_a_function_is_no_key",
    ),
    without(
        "a retry with other arguments has their keys", "liteq/storage/settling/outcomes.py",
        "keys = nullif(coalesce(?, keys), '')", "keys = coalesce(keys, ?)",
        "../integration/test_message_keys.py::test_a_retry_keeps_its_keys_or_has_those_of_its_new_arguments",
    ),
    without(
        "an import changes no limit that was set at run time", "liteq/app/limits/__init__.py",
        "if not importing():", "if True:",
        "../integration/test_limits_by_key.py::test_an_import_needs_no_file",
        "../integration/test_limits_by_key.py::test_what_a_module_sets_is_what_the_code_says",
    ),
    without(
        "an answer that says later is no failure", "liteq/execution/limited.py",
        "    if later is None:", "    if True:",
        "../unit/test_rate_limited.py::test_it_is_no_failure_and_no_retry",
        "../unit/test_rate_limited.py::test_the_word_of_the_server_goes_before_autoretry_for",
    ),
    without(
        "what waits in a worker goes back when a limit is met", "liteq/worker/loop.py",
        "if any(type(outcome) is Limited for _, outcome in fresh):", "if False:",
        "../integration/test_limits_by_key.py::test_an_answer_that_says_later_pauses_the_key_for_all",
    ),
    # -- limits of steps
    without(
        "a step has all of its places, or none", "liteq/storage/limits/stepping.py",
        "    if lack is not None:", "    if False:",
        "../integration/test_step_limits.py::test_a_run_waits_for_a_place_and_is_woken_when_one_is_free",
        "../integration/test_step_limits.py::test_all_keys_or_none",
    ),
    without(
        "each attempt of a step that was sent takes a token", "liteq/workflow/stepping/limits.py",
        "    if sent and keys and not (machine.has_begun or machine.lease.flags & Flag.HISTORY):",
        "    if sent and keys:",
        "../integration/test_step_limits.py::test_each_attempt_of_a_step_that_is_sent_takes_a_token",
    ),
    without(
        "a place that is free wakes a run that waits for it", "liteq/storage/limits/waiting.py",
        "if run not in but and wake(", "if run in () and wake(",
        "../integration/test_step_limits.py::test_a_run_waits_for_a_place_and_is_woken_when_one_is_free",
    ),
    without(
        "a run is not woken by the place that it gives back itself", "liteq/storage/settling/settle.py",
        "but={lease.seq for lease, _ in plan.runs})", "but=())",
        "../integration/test_step_limits.py::test_each_attempt_of_a_step_that_is_sent_takes_a_token",
    ),
    without(
        "a step gives its places back", "liteq/workflow/stepping/attempts.py",
        "        if self.places:", "        if False:",
        "../integration/test_step_limits.py::test_a_step_that_has_ended_has_no_place",
    ),
    without(
        "runs that wait for tokens come one after another", "liteq/storage/limits/stepping.py",
        "return lack.at_ms + int(how_many(tx, lack.key, run) * 1000 / lack.per_s)", "return lack.at_ms",
        "../integration/test_step_limits.py::test_runs_that_wait_for_tokens_do_not_all_wake_for_the_first",
    ),
    without(
        "a budget counts what is in flight", "liteq/storage/spending/reserving.py",
        "    taken = account.spent + account.held\n", "    taken = account.spent\n",
        "../conformance/test_spending.py::test_no_more_is_held_than_there_is",
    ),
    without(
        "what is held for a lease is freed with it", "liteq/storage/limits/places.py",
        "return queues | settling.free(tx, leases, now_ms=now_ms)", "return queues",
        "../conformance/test_spending.py::test_whatever_ends_the_lease_frees_what_is_held_and_tells_of_a_kill",
    ),
    without(
        "a row of usage is there once", "liteq/storage/spending/usage.py",
        "    return int.from_bytes(blake2b(repr(place).encode(), digest_size=8).digest()) >> 2\n",
        "    return int.from_bytes(__import__('os').urandom(7))\n",
        "../conformance/test_spending.py::test_a_record_that_is_written_again_is_there_once",
    ),
    without(
        "an attempt of which nothing is known goes alone", "liteq/storage/spending/reserving.py",
        "    if untold and found and tx.execute(ALONE, (attempt.name, now_ms - PATIENCE_MS)):", "    if False:",
        "../conformance/test_spending.py::test_a_first_attempt_of_which_nothing_is_known_goes_alone",
    ),
    without(
        "a run does not wait for its parent's step", "liteq/storage/spending/reserving.py",
        "short.held > _held_above(tx, kin, short)", "short.held > 0",
        "../conformance/test_spending.py::test_a_run_does_not_wait_for_what_a_step_of_its_parent_holds",
    ),
    without(
        "a refusal pauses the key for every process", "liteq/storage/limits/trouble.py",
        "    pause(tx, key, until_ms=until_ms, reason=MET, now_ms=now_ms)\n", "",
        "../integration/test_troubled_keys.py::test_a_refusal_pauses_the_key_for_all_and_counts_no_attempt",
    ),
    without(
        "a key that fails lets one probe through", "liteq/storage/limits/ledger.py",
        "        tripped = found.fails >= TRIPS\n", "        tripped = False\n",
        "../integration/test_troubled_keys.py::test_one_probe_at_a_time",
    ),
    without(
        "an answer ends what stood in a row", "liteq/storage/limits/trouble.py",
        "SET fails = 0, refused = 0, passed", "SET passed",
        "../integration/test_troubled_keys.py::test_a_success_between_failures_ends_the_row",
    ),
    without(
        "a price that is not known is not taken for nothing", "liteq/storage/spending/usage.py",
        "without_price if spend.cost is None", "0 if spend.cost is None",
        "../conformance/test_spending.py::test_a_price_that_is_not_known_takes_what_was_held",
    ),
    without(
        "what goes on later is not undone", "liteq/workflow/calling/saga.py",
        "if isinstance(exc, RateLimited) and not machine.is_cancelled:", "if False:",
        "../integration/test_step_limits.py::test_a_body_that_meets_a_limit_outside_waits_and_goes_on_by_a_replay",
    ),
    without(
        "async steps of one run share no place", "liteq/workflow/stepping/limits.py",
        "            await lock.acquire()", "            lock = asyncio.Lock(); await lock.acquire()",
        "../integration/test_step_limits.py::test_async_steps_of_one_run_come_one_after_another",
    ),
    without(
        "after a crash the members of a batch run alone", "liteq/execution/together.py",
        "lease.crashes or lease.flags & (Flag.ALONE | Flag.RUN)", "lease.flags & Flag.RUN",
        "../integration/test_batches.py::"
        "test_after_a_crash_its_members_run_alone_and_only_the_guilty_one_is_buried",
        "../integration/test_batches.py::test_a_batch_that_fills_keeps_its_leases_and_one_that_was_lost_comes_back",
        "../unit/worker/test_gathering.py::test_what_was_there_when_a_process_died_runs_alone",
    ),
    without(
        "what a vanished worker held runs alone", "liteq/storage/claiming/reap.py",
        "reaps = reaps + 1, flags = flags | {Flag.ALONE}", "reaps = reaps + 1",
        "../integration/test_batches.py::test_a_batch_that_fills_keeps_its_leases_and_one_that_was_lost_comes_back",
    ),
    without(
        "the crash of a batch is no member's last", "liteq/worker/pool/base.py",
        "elif one.crashes + 1 < app.conf.max_crashes:", "else:",
        "../integration/test_batches.py::test_where_one_crash_is_the_last_the_others_are_not_buried_either",
    ),
    without(
        "a message of a batch that runs at most once has begun", "liteq/worker/pool/executor.py",
        "        if not once:\n            return requests\n", "        return requests\n",
        "../integration/test_batches.py::test_one_that_runs_once_at_most_has_begun_when_its_worker_vanishes",
    ),
    without(
        "a batch that fills keeps its leases", "liteq/worker/pool/gathering.py",
        "        found = [lease for batch in self._gathered() for lease in batch.members]\n"
        "        found += [lease for lease, _ in self._outcomes]",
        "        found = [lease for lease, _ in self._outcomes]",
        "../integration/test_batches.py::test_a_batch_that_fills_keeps_its_leases_and_one_that_was_lost_comes_back",
        "../unit/worker/test_gathering.py::test_a_full_batch_is_handed_on_at_once",
    ),
    without(
        "a batch that fills goes back when its worker ends", "liteq/worker/pool/gathering.py",
        "            self._remember(batch)\n            taken += batch.members", "            self._remember(batch)",
        "../unit/worker/test_gathering.py::test_a_warm_end_gives_back_what_fills_and_what_has_not_begun",
        "../integration/test_batches.py::test_a_worker_that_ends_gives_back_a_batch_that_fills",
    ),
    without(
        "an item is settled once", "liteq/execution/batch.py",
        "        if self._ending is not None:\n            raise", "        if False:\n            raise",
        "../unit/test_batches.py::test_an_item_is_settled_once",
    ),
    without(
        "where one is terminated the others of its batch run again", "liteq/worker/pool/gathering.py",
        "return Each([outcome(one) if one.token in tokens else given_back(self._app, one) for one in members])",
        "return Each([outcome(one) for one in members])",
        "../unit/worker/test_gathering.py::test_where_one_is_terminated_the_others_go_back",
        "../integration/test_batches.py::test_where_one_that_runs_is_terminated_the_others_run_again",
    ),
    without(
        "a batch that fills does not start in a paused queue", "liteq/worker/pool/gathering.py",
        "                self._give_back_paused(batch)\n", "                pass\n",
        "../integration/test_batches.py::test_a_batch_that_fills_does_not_start_in_a_queue_that_was_paused",
    ),
    without(
        "no process executes the revoked member of a batch", "liteq/worker/pool/gathering.py",
        "            if batch.was_given:", "            if False:",
        "../unit/worker/test_gathering.py::test_what_is_left_of_a_batch_that_was_handed_on_goes_back",
    ),
    without(
        "the place of a named send is kept in the file", "liteq/sending/bulk.py",
        "part = None if self._name is None else Part(", "part = None if self._name else Part(",
        "../integration/test_telling.py::"
        "test_each_element_of_a_named_send_runs_once_although_its_sender_is_killed_again_and_again",
        "../unit/test_send_many.py::test_what_has_run_and_left_no_trace_is_not_sent_again",
    ),
    without(
        "of two senders of one name each sends what the other has not", "liteq/storage/sending/sends.py",
        "    if found != begin:\n", "    if False:\n",
        "../conformance/test_sends.py::test_a_part_that_others_have_sent_is_refused_whole",
        "../unit/test_send_many.py::test_two_senders_of_one_name_share_the_work",
    ),
    without(
        "the last report is shown while the task goes on", "liteq/execution/paced.py",
        "        elif self._timer is None:\n", "        elif False:\n",
        "../unit/test_telling.py::"
        "test_a_report_that_was_held_back_is_written_while_the_task_is_busy_with_other_things",
        "../integration/test_telling.py::test_the_last_report_is_shown_while_the_task_goes_on",
    ),
    without(
        "what was emitted last is written before the end", "liteq/execution/execute.py",
        "    request._telling.flush()\n", "    request._telling = None\n",
        "../integration/test_telling.py::test_a_stream_is_read_as_it_comes_although_the_result_is_ignored",
        "../unit/test_telling.py::test_a_chunk_that_cannot_be_written_fails_the_task",
    ),
    without(
        "nothing is emitted under a lease that is over", "liteq/storage/kept/streams.py",
        'raise LeaseLost(f"message {seq}")', "return emit(tx, seq, stream, AT_NO_STEP, data, attempt)",
        "../conformance/test_streams.py::test_nothing_is_emitted_under_a_lease_that_is_over",
    ),
    without(
        "what has emitted stays for its readers", "liteq/storage/settling/outcomes.py",
        "flags & {KNOWN | Flag.EMITS} <= ?", "flags & {KNOWN} <= ?",
        "../conformance/test_streams.py::test_a_task_that_has_emitted_does_not_vanish",
    ),
    # -- unique calls
    without(
        "a unique key holds over a retry", "liteq/storage/sqlite/migrations/0004_plain_indexes.sql",
        "    WHERE unique_key IS NOT NULL AND finished_ms IS NULL;",
        "    WHERE unique_key IS NOT NULL AND finished_ms IS NULL AND retries = 0;",
        "../conformance/test_unique.py::test_a_retry_of_one_that_stands_until_its_end_keeps_its_key",
    ),
    without(
        "an unstarted key excludes others no longer than to the claim", "liteq/storage/claiming/claim.py",
        "state = 'leased', unique_key = unique_key || '\\x1f' || id,", "state = 'leased',",
        "../conformance/test_unique.py::test_it_excludes_others_until_it_is_claimed",
        "../integration/test_unique_tasks.py::test_an_edit_while_one_runs_is_not_lost",
    ),
    without(
        "what comes back has its key again, or follows the message that has it", "liteq/storage/sending/unique.py",
        "elif key != marked and not take_key(tx, seq, id_, key):", "elif False:",
        "../conformance/test_unique.py::test_back_in_its_queue_it_has_its_key_again",
        "../conformance/test_unique.py::test_back_in_its_queue_it_follows_the_one_that_has_its_key",
        "../conformance/test_unique.py::test_a_worker_that_vanished_leaves_its_key_behind",
    ),
    without(
        "an older call does not run after the one that superseded it", "liteq/storage/sending/unique.py",
        "message.awaits is None and _supersede(tx, key, message.id):", "False:",
        "../conformance/test_unique.py::test_what_a_newer_call_has_superseded_does_not_run_again",
    ),
    without(
        "what is debounced waits no longer than max_wait", "liteq/storage/sending/unique.py",
        "    return min(due_ms, first_ms + rule.max_wait_ms), first_ms", "    return due_ms, first_ms",
        "../conformance/test_unique.py::test_it_is_put_off_no_further_than_max_wait",
    ),
    without(
        "a clock that is set back does not begin max_wait anew", "liteq/storage/sending/unique.py",
        " - max(0, last_ms - now_ms)\n", "\n",
        "../conformance/test_unique.py::test_a_clock_that_is_set_back_puts_it_off_no_further",
    ),
    without(
        "a period begins when its call starts", "liteq/storage/sending/unique.py",
        "        _exclude(tx, key, row[ID], every_ms, now_ms)\n", "        pass\n",
        "../conformance/test_unique.py::test_the_first_of_a_period_runs_and_the_period_counts_from_its_start",
        "../integration/test_unique_tasks.py::test_never_twice_in_five_minutes",
    ),
    without(
        "a wall clock that is set ends no period", "liteq/storage/sending/unique.py",
        "until_up_ms - up_ms if here and boot == here else until_ms - now_ms", "until_ms - now_ms",
        "../conformance/test_unique.py::test_a_clock_that_is_set_changes_no_span",
        "../conformance/test_unique.py::test_a_clock_that_is_set_forward_starts_nothing_within_a_period",
    ),
    without(
        "what comes due too early by a wrong clock is put off", "liteq/storage/claiming/claim.py",
        "admitted = unique.admitted(tx, rows, now_ms=now_ms)", "admitted = rows",
        "../conformance/test_unique.py::test_a_clock_that_is_set_forward_starts_nothing_within_a_period",
        "../conformance/test_unique.py::"
        "test_a_throttled_part_waits_for_the_end_of_the_period_where_what_it_would_follow_has_gone",
    ),
    without(
        "no period is longer after the machine was off", "liteq/storage/sending/unique.py",
        "            _exclude(tx, key, id_, span_ms, now_ms)\n", "",
        "../conformance/test_unique.py::test_after_a_restart_of_the_machine_with_a_wrong_clock_a_period_ends",
    ),
    without(
        "a task that has succeeded leaves no cursor, also where it saved its first just now",
        "liteq/storage/settling/outcomes.py",
        "KNOWN = Flag.LINKED | Flag.PLACED | Flag.CURSOR", "KNOWN = Flag.LINKED | Flag.PLACED",
        "../conformance/test_kept.py::test_a_cursor_is_gone_with_success",
    ),
    without(
        "a cursor is kept under a lease alone", "liteq/storage/kept/cursors.py",
        "WHERE seq = ? AND state = 'leased' AND token = ? {LOCK}", "WHERE seq = ? AND ? > 0 {LOCK}",
        "../conformance/test_kept.py::test_no_cursor_is_kept_under_a_lease_that_is_over",
    ),
    without(
        "a number that comes again finds no cursor", "liteq/storage/sqlite/migrations/0011_celery.sql",
        "    DELETE FROM liteq_cursors WHERE run = OLD.seq;\n", "",
        "../conformance/test_kept.py::test_a_number_that_comes_again_finds_no_cursor",
    ),
    without(
        "a task stays as long as its log", "liteq/storage/housekeeping/retention.py",
        "AND {RUNS_STAY} AND NOT {task_logs.STAYS}\n   AND (m.state", "AND {RUNS_STAY}\n   AND (m.state",
        "../conformance/test_kept.py::test_a_log_stays_for_its_time_and_leaves_with_it",
    ),
    without(
        "a log is kept from the end of its task on", "liteq/storage/kept/task_logs.py",
        "if finished_ms is None:", "if finished_ms == 0:",
        "../conformance/test_kept.py::test_a_log_stays_for_its_time_and_leaves_with_it",
    ),
    without(
        "a task that is retried for ever has no log without end", "liteq/storage/kept/task_logs.py",
        "if attempt > ATTEMPTS:", "if attempt > 10_000:",
        "../conformance/test_kept.py::test_the_log_of_the_newest_attempts_alone_is_kept",
    ),
    without(
        "tags leave with their message", "liteq/storage/sqlite/migrations/0011_celery.sql",
        "    DELETE FROM liteq_run_tags WHERE run = OLD.seq;\n", "",
        "../conformance/test_kept.py::test_tags_leave_with_their_message",
    ),
    without(
        "a warm stop leaves a task at its cursor", "liteq/execution/cursors.py",
        "        if self._leaving():\n", "        if False:\n",
        "../unit/test_kept.py::test_a_task_that_is_to_leave_is_told_and_its_cursor_is_written_at_its_end",
        "../integration/test_interrupted_tasks.py::"
        "test_a_warm_stop_leaves_a_task_at_its_cursor_and_it_goes_on_elsewhere",
    ),
    without(
        "what goes on at its cursor does not expire", "liteq/worker/pool/executor.py",
        "self._clock.now_ms() >= expires_ms and not lease.flags & Flag.CURSOR", "self._clock.now_ms() >= expires_ms",
        "../integration/test_interrupted_tasks.py::"
        "test_a_task_that_goes_on_after_its_latest_start_has_begun_before",
    ),
    without(
        "leaving at the cursor counts no crash", "liteq/execution/execute.py",
        "if request._telling is None or not request._telling.interrupted:", "if True:",
        "../integration/test_interrupted_tasks.py::test_a_task_that_was_stopped_often_counts_no_attempt",
    ),
    without(
        "no except-clause for errors meets the interruption", "liteq/exceptions/tasks.py",
        "class TaskInterrupted(BaseException):", "class TaskInterrupted(Exception):",
        "../integration/test_interrupted_tasks.py::"
        "test_a_warm_stop_leaves_a_task_at_its_cursor_and_it_goes_on_elsewhere",
    ),
    without(
        "the last cursor is written at the end, but for a success", "liteq/execution/telling.py",
        "            self._cursor.close(done=done)\n", "            self._cursor.close(done=True)\n",
        "../integration/test_interrupted_tasks.py::test_a_retry_goes_on_behind_the_last_row",
        "test_cursors_kills.py::test_workers_that_take_turns_to_stop_do_each_piece_once",
    ),
    without(
        "a crash repeats no more than a second", "liteq/execution/cursors.py",
        "CURSOR_S = 1.0", "CURSOR_S = 100.0",
        "../integration/test_interrupted_tasks.py::test_a_crash_repeats_no_more_than_a_second_of_it",
        "test_cursors_kills.py::test_no_piece_is_left_out_and_few_are_done_twice_whatever_befalls",
    ),
    without(
        "a cursor is written once a second at most", "liteq/execution/cursors.py",
        "CURSOR_S = 1.0", "CURSOR_S = 0.0",
        "../unit/test_kept.py::test_a_cursor_is_written_once_a_second_and_the_last_one_at_the_end",
    ),
    without(
        "a solo worker that is told to end says so to its task", "liteq/worker/pool/solo.py",
        "            executor.runs.ask(ending)\n", "            pass\n",
        "../integration/test_interrupted_tasks.py::"
        "test_a_warm_stop_leaves_a_task_at_its_cursor_and_it_goes_on_elsewhere",
    ),
    without(
        "a kept log has a largest size", "liteq/execution/task_log.py",
        "if self._room.lines > 0 and self._room.size >= len(line):", "if True:",
        "../integration/test_kept_logs.py::test_of_a_long_log_the_beginning_and_the_end_are_kept",
        "../integration/test_kept_logs.py::test_a_long_log_is_bounded_in_bytes_too",
    ),
    without(
        "a kept log quotes no sensitive argument", "liteq/utils/log.py",
        "    return excerpt(without_secrets(logging.Formatter()", "    return excerpt((logging.Formatter()",
        "../integration/test_kept_logs.py::test_sensitive_arguments_are_not_in_the_kept_log",
    ),
    without(
        "what is purged excludes nobody", "liteq/storage/sqlite/migrations/0011_celery.sql",
        "    DELETE FROM liteq_unique WHERE key = OLD.unique_key", "    DELETE FROM liteq_unique WHERE key = NULL",
        "../conformance/test_unique.py::test_what_was_purged_excludes_nobody",
    ),
    without(
        "an equal call has an equal key, in whatever order its arguments are", "liteq/sending/uniqueness.py",
        ", option=orjson.OPT_SORT_KEYS)", ")",
        "../integration/test_unique_tasks.py::test_equal_arguments_make_one_message",
    ),
    without(
        "what a body has sent is there under its id, although its key is held", "liteq/storage/runs/executing.py",
        ", again=again, waiter=waiter)", ", again=again)",
        "../integration/test_unique_tasks.py::test_what_a_body_calls_follows_the_one_that_stands",
    ),
    without(
        "a fork knows the steps that took the id of their run", "liteq/workflow/history/machine.py",
        "bool(self.kin) and row.arghash in {*hashes_under(self.kin, self.run_id, args, kwargs)}", "False",
        "../integration/test_workflow_sagas.py::test_a_fork_keeps_steps_that_took_the_id_of_their_run",
    ),
    without(
        "a batch is told by the tokens of its members", "liteq/storage/statistics/batches.py",
        "ON b.last >= m.token", "ON b.last >= 0",
        "../conformance/test_batches.py::test_of_a_message_that_runs_again_the_last_batch_counts",
    ),
    without(
        "a step that cannot be ended is told of", "liteq/worker/pool/runs.py",
        "        for step in overdue.keys() - self._told:", "        for step in ():",
        "../integration/test_worker_runs.py::test_a_pool_without_processes_says_which_step_it_cannot_end",
    ),
    without(
        "what is only looked at is not written", "liteq/storage/sqlite/read_only.py",
        "(ReadOnlyDriver, driver)", "(driver,)",
        "../integration/test_read_only.py::test_what_would_be_written_is_refused",
        "../integration/test_read_only.py::test_a_queue_that_is_not_there_is_not_made",
    ),
    without(
        "a log that is damaged at its start is no empty queue", "liteq/storage/sqlite/disk/log_check.py",
        "    if _read(log, whole=False).problem and", "    if False and",
        "../integration/test_read_only.py::test_a_log_that_is_damaged_at_its_start_is_no_empty_queue",
    ),
    without(
        "the doctor writes nothing", "liteq/cli/files/doctor.py",
        "session.look_only()", "session.storage",
        "../integration/test_copies.py::test_a_queue_that_rests_is_no_copy_and_is_left_without_a_log",
    ),
    without(
        "what an errback was not needed for has its id back", "liteq/storage/canvases/continuation.py",
        "        if flags & Flag.ASIDE:\n            come_back(tx, gone, options)\n", "",
        "../integration/test_same_id_again.py::test_an_id_whose_errback_is_not_needed_has_its_result_again",
    ),
    without(
        "a run whose place is taken ends with the sending of the next", "liteq/storage/facades/schedules.py",
        "                _acting.end_for_another(tx, replaces, reason=reason, now_ms=now_ms)\n", "",
        "../integration/test_beat_overlap.py::"
        "test_the_old_run_is_cancelled_in_the_transaction_that_sends_the_new_one",
    ),
    without(
        "an isolated run has a process that has run nothing", "liteq/worker/pool/prefork/pool.py",
        "            queue, held = self._isolation.split(queue, self._start_isolated)\n", "",
        "../integration/test_isolated_tasks.py::test_each_run_has_a_process_that_has_run_nothing_and_ends_after_it",
    ),
    without(
        "an isolated run takes the place of a child", "liteq/worker/pool/prefork/isolation.py",
        "child.benched = width == 1 and left <= 0", "child.benched = False",
        "../integration/test_isolated_tasks.py::test_no_more_run_at_once_than_the_worker_has_executors",
    ),
    without(
        "an isolated run waits for a place", "liteq/worker/pool/prefork/pool.py",
        "not places(self._children, self.size, self.width)", "False",
        "../integration/test_isolated_tasks.py::test_many_that_come_at_once_wait_for_a_place",
    ),
    without(
        "a child is replaced for what it has now, not for its peak", "liteq/worker/pool/prefork/memory.py",
        "STATM = \"/proc/self/statm\"", "STATM = \"/nowhere\"",
        "../integration/test_worker_limits.py::test_a_peak_of_long_ago_ends_no_child",
    ),
    without(
        "a child that leaks is replaced", "liteq/worker/pool/prefork/child.py",
        "done >= settings.max_tasks)", "False)",
        "test_months.py::test_a_worker_stays_as_it_was_while_its_children_come_and_go",
    ),
    without(
        "a child dies with its worker, whatever it does", "liteq/worker/pool/prefork/becoming.py",
        "    die_with_parent(parent)\n", "",
        "../integration/test_pools.py::test_no_process_outlives_a_killed_worker",
    ),
    without(
        "a fork server that died is started anew", "liteq/worker/pool/prefork/server.py",
        "        if self._sock is None:\n            self._start()\n",
        "        if not self._pid:\n            self._start()\n",
        "../integration/test_start_methods.py::"
        "test_a_killed_fork_server_is_started_anew_and_nothing_is_lost",
    ),
    without(
        "a child that is started afresh has the worker's settings", "liteq/worker/pool/prefork/letter.py",
        "app.conf.apply(changed, ", "app.conf.apply({}, ",
        "../integration/test_start_methods.py::"
        "test_the_settings_of_the_workers_process_are_those_of_its_children",
    ),
    without(
        "no token is given out twice, though the server forgets a claim", "contrib/liteq_postgres/session.py",
        "        if backend not in self._safe:\n", "        if False:\n",
        "test_server_crash.py::test_a_lease_that_the_server_forgot_cannot_end_the_one_that_comes_after",
    ),
    without(
        "what is accepted is on the server's disk", "contrib/liteq_postgres/driver.py",
        "waits = not relaxed and (self.durability is Durability.STRICT or promise is not Promise.PROGRESS)",
        "waits = not relaxed and self.durability is Durability.STRICT",
        "test_server_crash.py::test_what_was_accepted_is_there_after_a_crash",
    ),
    without(
        "a connection to a standby is not used again", "contrib/liteq_postgres/session.py",
        "self.unfit = self.unfit or (error.sqlstate == NOT_FOR_WRITES and not self._location.read_only)",
        "self.unfit = False",
        SERVER + "test_a_connection_to_a_server_that_has_become_a_standby_is_not_used_again",
    ),
    without(
        "nor are those beside it", "contrib/liteq_postgres/driver.py",
        "        if session.unfit:  # so are the others\n            self._close_idle()\n", "",
        SERVER + "test_a_connection_to_a_server_that_has_become_a_standby_is_not_used_again",
    ),
    without(
        "a connection that broke while it was idle is no trouble", "contrib/liteq_postgres/driver.py",
        "                if is_new or not session.broken:\n", "                if True:\n",
        SERVER + "test_a_connection_that_was_cut_while_idle_is_no_trouble",
    ),
    without(
        "a child lets go of its parent's connections", "contrib/liteq_postgres/session.py",
        "            os.close(self.connection.pgconn.socket)\n", "            pass\n",
        SERVER + "test_a_killed_parents_transaction_ends_though_a_child_of_it_lives",
    ),
    without(
        "where machines share a queue, a host's name proves no death", "contrib/liteq_postgres/driver.py",
        "    one_machine = False\n", "    one_machine = True\n",
        SERVER + "test_a_host_of_the_same_name_in_another_boot_may_live",
    ),
    without(
        "the time is the server's, for all of its hosts", "contrib/liteq_postgres/driver.py",
        "        return self._clock\n", "        return machine\n",
        SERVER + "test_the_time_is_the_server_s_whatever_that_of_this_machine_is",
    ),
    without(
        "a message has its id everywhere, so that it arrives once", "liteq/edge/relaying/pool.py",
        '"id": lease.id, "task"', '"id": f"{lease.id[:8]}-{lease.token}", "task"',
        "test_relay.py::test_each_accepted_message_arrives_once_whatever_befalls_the_way",
    ),
    without(
        "an answer that did not come is no acknowledgement", "liteq/edge/relaying/client.py",
        'raise Away(f"{self.url} does not answer: {str(exc) or type(exc).__name__}") from None',
        'return Reply({"tasks": []})',
        "../integration/test_relay.py::test_while_the_gateway_is_away_messages_wait_and_are_kept",
    ),
    without(
        "a task that a key may not use cannot be sent", "liteq/edge/v1.py",
        "        if not key.knows(message.task) or not key.sees(message.queue):\n", "        if False:\n",
        "../integration/test_gateway_security.py::test_a_key_may_do_what_it_may_and_nothing_else",
    ),
    without(
        "the same signed request does nothing twice", "liteq/edge/sqs/signature.py",
        "is_let = repeatable\n", "is_let = True\n",
        "../integration/test_gateway_sqs.py::test_the_same_request_does_nothing_twice",
    ),
    without(
        "a member of an open group that two send or end at once is counted once", "liteq/storage/groups/open_groups.py",
        "if kept is None and (there :=", "if False and (there :=",
        MEETING + "test_open_groups.py::test_a_member_that_comes_twice_at_once_is_counted_once",
    ),
    without(
        "of two that open a group at once, one is told that it did not", "liteq/storage/groups/open_groups.py",
        "if any(group.id in placed.standing for group in groups):", "if False:",
        MEETING + "test_open_groups.py::test_of_two_that_open_a_group_one_does",
    ),
    without(
        "what is to run behind a group that has ended runs", "liteq/storage/settling/settle.py",
        "for lease, node in put:", "for lease, node in ():",
        MEETING + "test_open_groups.py::test_what_a_running_message_becomes_awaits_a_group_that_ends_meanwhile",
    ),
    without(
        "a task of Celery's that was acknowledged early begins under its lease", "contrib/liteq_kombu/backend.py",
        "        if not task.acks_late:\n", "        if False:\n",
        CELERY + "test_kills.py::test_a_task_that_was_acknowledged_early_runs_once_though_its_worker_is_killed",
    ),
    without(
        "no body of Celery's runs that was to begin after its lease", "contrib/liteq_kombu/telling.py",
        "if run is not None and run.over:", "if False:",
        CELERY + "test_kills.py::test_an_early_task_that_would_begin_after_its_lease_does_not_run",
    ),
    without(
        "a task waits for a living worker that knows it", "liteq/worker/pool/executor.py",
        "            if other is None:\n", "            if True:\n",
        "test_child_deaths.py::test_a_task_is_left_to_a_living_worker_that_knows_it_however_long_that_is_busy",
    ),
    without(
        "what a process of Celery's has settled is not told of as lost", "contrib/liteq_kombu/telling.py",
        "(not run.over and run.is_current)", "not run.over",
        CELERY + "test_backend.py::test_no_errback_is_called_for_what_another_run_has_or_has_settled",
    ),
    without(
        "a row tells of what died with a worker of Celery's", "liteq/storage/claiming/reap.py",
        "told = leave_word(tx, seq, id_, now_ms=now_ms)", "told = False",
        CELERY + "test_kills.py::test_the_errbacks_and_the_chain_of_what_died_with_its_worker_are_told",
    ),
    without(
        "a task of Celery's ends as a group when all of that is sent", "contrib/liteq_kombu/chords.py",
        "        run.outcome = becomes  #", "        file.storage.settle([(run.lease, becomes)])  #",
        CELERY + "test_guarantees.py::"
        "test_a_task_that_is_killed_while_it_replaces_itself_by_a_group_runs_again",
    ),
    without(
        "what is missing of a chord of Celery's comes with the next run", "contrib/liteq_kombu/chords.py",
        "        groups_of_file.enter(Batch(rows", "        opened and groups_of_file.enter(Batch(rows",
        CELERY + "test_guarantees.py::"
        "test_a_chord_in_a_chord_is_whole_wherever_the_task_that_sends_it_is_killed",
    ),
    without(
        "a group that a killed worker of Celery's has opened closes", "liteq/storage/groups/behind.py",
        "closing = [(id_, None) for id_ in there]", "closing: list[tuple[str, None]] = []",
        "../conformance/test_open_groups.py::"
        "test_a_group_that_another_run_has_opened_closes_when_all_of_it_is_put_behind",
    ),
    without(
        "each app of Celery's has the task that tells of failures", "contrib/liteq_kombu/backend.py",
        "        add_tell(app)\n", "",
        CELERY + "test_backend.py::test_the_worker_of_each_app_of_celery_s_fixtures_tells_of_failures",
    ),
    without(
        "a worker has that task although another app has used the file", "contrib/liteq_kombu/running.py",
        "(file.results and file.app is app)", "file.results",
        CELERY + "test_backend.py::test_the_worker_of_each_app_of_celery_s_fixtures_tells_of_failures",
    ),
    without(
        "a task that kills Celery's children is a dead letter in time", "contrib/liteq_kombu/files.py",
        "max_crashes=options.max_deliveries", "max_crashes=1_000_000",
        CELERY + "test_guarantees.py::test_poison_runs_as_often_as_it_may_and_is_replayed_from_the_dead_letters",
    ),
    without(
        "what Celery sends at the end of a task is written with that end", "contrib/liteq_kombu/running.py",
        "if file.results and (run is ending_here(file) or sent_by_tracer()):", "if False:",
        CELERY + "test_backend.py::test_the_tracer_s_own_sends_come_with_the_end_and_a_body_s_at_once",
    ),
    without(
        "the results of a chord's header have the order of the header", "contrib/liteq_kombu/chords.py",
        "seats[str(result.id)] = Seat(id_, at)", "seats[str(result.id)] = Seat(id_, -at)",
        CELERY + "test_chords.py::"
        "test_the_body_takes_the_results_in_the_order_of_the_header_and_nothing_looks_for_them",
    ),
    without(
        "what a channel of kombu's has not acknowledged comes back", "contrib/liteq_kombu/channel.py",
        "        if tags and self._pid == os.getpid():\n", "        if False:\n",
        CELERY + "test_transport.py::"
        "test_what_is_not_acknowledged_comes_back_when_the_channel_closes_and_counts_as_nothing",
    ),
    without(
        "a revoke of Celery's cancels what waits", "contrib/liteq_kombu/crossing/control.py",
        'if request["method"] == "revoke":', "if False:",
        CELERY + "test_worker.py::test_a_revoke_cancels_what_waits_and_stays_in_the_file",
    ),
    without(
        "what Celery's workers settle is counted", "contrib/liteq_kombu/running.py",
        "self.file.counter.settled(lease, outcome, ran.get(lease.token))", "pass",
        CELERY + "test_worker.py::test_liteq_s_tools_show_celery_s_tasks",
    ),
]  # fmt: skip
