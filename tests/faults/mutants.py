"""Takes each defence out of a copy of the sources, and shows that a test notices.

python -m tests.faults.mutants            # all; exit code 1 when one goes unnoticed
python -m tests.faults.mutants fencing    # those whose name contains a word
python -m tests.faults.mutants --list     # as the table of tests/faults/README.md
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("liteq", "tests", "pyproject.toml")


class Mutant(NamedTuple):
    """A defence, where it is, what it becomes, and the test that must then fail."""

    defence: str
    file: str
    old: str
    new: str
    test: str


SIMULATION = "tests/faults/test_simulation.py"
MUTANTS = [
    Mutant(
        "fencing token: a late worker's write changes nothing", "liteq/storage/settle.py",
        "HELD = \"WHERE seq = ? AND state = 'leased' AND token = ?\"",
        "HELD = \"WHERE seq = ? AND state = 'leased' AND ? IS NOT NULL\"",
        SIMULATION,
    ),
    Mutant(
        "a token is never given out twice", "liteq/storage/claim.py",
        "UPDATE liteq_meta SET value = :token WHERE key = 'token'",
        "UPDATE liteq_meta SET value = 0 * :token WHERE key = 'token'",
        SIMULATION,
    ),
    Mutant(
        "enqueue is idempotent by id", "liteq/storage/enqueue.py",
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)\nON CONFLICT DO NOTHING",
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)\nON CONFLICT DO UPDATE SET state = 'pending'",
        SIMULATION,
    ),
    Mutant(
        "a chord is counted by each end, the failed too", "liteq/storage/continuation.py",
        "remaining = remaining - :n, failed = failed + :failed", "remaining = remaining - :n, failed = failed",
        SIMULATION,
    ),
    Mutant(
        "a death travels along the chain", "liteq/storage/continuation.py",
        "todo.append(End(id_, False, group_id, end.error,", "(End(id_, False, group_id, end.error,",
        SIMULATION,
    ),
    Mutant(
        "a crash is counted, and a poison pill ends", "liteq/storage/settle.py",
        "SET state = 'pending', crashes = crashes + 1,", "SET state = 'pending', crashes = crashes,",
        SIMULATION,
    ),
    Mutant(
        "a lease that ran out is reaped", "liteq/storage/reap.py",
        "state = 'leased' AND deadline_ms <= :now_ms", "state = 'leased' AND deadline_ms <= :now_ms - 3600000",
        SIMULATION,
    ),
    Mutant(
        "a result stays while a follower may ask for it", "liteq/storage/retention.py",
        "WHERE b.awaits = m.id AND b.state NOT IN ('succeeded', 'cancelled'))",
        "WHERE b.awaits = m.id AND b.state = 'none')",
        SIMULATION,
    ),
    Mutant(
        "what is accepted has waited for the disk", "liteq/storage/sqlite/base.py",
        "(Durability.DURABLE, Promise.ACCEPTED): True", "(Durability.DURABLE, Promise.ACCEPTED): False",
        "tests/faults/test_disk.py::test_durable_loses_nothing_that_was_accepted",
    ),
    Mutant(
        "strict: so has what was acknowledged", "liteq/storage/sqlite/base.py",
        "(Durability.STRICT, Promise.PROGRESS): True", "(Durability.STRICT, Promise.PROGRESS): False",
        "tests/faults/test_disk.py::test_strict_loses_no_acknowledgement_either",
    ),
    Mutant(
        "a commit that fails raises", "liteq/storage/sqlite/apsw_driver.py",
        "            self.connection.execute(\"COMMIT\")\n        except apsw.Error as error:\n"
        "            raise self.error(error) from error",
        "            self.connection.execute(\"COMMIT\")\n        except apsw.Error as error:\n"
        "            self.rollback()",
        "tests/faults/test_disk.py::test_an_operation_that_fails_raises_and_a_repeated_call_makes_one_row",
    ),
    Mutant(
        "the ballast is dropped on a full disk", "liteq/storage/sqlite/ballast.py",
        "os.truncate(self.path, 0)", "pass",
        "tests/faults/test_disk_full.py",
    ),
    Mutant(
        "the worker claims nothing while the disk is full", "liteq/worker/consumer.py",
        "if self._accepting and not self._short else 0", "if self._accepting else 0",
        "tests/faults/test_disk_full.py::test_acks_finish_from_the_ballast_and_the_worker_resumes_alone",
    ),
    Mutant(
        "nothing new is accepted while the disk is full", "liteq/storage/sqlite/base.py",
        "if self._short and promise is Promise.ACCEPTED:", "if False:",
        "tests/faults/test_disk_full.py",
    ),
    Mutant(
        "who holds the write lock is named", "liteq/storage/sqlite/holder.py",
        "WAL_WRITE_LOCK = 120", "WAL_WRITE_LOCK = 119",
        "tests/faults/test_locks.py::test_a_worker_outlives_a_file_that_a_stranger_has_locked",
    ),
    Mutant(
        "who reads without end is named", "liteq/storage/sqlite/holder.py",
        "READ_MARKS = (123, 127)", "READ_MARKS = (110, 111)",
        "tests/faults/test_locks.py::test_a_reader_without_end_is_named_and_holds_nobody_up",
    ),
    Mutant(
        "a log that was deleted is noticed", "liteq/storage/sqlite/files.py",
        "    _refuse_lost_log(path)\n", "",
        "tests/faults/test_bad_files.py::test_a_bad_file_is_refused_within_a_second",
    ),
    Mutant(
        "a folder in the file's place is refused", "liteq/storage/sqlite/files.py",
        "if stat.S_ISDIR(status.st_mode):", "if False:",
        "tests/faults/test_bad_files.py::test_a_bad_file_is_refused_within_a_second",
    ),
    Mutant(
        "a file that this user may not write is refused", "liteq/storage/sqlite/files.py",
        "    _refuse_read_only(path)\n", "",
        "tests/faults/test_bad_files.py::test_a_file_that_this_user_may_not_write_is_refused",
    ),
    Mutant(
        "the reaper pauses when the clock was set", "liteq/worker/heartbeat.py",
        "self._reap_from = now + self._visibility_s", "self._reap_from = now",
        "tests/faults/test_clock_jumps.py",
    ),
    Mutant(
        "an older worker does not write a newer file", "liteq/storage/sqlite/migrate.py",
        "if found.min_writer > known:", "if False:",
        "tests/faults/test_versions.py",
    ),
    Mutant(
        "a running worker learns of a newer file", "liteq/worker/consumer.py",
        "                self._storage.driver.check_schema()\n", "",
        "tests/faults/test_versions.py::test_a_running_worker_stops_when_its_file_is_migrated_by_a_newer_one",
    ),
    Mutant(
        "a child forked inside a transaction is refused", "liteq/storage/sqlite/fork.py",
        "    _forbidden[path] = parent\n", "    pass\n",
        "tests/faults/test_forks.py::test_a_child_forked_inside_a_transaction_is_refused",
    ),
    Mutant(
        "a payload that is too large is refused", "liteq/exceptions.py",
        "is {size:,} bytes encoded, the limit", "is too large, the limit",
        "tests/faults/test_hostile_payloads.py::test_64_mib_are_refused_with_their_size",
    ),
    Mutant(
        "a task that kills its process is a dead letter", "liteq/storage/settle.py",
        "if lease.crashes + 1 < max_crashes and", "if lease.crashes + 1 < 1000 and",
        "tests/faults/test_child_deaths.py::test_tasks_that_kill_their_process_are_dead_letters_and_others_go_on",
    ),
    Mutant(
        "a dead child's task goes back at once", "liteq/worker/pool/prefork.py",
        "self._outcomes.append((lease, self._fate(child, lease, status)))", "self._fate(child, lease, status)",
        "tests/faults/test_child_deaths.py::test_a_child_that_dies_gives_its_task_back_within_a_second",
    ),
    Mutant(
        "a killed worker's leases are given back by the next one", "liteq/worker/identity.py",
        "return start_time(other.pid) != other.started", "return False",
        "tests/faults/test_kill.py::test_nothing_is_lost_when_workers_are_killed_whole",
    ),
    Mutant(
        "a zombie's heartbeat learns that its lease is lost", "liteq/storage/extend.py",
        "if not tx.execute(EXTEND,", "if tx.execute(EXTEND,",
        "tests/faults/test_locks.py::test_workers_stopped_past_their_leases_cannot_acknowledge",
    ),
    Mutant(
        "a warm end returns what has not started", "liteq/worker/consumer.py",
        "        self._accepting = False\n        self._return(self._pool.take_back())\n\n    def abort",
        "        self._accepting = False\n        self._pool.take_back()\n\n    def abort",
        "tests/faults/test_signals.py::test_a_warm_end_at_any_step_loses_nothing_and_runs_nothing_twice",
    ),
    Mutant(
        "who is killed by a cold end has not crashed", "liteq/worker/pool/prefork.py",
        "        if self._stopping:  # killed by a cold shutdown, not by what it ran", "        if False:",
        "tests/faults/test_signals.py::test_a_cold_end_does_not_wait_for_what_runs",
    ),
    Mutant(
        "a worker that starts after the clock was set knows of it", "liteq/worker/heartbeat.py",
        "return max((offset - found for found in told), key=abs, default=0.0)", "return 0.0",
        "tests/faults/test_clock_jumps.py::test_a_worker_that_starts_after_the_clock_was_set_knows_of_it",
    ),
    Mutant(
        "a log that is deleted under running processes is noticed", "liteq/storage/sqlite/sidecars.py",
        'return self._log != NONE and identity(f"{self._path}-wal") != self._log', "return False",
        "tests/faults/test_bad_files.py::"
        "test_a_log_that_is_deleted_under_running_processes_is_noticed_and_loses_nothing",
    ),
    Mutant(
        "what the clocks skip runs at the end of the gap", "liteq/schedules/walls.py",
        "return [_end_of_gap(wall, zone)]", "return []",
        "tests/faults/test_cron_zones.py::test_each_slot_of_the_wall_clock_fires_once_in_every_zone",
    ),
    Mutant(
        "what they show twice runs once", "liteq/schedules/walls.py",
        "if twice else [first.astimezone(UTC)]", "if wall else [first.astimezone(UTC)]",
        "tests/faults/test_cron_zones.py::test_each_slot_of_the_wall_clock_fires_once_in_every_zone",
    ),
    Mutant(
        "the minutes go on through a repeated hour, however long", "liteq/schedules/walls.py",
        "return abs(first - second)", "return timedelta(hours=1)",
        "tests/faults/test_cron_zones.py::test_clocks_that_are_set_back_by_three_hours_lose_no_minute",
    ),
    Mutant(
        "a file is its owner's alone", "liteq/storage/sqlite/files.py",
        "MODE = 0o600", "MODE = 0o666",
        "tests/faults/test_limits.py::test_every_file_is_its_owners_alone_whatever_the_umask_allows",
    ),
    Mutant(
        "a file that another user laid out is refused", "liteq/storage/sqlite/files.py",
        "    _refuse_planted(path, status)\n", "",
        "tests/faults/test_limits.py::test_what_another_user_has_laid_out_is_not_written_to",
    ),
    Mutant(
        "a traceback has a limit", "liteq/serialization/errors.py",
        "    if len(data) <= limit:", "    if data:",
        "tests/faults/test_limits.py::test_results_and_tracebacks_are_held_to_their_limits",
    ),
]  # fmt: skip


def copy_to(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def try_out(mutant: Mutant) -> str:
    """The verdict: noticed, unnoticed, or stale where the sources no longer have what is to be replaced."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        copy_to(copy)
        path = copy / mutant.file
        text = path.read_text()
        if mutant.old not in text:
            return "stale"
        path.write_text(text.replace(mutant.old, mutant.new, 1))
        return run_in(copy, mutant.test)


