"""Write docs/reference/celery-compatibility.md out of a run of the tests that prove its rows.

    python docs/generate/celery_page.py            run these tests, write the page
    python docs/generate/celery_page.py --check    run nothing; exit 1 when page and tests do not speak of the same rows

A row is a test with the marker `celery("group", "behaviour in a line")`; `differs="in what"` says that the test proves
what liteq does instead. The outcome in the page is that of the run, so a row that fails says so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = Path("docs", "generate", "celery_suite.json")
PAGE = Path("docs", "reference", "celery-compatibility.md")
NOTE = "<!-- Made by docs/generate/celery_page.py out of a run of the tests that it names. -->\n"
HEAD = "| behaviour | here | test |\n| --- | --- | --- |\n"


@dataclass(frozen=True)
class Row:
    """One behaviour, and the test that proves it. `test` is its id in pytest."""

    group: str
    behaviour: str
    differs: str | None
    test: str

    @property
    def key(self) -> tuple[str, str, str]:
        """The parts on which the page and the tests must agree."""
        return self.group, escaped(self.behaviour), escaped(f"`{self.test}`")


class Recorder:
    """A plugin for pytest: the rows of the tests that were collected, and how each of them ended."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.outcomes: dict[str, str] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for mark in item.iter_markers("celery"):
                test = test_of(item.nodeid)
                self.rows[test] = row_of(test, *mark.args, **mark.kwargs)

    def pytest_runtest_logreport(self, report: Any) -> None:
        test = test_of(report.nodeid)
        if report.failed or report.skipped or (report.when == "call" and test not in self.outcomes):
            self.outcomes[test] = report.outcome


def test_of(nodeid: str) -> str:
    """The test of a node of pytest; one that runs over both engines is one test."""
    return nodeid.removesuffix("[sqlite]").removesuffix("[postgresql]")


def row_of(test: str, group: str, behaviour: str, differs: str | None = None) -> Row:
    """The row of a marker's arguments."""
    return Row(group, behaviour, differs, test)


