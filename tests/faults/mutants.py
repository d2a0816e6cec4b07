"""Takes each defence out of a copy of the sources, and shows that a test notices.

python -m tests.faults.mutants            # all; exit code 1 when one goes unnoticed
python -m tests.faults.mutants fencing    # those whose name contains a word
python -m tests.faults.mutants --list     # as the table of tests/faults/README.md

The tests of Celery itself run by the Python that `LITEQ_TEST_CELERY_PYTHON` names, such as .tox/celery/bin/python;
without it they are skipped, and that is told.
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

from .defences import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
OF_CELERY = "../contrib/real_celery/"
COPIED = ("liteq", "contrib", "tests", "pyproject.toml")


def table(mutants: list[Mutant]) -> str:
    """The list as Markdown."""
    rows = [f"| {m.defence} | `{m.file}` | {', '.join(f'`{test}`' for test in m.tests)} |" for m in mutants]
    return "\n".join(["| what is taken away | in | noticed by |", "|---|---|---|", *rows])


def copy_to(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    history = ROOT / ".git"  # the older versions come out of it
    if history.is_dir():
        (folder / ".git").write_text(f"gitdir: {history}\n")
    elif history.exists():  # of a work tree: a line that says where
        shutil.copy(history, folder / ".git")


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
        verdicts = {test: run_in(copy, test) for test in mutant.tests}
    silent = [f"{verdict} by {test}" for test, verdict in verdicts.items() if verdict != "noticed"]
    return ", ".join(silent) or "noticed"


def run_in(copy: Path, test: str) -> str:
    """Whether `test` fails in a copy of the sources: noticed or unnoticed."""
    python = (
        os.environ.get("LITEQ_TEST_CELERY_PYTHON", sys.executable) if test.startswith(OF_CELERY) else sys.executable
    )
    command = [python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "120"]
    env = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'contrib'}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, f"tests/faults/{test}"], cwd=copy, env=env, capture_output=True, text=True)
    if done.returncode == 0 and " skipped" in done.stdout and " passed" not in done.stdout:
        return "skipped"
    # 1: a test failed. Anything else but 0 (nothing collected, an error in the copy) shows nothing.
    return {0: "unnoticed", 1: "noticed"}.get(done.returncode, f"broken: {done.stdout[-300:]}")


def already_red(tests: list[str]) -> list[str]:
    """Those of `tests` that fail in an untouched copy already, and so show nothing."""
    with tempfile.TemporaryDirectory(prefix="untouched-") as folder:
        copy_to(Path(folder))
        return [test for test in tests if run_in(Path(folder), test) not in {"unnoticed", "skipped"}]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutants", description=__doc__)
    parser.add_argument("word", nargs="?", default="")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if options.word in " ".join([m.defence, m.file, *m.tests])]
    if options.list:
        print(table(chosen))
        return 0
    red = already_red(list(dict.fromkeys(test for m in chosen for test in m.tests)))
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
