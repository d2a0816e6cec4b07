"""Ask the watched libraries all that a queue asks of its engine: `tox -e engines-watch`, some minutes.

    python -m tests.engines_watch.run [--into FILE] [LIBRARY ...]

Prints what holds and what does not, and writes it for docs/generate/engines_watch.py, which makes the page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import apsw

from tests.engines_watch.probes import QUESTIONS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INTO = ROOT / "docs" / "generate" / "engines_watch.json"
PACKAGES = {"libsql": "libsql", "turso": "pyturso"}
LEFT_OUT = "tests/conformance/test_plans.py"  # it asks SQLite's planner
ANSWER_S = 120
TEST_S = "300"  # a busy machine is no fault of the library
LONGEST = 160  # of a reason


def main(argv: list[str] | None = None) -> int:
    """Run all; 0 when it could be run, whatever it has found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=INTO)
    parser.add_argument("library", nargs="*", default=list(PACKAGES), help=f"of {', '.join(PACKAGES)}; all of them")
    given = parser.parse_args(argv)
    for name in set(given.library) - PACKAGES.keys():
        parser.error(f"{name!r} is not watched; there are {', '.join(PACKAGES)}")
    found = {"date": datetime.now(UTC).date().isoformat(), "python": platform.python_version(),
             "sqlite": apsw.sqlite_lib_version(), "libraries": [library(name) for name in given.library]}  # fmt: skip
    given.into.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {given.into}")
    return 0


def library(name: str) -> dict[str, Any]:
    """All about one library."""
    package = PACKAGES[name]
    print(f"== {package} {version(package)}", flush=True)
    return {
        "library": name, "package": package, "version": version(package), "sqlite": sqlite_of(name),
        "answers": [answer for part in QUESTIONS for answer in asked(name, part)], "suite": suite(name),
    }  # fmt: skip


def sqlite_of(name: str) -> str:
    """The version of SQLite that it carries, or says that it is like."""
    code = (
        f"import {name} as library; print(library.connect(':memory:').execute('SELECT sqlite_version()').fetchone()[0])"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def asked(name: str, part: str) -> Iterator[dict[str, Any]]:
    """The answers to the questions of a part."""
    for question in QUESTIONS[part]:
        words = " ".join((question.__doc__ or "").split())
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            holds, told = answer_of(name, question.__name__, folder)
        print(f"   {'holds  ' if holds else 'DOES NOT'} {words} {told}", flush=True)
        yield {"part": part, "question": question.__name__, "words": words, "holds": holds, "told": told}


def answer_of(name: str, question: str, folder: str) -> tuple[bool, str]:
    """Whether it holds, and what was said."""
    command = [sys.executable, str(HERE / "probes.py"), question, f"{name}:///{folder}/queue.db", folder]
    try:
        done = subprocess.run(command, env=surroundings(), capture_output=True, text=True, timeout=ANSWER_S, cwd=folder)
    except subprocess.TimeoutExpired:
        return False, f"no answer within {ANSWER_S} s"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or [""]
    return done.returncode == 0, lines[-1] if done.returncode == 0 else reason(lines[-1], done.returncode)


def suite(name: str) -> list[dict[str, Any]]:
    """The conformance suite by module: how many tests ran, and those that failed, each with its reason."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-p", "no:cacheprovider", f"--ignore={LEFT_OUT}", "-q", "-n", "2", "--timeout", TEST_S]
        options += ["-m", "not nightly", "--tb=short", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", *options, "tests/conformance"]
        env = surroundings() | {"LITEQ_TEST_URL": f"{name}:///{{folder}}/{{name}}.db"}
        subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, check=False)
        cases = list(ET.parse(report).iter("testcase"))
    modules: dict[str, dict[str, Any]] = {}
    for case in cases:
        if case.find("skipped") is not None:
            continue
        path = (case.get("classname") or "").removeprefix("tests.conformance.").replace(".", "/")
        module = modules.setdefault(path, {"module": path, "ran": 0, "failed": {}})
        module["ran"] += 1
        for fault in (*case.findall("failure"), *case.findall("error")):
            lines = [line[1:].strip() for line in (fault.text or "").splitlines() if line.startswith("E ")]
            told = reason(next(filter(None, reversed(lines)), "") if "error" in fault.tag else next(iter(lines), ""), 1)
            module["failed"].setdefault((case.get("name") or "").replace("[given]", ""), told)
    for module in modules.values():
        for test, told in module["failed"].items():
            print(f"   DOES NOT {module['module']}::{test}: {told}")
    ran, failed = (sum(module["ran"] for module in modules.values()), sum(len(m["failed"]) for m in modules.values()))
    print(f"   {ran - failed} of {ran} tests of the suite pass", flush=True)
    return [modules[path] for path in sorted(modules)]


def surroundings() -> dict[str, str]:
    """The environment in which the libraries are engines."""
    paths = [str(HERE), str(ROOT), str(ROOT / "contrib"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def reason(line: str, code: int) -> str:
    """The error in words that are the same from run to run: no paths, no names of classes."""
    line = re.sub(r"^(?:[\w.]+(?:Error|Exception|Corrupt|Unavailable|Busy)|Failed|assert\w*): ", "", line)
    line = re.sub(r"\S*/\w+\.db: ", "", re.sub(r"0x[0-9a-f]{6,}", "0x...", line))
    if code < 0 and not line:
        line = f"the process died of signal {-code}"
    return (line or "it failed").replace("\n", " ")[:LONGEST]


if __name__ == "__main__":
    sys.exit(main())