def main(argv: list[str] | None = None) -> int:
    """Write or check the page; the exit code."""
    parser = argparse.ArgumentParser(description="Make the page about Celery's behaviour out of tests that ran.")
    parser.add_argument("--check", action="store_true", help="only compare the rows; exit 1 when they are not the same")
    only_check = parser.parse_args(argv).check
    recorder = Recorder()
    more = ["--collect-only"] if only_check else []
    code = pytest.main(
        ["-q", "-m", "celery and not nightly", "-p", "no:cacheprovider", *more, *marked_files()], [recorder]
    )
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return int(code)
    if only_check:
        return 0 if agrees(recorder.rows.values(), (ROOT / PAGE).read_text(encoding="utf-8")) else 1
    (ROOT / PAGE).write_text(page(recorder), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


def marked_files() -> list[str]:
    """The files of tests that have such a marker: to import all the others takes half a minute."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files if "pytest.mark.celery" in file.read_text(encoding="utf-8")]


def agrees(rows: Iterable[Row], text: str) -> bool:
    """Whether the page has exactly these rows; prints those that are too many or too few."""
    said, proved = set(rows_of_page(text)), {row.key for row in rows}
    for row in sorted(said - proved):
        print("in the page, but no test proves it:", *row)
    for row in sorted(proved - said):
        print("not in the page:", *row)
    if said != proved:
        print("stale: run `python docs/generate/celery_page.py`")
    return said == proved


def rows_of_page(text: str) -> Iterator[tuple[str, str, str]]:
    """(group, behaviour, test) of each row in the page, as they stand there."""
    group = ""
    for line in text.splitlines():
        if line.startswith("## "):
            group = line[3:]
        elif line.startswith("| ") and line.endswith("` |"):
            behaviour, _, rest = line[2:-2].partition(" | ")
            test = rest.rpartition(" | ")[2]
            if test.startswith("`tests/"):  # other tables have other last cells
                yield group, behaviour, test


def escaped(text: str) -> str:
    """`text` for the cell of a table."""
    return text.replace("|", "\\|")


def page(recorder: Recorder) -> str:
    """The page: a table for each group, in alphabetical order."""
    rows = recorder.rows.values()
    groups = sorted({row.group for row in rows})
    as_celery = sum(recorder.outcomes.get(row.test) == "passed" and row.differs is None for row in rows)
    differing = sum(recorder.outcomes.get(row.test) == "passed" and row.differs is not None for row in rows)
    others = len(rows) - as_celery - differing
    summary = (
        f"{len(rows)} rows: {as_celery} as in Celery, {differing} that differ and say how"
        + (f", {others} that did not pass" if others else "")
        + "."
    )
    tables = "".join(table(group, rows, recorder) for group in groups)
    head = INTRODUCTION.format(summary=summary, sentry="177 of 191 | 177 of 191", otel="30 of 30 | 30 of 30")
    return f"{NOTE}{head}{tables}{own_tests()}"


def table(group: str, rows: Iterable[Row], recorder: Recorder) -> str:
    """One group of rows, in the order of their tests."""
    lines = [
        f"| {escaped(row.behaviour)} | {escaped(here(row, recorder))} | {escaped(f'`{row.test}`')} |\n"
        for row in rows
        if row.group == group
    ]
    return f"\n## {group}\n\n{HEAD}" + "".join(lines)


def here(row: Row, recorder: Recorder) -> str:
    """The outcome of a row's test, in words."""
    match recorder.outcomes.get(row.test):
        case "passed":
            return f"differs: {row.differs}" if row.differs else "as in Celery"
        case "skipped":
            return "not tried where this page was made"
        case _:
            return "**fails**"


def own_tests() -> str:
    """The section about Celery's own unit tests, out of the numbers that `celery_suite.py` wrote."""
    numbers = json.loads((ROOT / NUMBERS).read_text(encoding="utf-8"))
    lines = [
        f"| `t/unit/{row['file']}.py` | {row['ran']} | {row['passed']} | "
        f"{row['others'] if row['passed'] < row['ran'] else ''} |\n"
        for row in numbers["files"]
    ]
    ran, passed = (sum(row[key] for row in numbers["files"]) for key in ("ran", "passed"))
    return OWN_TESTS.format(ran=ran, passed=passed, **numbers) + "".join(lines)


OWN_TESTS = """
## Celery's own unit tests

Celery's unit tests of what programs see (the version after {celery}) run unchanged over liteq, under the names of
`liteq_celery`: {ran:,} ran, {passed:,} passed. The others look at how Celery does it, by private names or by mocks of
a broker's connection; the last column says at what. The rest of its unit tests, {left_out:,} functions, is not run:
backends, transports, concurrency, the consumer, the tracer and the security serializer are what liteq replaces.
`docs/generate/celery_suite.py` runs them.

| file | ran | passed | the others need |
| --- | ---: | ---: | --- |
"""

INTRODUCTION = """\
# Celery's behaviour, row by row

This page compares liteq with the user guide of Celery 5.7, except for its parts about brokers. The test beside each row
proves it, and ran when this page was made. A row without a test, or a test without a row, fails the build.
{summary}

[Migrate from Celery](../howto/migrate-from-celery.md) says what to change in a project.

## The suites of others

Sentry's and OpenTelemetry's own tests of Celery, unmodified, with `-p liteq_celery.shim`. They are not part of this
project, and are run by hand.

| suite | pass with Celery 5.7 | pass here | the others |
| --- | --- | --- | --- |
| sentry-python 2.75, `tests/integrations/celery` | 177 of 191 | 177 of 191 | the same 14 |
| opentelemetry-instrumentation-celery 0.66, `tests` | 30 of 30 | 30 of 30 | |

The 14 pass neither with Celery nor here where the two were compared:

- `test_redis_backend_trace_propagation` needs Redis.
- `test_explanation`, `test_beat_task_crons_success` and `test_beat_task_crons_error` need Redis too, and could not pass
  with it: they have beat run a scheduler class of their own, and here entries are rows of the file.
- `test_newrelic_interference`, eight times, needs New Relic's agent.
- `test_send_task_wrapped`, twice, needs a process without Sentry's earlier patches.
"""


if __name__ == "__main__":
    sys.exit(main())
