"""Run Celery's own unit tests, on what programs see of it, over liteq; write the numbers that the page shows.

    python docs/generate/celery_suite.py CHECKOUT     a checkout of https://github.com/celery/celery

Takes about six minutes. `celery_page.py` puts docs/generate/celery_suite.json into its page.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NUMBERS = HERE / "celery_suite.json"

FILES = {
    "tasks/test_canvas": "the inside of canvas objects: `_frozen`, `prepare_steps`, identities, `set_chord_size`",
    "tasks/test_chord": "the task `celery.chord_unlock`, which polls: here a chord's body follows its last member",
    "tasks/test_context": "a Context that makes headers of unknown keys, and its dict compared as a whole",
    "tasks/test_result": "a backend that the test puts in place, or a private attribute: results are in the file",
    "tasks/test_stamping": "callbacks of a name that no task has, called eagerly: NotRegistered here",
    "tasks/test_states": "",
    "tasks/test_tasks": "the mocked producer, and Celery's tracer",
    "test_canvas": "the `reply_to` of a broker's replies",
    "app/test_app": "the mocked transport below `send_task`; private attributes; impossible values, refused here",
    "app/test_annotations": "the classes behind `task_annotations`",
    "app/test_beat": "scheduler classes: entries are rows here",
    "app/test_builtins": "tasks of Celery's own (`celery.chord`, `celery.backend_cleanup`)",
    "app/test_celery": "the package's `__author__` and the like",
    "app/test_control": "the mailbox of a broker, mocked",
    "app/test_exceptions": "",
    "app/test_log": "the parts of `app.log`",
    "app/test_registry": "private attributes",
    "app/test_routes": "`app.amqp.Queues` and the classes behind `task_routes`",
    "app/test_schedules": "private helpers; an impossible crontab is refused when it is made",
    "app/test_utils": "the settings' inner classes",
    "events/test_events": "a broker's exchange, connection and buffers",
    "events/test_snapshot": "timers, mocked",
    "events/test_state": "the pickled form, and calls of `Task.event` and `Worker.event` by hand",
    "utils/test_dispatcher": "receivers are kept in a list of another form",
    "utils/test_functional": "",
    "utils/test_graph": "the text forms of a graph",
    "utils/test_imports": "private helpers",
    "utils/test_iso8601": "the texts of its errors",
    "utils/test_nodenames": "",
    "utils/test_text": "private helpers",
    "utils/test_time": "dateutil and private classes",
    "contrib/test_abortable": "a plain AsyncResult put in the place of the task's",
    "contrib/test_worker": "a worker over `memory://`",
    "bin/test_control": "a broker that is not there",
    "bin/test_worker": "a broker, and Celery's worker, mocked",
}  # fmt: skip
"""The files that are run, and the kinds of test in each that cannot pass."""


def main(argv: list[str] | None = None) -> int:
    """Run the files and write the numbers; 0 when they could be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    checkout = parser.parse_args(argv).checkout.resolve()
    with tempfile.TemporaryDirectory() as folder:
        report = run(checkout, Path(folder))
    files = [{"file": name, "ran": ran, "passed": good, "others": FILES[name]} for name, ran, good in tally(report)]
    written = {"celery": version_of(checkout), "files": files, "left_out": left_out(checkout)}
    NUMBERS.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {NUMBERS.relative_to(ROOT)}")
    return 0


def run(checkout: Path, folder: Path) -> ET.ElementTree[Any]:
    """Run the files on a copy of their folder, away from Celery's own package; pytest's report."""
    shutil.copytree(checkout / "t", folder / "t")
    (folder / "pytest.ini").write_text("[pytest]\npython_classes = test_*\ntimeout = 20\n", encoding="utf-8")
    report = folder / "report.xml"
    options = ["-p", "celery_suite_plugin", "-p", "no:cacheprovider", "-q", f"--junitxml={report}", "--tb=no"]
    paths = [str(folder / "t" / "unit" / f"{name}.py") for name in FILES]
    path = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    env = {**os.environ, "CELERY_CHECKOUT": str(checkout), "PYTHONPATH": path}
    command = [sys.executable, "-m", "pytest", *options, "--continue-on-collection-errors", *paths]
    subprocess.run(command, cwd=folder, env=env, check=False, stdout=subprocess.DEVNULL)
    return ET.parse(report)  # noqa: S314 - written by the pytest above


def tally(report: ET.ElementTree[Any]) -> list[tuple[str, int, int]]:
    """(file, how many of its tests ran, how many passed); one that fails in its teardown has not."""
    outcome: dict[tuple[str, str, str], bool] = {}
    for case in report.iter("testcase"):
        if case.find("skipped") is not None:
            continue
        name = next((name for name in FILES if (case.get("classname") or "").startswith(dotted(name))), None)
        if name is not None:
            key = name, case.get("classname") or "", case.get("name") or ""
            passed = case.find("failure") is None and case.find("error") is None
            outcome[key] = outcome.get(key, True) and passed
    ran, passed_in = Counter(key[0] for key in outcome), Counter(key[0] for key, good in outcome.items() if good)
    return [(name, ran[name], passed_in[name]) for name in FILES]


def dotted(name: str) -> str:
    """The module of a file, as the report names it."""
    return "t.unit." + name.replace("/", ".")


def left_out(checkout: Path) -> int:
    """How many test functions are in the other files."""
    unit = checkout / "t" / "unit"
    others = [path for path in unit.rglob("test_*.py") if str(path.relative_to(unit).with_suffix("")) not in FILES]
    return sum(len(re.findall(r"^\s+(?:async )?def test_", path.read_text("utf-8"), re.MULTILINE)) for path in others)


def version_of(checkout: Path) -> str:
    """The version that the checkout says it is."""
    found = re.search(r"__version__ = '([^']+)'", (checkout / "celery" / "__init__.py").read_text("utf-8"))
    assert found is not None
    return found.group(1)


if __name__ == "__main__":
    sys.exit(main())
