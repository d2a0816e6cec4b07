"""Write the page on the libraries that are watched as engines: from docs/generate/engines_watch.json, what a run found.

    python docs/generate/engines_watch.py            write it
    python docs/generate/engines_watch.py --check    write nothing; exit 1 when the committed page is stale

`tox -e engines-watch` asks the libraries anew, some minutes, and writes both.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "engines-watch.md"
FOUND = Path(__file__).with_name("engines_watch.json")
NOTE = "<!-- Made by docs/generate/engines_watch.py from what `tox -e engines-watch` has found; do not edit. -->\n"
PARTS = {"read": "Read a queue", "write": "Write to a queue", "serve": "Serve a queue, with workers"}
LIVE = "sees_commits"
SHOWN = 12  # failures of one library, each with its reason; more are counted
INTRO = """# Libraries that are watched

liteq opens a file by apsw, or by Python's own `sqlite3`. Two other libraries open SQLite's files: libSQL, a fork of
SQLite, and Turso, a new engine that reads and writes the format. Neither is an engine of liteq today. `tox -e
engines-watch` asks both what a queue asks of its engine, through a small driver that lives with the tests, and makes
this page. [Decision 48](../adr/0048-engines-watch.md) says when one of them would become an engine.
"""
ABOUT = """\
[Broker URLs](broker-urls.md) take apsw and `sqlite3`. A program that has only one of these libraries sends by the
[gateway](../howto/gateway.md), and reads a copy. **Never write to a queue in use with a library whose answer is no**:
the questions below say what happens then.

The WAL-reset bug: SQLite 3.7.0 to 3.51.2 can damage a file in which two processes write and fold the log at once. liteq
guards its own folding, also through Python's `sqlite3`, which often has the bug. A program that opens the file without
liteq folds it unguarded. So no library with the bug is added.
"""
SUITE = """\
This is the suite of the storage's contract, which each engine of liteq must pass, on files that the library has
made, in processes that use it alone. What asks SQLite's planner is left out. Two faults would hide all others, so the
driver mends them here: it writes integers into libSQL's statements, and leaves `WITHOUT ROWID` out of Turso's tables.
Neither library has a progress handler, by which liteq stops a read.
Turso runs with the features that it calls experimental: autovacuum, tables `WITHOUT ROWID`, and several processes.
"""
WHY = {
    "reads_liteqs_file": "it cannot read liteq's file",
    "sees_commits": "it does not see what others commit",
    "makes_a_queue": "it cannot make the tables",
    "works_on_liteqs_file": "it cannot work on liteq's file",
    "is_seen": "others do not see what it commits",
    "waits_for_us": "it takes no notice of another's write lock",
    "makes_us_wait": "others take no notice of its write lock",
    "writes_beside_us": "a file that both write to is damaged",
    "survives_kills": "a kill leaves half a transaction, or a lock",
    "keeps_integers": "it changes integers above 2^53",
    "has_no_reset_bug": "SQLite's WAL-reset bug",
    "serves": "a worker does not get through",
    "wakes": "it has no `PRAGMA data_version`",
    "stops_a_read": "a long read cannot be stopped",
    "copies": "it makes no copy of a file in use",
}


def main(argv: list[str] | None = None) -> int:
    """Write or check the page; the exit code."""
    parser = argparse.ArgumentParser(description="Make the page on the libraries that are watched as engines.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when the page is stale")
    only_check = parser.parse_args(argv).check
    text = page(json.loads(FOUND.read_text(encoding="utf-8")))
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if only_check:
        print(f"{PAGE.relative_to(ROOT)} is stale: run python docs/generate/engines_watch.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


def page(found: dict[str, Any]) -> str:
    """The text of the page."""
    libraries = found["libraries"]
    head = ["", *(f"{one['package']} {one['version']}" for one in libraries)]
    run = f"Run on {found['date']}, Python {found['python']}; liteq's own side with apsw, SQLite {found['sqlite']}.\n"
    asked = "Each is asked in a process of its own. The other side is a process of liteq's, with apsw.\n"
    parts = [
        INTRO, run,
        "## Verdicts of today\n", *table(head, verdicts(libraries)), "", ABOUT,
        "## The questions\n", asked, *table(head, answers(libraries)), "",
        "## The conformance suite\n", SUITE, *suites(libraries),
    ]  # fmt: skip
    return "\n".join([NOTE, *parts]).rstrip("\n") + "\n"


def table(head: list[str], rows: Iterator[list[str]]) -> list[str]:
    return [row(head), "|" + "---|" * len(head), *map(row, rows)]


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def verdicts(libraries: list[dict[str, Any]]) -> Iterator[list[str]]:
    """A row for each part, with a verdict on each library."""
    for part, words in PARTS.items():
        yield [words, *(verdict(library, part) for library in libraries)]


def verdict(library: dict[str, Any], part: str) -> str:
    """Whether the library may do what `part` is; why not, where it may not.

    It may write what it may read, and serve what it may write.
    """
    own = [answer for answer in library["answers"] if answer["part"] == part and not answer["holds"]]
    if part == "read":
        copies_alone = [answer["question"] for answer in own] == [LIVE]
        return "only a copy that nobody writes" if copies_alone else "no" if own else "yes"
    before = list(PARTS)[list(PARTS).index(part) - 1]
    reasons = [f"it may not {before}"] if verdict(library, before).startswith("no") else []
    reasons += [WHY.get(answer["question"], answer["told"]) for answer in own]
    if verdict(library, before).startswith("only"):
        reasons.insert(0, WHY[LIVE])
    return f"no: {'; '.join(reasons)}" if reasons else "yes"


def answers(libraries: list[dict[str, Any]]) -> Iterator[list[str]]:
    """A row for each question."""
    by_name = [{answer["question"]: answer for answer in library["answers"]} for library in libraries]
    for name, first in by_name[0].items():
        told = [answer[name] for answer in by_name]
        yield [first["words"], *(f"{'yes' if one['holds'] else '**no**'}: {one['told']}" for one in told)]


def suites(libraries: list[dict[str, Any]]) -> Iterator[str]:
    """How much of the suite each library passes, and each test that it does not."""
    for library in libraries:
        ran = sum(module["ran"] for module in library["suite"])
        failed = [(module["module"], *one) for module in library["suite"] for one in module["failed"].items()]
        yield f"**{library['package']} {library['version']}**: {ran - len(failed)} of {ran} tests pass."
        yield ""
        if failed:
            rows = ([f"`{module}::{test}`", told] for module, test, told in failed[:SHOWN])
            yield from table(["not", "why"], rows)
            if len(failed) > SHOWN:
                yield f"\nAnd {len(failed) - SHOWN} more."
            yield ""


if __name__ == "__main__":
    sys.exit(main())
