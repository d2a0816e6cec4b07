"""Write docs/reference/surface.md: every name that a user may write or read, in one table.

    python docs/generate/surface.py            write it
    python docs/generate/surface.py --check    write nothing; exit 1 when the committed page is stale
    python docs/generate/surface.py --json     print the rows as JSON, for a search or a comparison of two versions

Nothing is listed by hand: a row comes from the reference of the API, a table in the code, or the commands themselves.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reference import differs, table
from surface_cli import of_commands
from surface_code import of_calls, of_events, of_exceptions, of_names, of_options, of_signals, of_variables
from surface_http import of_parameters, of_routes
from surface_row import ROOT, Row

from liteq.metrics.names import METRICS, series
from liteq.settings import SETTINGS

PAGE = Path("docs", "reference", "surface.md")
NOTE = "<!-- Made by docs/generate/surface.py; edit the code it is made from, then run it. -->\n"
INTRO = """# All names

Each name that a program, a person at a shell, an HTTP client or a dashboard of metrics may write or read: the whole
surface of liteq, from which the other pages of this reference explain each part. A name keeps its meaning within a
major version; a name that is not here may change in any release.

"""
SECTIONS: Mapping[str, str] = {
    "name": "Names in Python",
    "call": "Options of tasks and calls",
    "option": "Options of apps, workflows, steps and entries of beat",
    "exception": "Exceptions",
    "signal": "Signals",
    "event": "Events",
    "setting": "Settings",
    "environment": "Environment variables",
    "command": "Commands",
    "flag": "Options of commands",
    "route": "HTTP routes",
    "parameter": "URL parameters",
    "metric": "Metrics",
    "entry point": "Entry points",
    "extra": "Extras",
}
HEADS: Mapping[str, tuple[str, str, str]] = {
    "name": ("name", "kind", "form"),
    "call": ("option", "of", "default"),
    "option": ("option", "of", "default"),
    "exception": ("exception", "is a", "meaning"),
    "signal": ("signal", "arguments", ""),
    "event": ("event", "", ""),
    "setting": ("setting", "takes", "default"),
    "environment": ("variable", "read by", ""),
    "command": ("command", "arguments", "meaning"),
    "flag": ("option", "value", "commands"),
    "route": ("route", "at", "right"),
    "parameter": ("parameter", "of", ""),
    "metric": ("metric", "kind", "labels"),
    "entry point": ("name", "group", "object"),
    "extra": ("extra", "requires", ""),
}


def main(argv: list[str] | None = None) -> int:
    """Write, check or print the table; the exit code."""
    parser = argparse.ArgumentParser(description="Make the table of all names from code.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when the page is stale")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    given = parser.parse_args(argv)
    if given.json:
        print(json.dumps([row._asdict() for row in rows()], indent=1))
        return 0
    text = page()
    if not differs(PAGE, text, show=given.check, generator="surface"):
        return 0
    if given.check:
        return 1
    (ROOT / PAGE).write_text(text, encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


def rows() -> Iterator[Row]:
    """Every row, by section."""
    makers: tuple[Callable[[], Iterator[Row]], ...] = (
        of_names, of_calls, of_options, of_exceptions, of_signals, of_events, _settings, _environment, of_commands,
        of_routes, of_parameters, _metrics, _entry_points, _extras,
    )  # fmt: skip
    for make in makers:
        yield from make()


def page() -> str:
    """The page: a table for each kind, with a column for each of its facts."""
    found: dict[str, list[Row]] = {kind: [] for kind in SECTIONS}
    for row in rows():
        found[row.kind].append(row)
    parts = []
    for kind, title in SECTIONS.items():
        head = tuple(one for one in HEADS[kind] if one)
        lines = [(f"`{row.name}`", row.of, row.form)[: len(head)] for row in found[kind]]
        parts.append(f"## {title}\n\n{table(head, *lines)}")
    return NOTE + INTRO + "\n".join(parts)


def _settings() -> Iterator[Row]:
    for name in sorted(SETTINGS):
        one = SETTINGS[name]
        yield Row("setting", name, one.allowed or "", f"`{one.default!r}`")


def _environment() -> Iterator[Row]:
    known = frozenset(one.env for one in SETTINGS.values())
    yield Row("environment", "LITEQ_ and a setting's name in capitals", "every app")
    yield from of_variables(known)


def _metrics() -> Iterator[Row]:
    for one in METRICS.values():
        name = one.name if one.kind == "histogram" else series(one)[0]
        yield Row("metric", name, one.kind, ", ".join(one.labels))


def _entry_points() -> Iterator[Row]:
    groups = {"console_scripts": _project()["scripts"], **_project()["entry-points"]}
    for group, names in groups.items():
        for name, place in names.items():
            yield Row("entry point", name, f"`{group}`", f"`{place}`")


def _extras() -> Iterator[Row]:
    for name, requires in sorted(_project()["optional-dependencies"].items()):
        yield Row("extra", name, ", ".join(f"`{one}`" for one in requires))


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
