"""Write the page that says what each engine has: from the tests that run on it.

    python docs/generate/engines.py            write it
    python docs/generate/engines.py --check    write nothing; exit 1 when the committed page is stale

A row is a module of tests/conformance: the suite runs on each engine, but for tests that ask SQLite itself. Its words
are those of WORDS, else of its docstring. What is beside the verbs is listed here, with the module that shows it.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "engines.md"
TESTS = ROOT / "tests"
SUITE = TESTS / "conformance"
TOGETHER = ("interleaved/conftest.py", "concurrent/test_at_once.py")  # how several meet, each a suite of its own
NOTE = "<!-- Made by docs/generate/engines.py; edit the tests that it is made from, then run it. -->\n"
HEAD = "| | SQLite | PostgreSQL |\n|---|---|---|"
INTRO = """# Features by engine

A row stands for tests that run on each engine that it names, in each run of CI. The page is made from them.
"""
YES, NO = "yes", "-"
WORDS = {
    "test_batches": "Batches: tasks that are executed together",
    "test_bodies": "Large arguments and results",
    "test_browse": "Lists and searches of messages, page by page",
    "test_continuation": "Chains, groups, chords, errbacks, replacements, replays of dead letters",
    "test_epoch": "`liteq epoch`: a queue that has gone back in time begins a new life",
    "test_fairness": "Turns between keys: no backlog of one keeps another waiting",
    "test_holding": "Messages that a limit holds back, for those who look",
    "test_kept": "Cursors, kept logs and tags of tasks",
    "test_limits": "Limits by key: rates, and how many run at once",
    "test_lineage": "The whole of a canvas or run, found from any of its messages",
    "test_needed": "Retention: results stay as long as something may take them",
    "test_operating": "Acts of operators, bulk operations, audit",
    "test_pauses": "Queues that are paused",
    "test_queue_verbs": "A message's life: delays, priorities, expiry, leases, fencing tokens, retries, dead letters",
    "test_rates": "Rate limits of tasks",
    "test_run_races": "Workflows: races of events, children and timers with crashes and cancels",
    "test_runs": "Workflows: history, waits, events, approvals, memo, forks",
    "test_sends": "Named sendings of very many calls, `send_many`",
    "test_statistics": "Statistics, causes of failure, attempts, measures over time",
    "test_streams": "Streams that tasks and runs emit",
    "test_transitions": "The states of a message: no transition but the legal ones",
    "test_unique": "Unique tasks: until the start, for a time, the newest call instead",
    "test_waiting_queues": "Workers that take queues by a glob",
}
OF_AN_ENGINE = {"test_log", "test_plans"}  # no features: what a file's engine does inside


class Feature(NamedTuple):
    """A feature beside the verbs: the tests that show it on a file and on a server, or words for what is instead."""

    words: str
    sqlite: str
    postgresql: str


BESIDE = (
    Feature("Moving a queue to the other engine, `liteq move`", "integration/test_move.py", "integration/test_move.py"),
    Feature(
        "The commands that look at a queue: `status`, `top`, `why`, `doctor`, `metrics`, ...",
        "unit/cli/test_cli_commands.py", "integration/test_postgresql_operating.py",
    ),
    Feature(
        "The dashboard: each page, each act", "contrib/dashboard/test_walk.py", "contrib/dashboard/test_postgresql.py"
    ),
    Feature("`?mode=ro`: nothing is written", "integration/test_read_only.py", "integration/test_postgresql.py"),
    Feature("Workers on several machines", "one machine: a file has no other", "integration/test_postgresql.py"),
    Feature(
        "Copies: `liteq backup`, hourly too", "integration/test_backups_by_the_clock.py", "`pg_dump`, base backups"
    ),
    Feature(
        "A copy in the queue's place: `liteq restore`", "faults/test_restore.py",
        "`pg_restore`, point-in-time recovery; then `liteq epoch`",
    ),
    Feature("A full disk: what runs is acknowledged all the same", "faults/test_disk_full.py", "the server's matter"),
    Feature(
        "One worker for many queues: `liteq worker --db`", "integration/test_many_files.py", "a worker for each schema"
    ),
    Feature("A queue that several users share", "faults/test_shared_files.py", "roles and their rights"),
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Write or check the page; the exit code."""
    parser = argparse.ArgumentParser(description="Make the page of features by engine from the tests.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when the page is stale")
    only_check = parser.parse_args(argv).check
    text = page()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if only_check:
        print(f"{PAGE.relative_to(ROOT)} is stale: run python docs/generate/engines.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


def page() -> str:
    """The text of the page."""
    suites = [SUITE / name for name in TOGETHER]
    parts = (
        ("## The queue", [row(words, YES, on_server) for words, on_server in verbs()]),
        ("## Several at once", [row(sentence(path), YES, YES) for path in suites]),
        ("## Beside the queue", [row(one.words, shown(one.sqlite, server=False), shown(one.postgresql, server=True))
                                 for one in BESIDE]),
    )  # fmt: skip
    return "\n".join([NOTE, INTRO, *("\n".join([title, "", HEAD, *rows, ""]) for title, rows in parts)])


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def verbs() -> Iterator[tuple[str, str]]:
    """Each module of the suite, by its words, and whether it runs on a server."""
    of_sqlite = of_sqlite_alone()
    for path in sorted(SUITE.glob("test_*.py")):
        functions = [node.name for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]
        tests = {name for name in functions if name.startswith("test_")}
        if path.stem not in OF_AN_ENGINE:
            yield WORDS.get(path.stem, sentence(path)), NO if tests <= of_sqlite else YES


def of_sqlite_alone() -> set[str]:
    """The tests that ask SQLite itself."""
    for node in tree(SUITE / "conftest.py").body:
        if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["OF_SQLITE"]:
            return set(ast.literal_eval(node.value))
    raise SystemExit("tests/conformance/conftest.py has no OF_SQLITE any more: say here how its tests are told")


def sentence(path: Path) -> str:
    """The first sentence of a module's docstring, without its end."""
    words = " ".join((ast.get_docstring(tree(path)) or path.stem).split())
    return re.split(r"\.(?: |$)", words, maxsplit=1)[0]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(evidence: str, *, server: bool) -> str:
    """`yes` for a module of tests that is there, and that starts a server where that is claimed; else the words."""
    if not evidence.endswith(".py"):
        return evidence
    source = (TESTS / evidence).read_text(encoding="utf-8")
    if server and "postgresql" not in source:
        raise SystemExit(f"tests/{evidence} does not run on PostgreSQL: the page may not say so")
    return YES


if __name__ == "__main__":
    sys.exit(main())