def run_in(copy: Path, test: str) -> str:
    """Whether `test` fails in a copy of the sources: noticed or unnoticed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "120", test]
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)
    # 1: a test failed. Anything else but 0 (nothing collected, an error in the copy) shows nothing.
    return {0: "unnoticed", 1: "noticed"}.get(done.returncode, f"broken: {done.stdout[-300:]}")


def already_red(tests: list[str]) -> list[str]:
    """Those of `tests` that fail in an untouched copy already, and so show nothing."""
    with tempfile.TemporaryDirectory(prefix="untouched-") as folder:
        copy_to(Path(folder))
        return [test for test in tests if run_in(Path(folder), test) != "unnoticed"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutants", description=__doc__)
    parser.add_argument("word", nargs="?", default="")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if options.word in m.defence + m.file + m.test]
    if options.list:
        print("| what is taken away | in | noticed by |\n|---|---|---|")
        for m in chosen:
            print(f"| {m.defence} | `{m.file}` | `{m.test.removeprefix('tests/faults/')}` |")
        return 0
    red = already_red(list(dict.fromkeys(m.test for m in chosen)))
    if red:
        print(f"these fail without any change: {red}")
        return 1
    bad = 0
    for mutant in chosen:
        began = time.monotonic()
        verdict = try_out(mutant)
        bad += verdict != "noticed"
        print(f"{verdict:10} {time.monotonic() - began:5.1f} s  {mutant.defence}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} noticed")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
