"""docs/tutorial/django.md, followed word for word."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from .conftest import ROOT, wait

PAGE = ROOT / "docs" / "tutorial" / "django.md"

SESSION = """
import doctest, sys
import django
django.setup()
block = sys.argv[1]
example = doctest.DocTestParser().get_doctest(block, {}, "the tutorial", None, 0)
sys.exit(doctest.DocTestRunner().run(example).failed)
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_tutorial_works_as_it_is_written(site, tmp_path):
    settings, models, tasks, *session, of_tasks = blocks("python")
    assert all(">>>" in block for block in session)
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith(("django-admin ", "python manage.py "))]
    assert lines[-2:] == [". .venv/bin/activate", "python manage.py liteq worker -c 2"]
    env = {**site.env, "DJANGO_SETTINGS_MODULE": "proj.settings"}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *env["PYTHONPATH"].split(os.pathsep)[1:]])

    def run(command):
        words = command.split()
        program = {"python": [sys.executable], "django-admin": [sys.executable, "-m", "django"]}[words[0]]
        own = {k: v for k, v in env.items() if k != "DJANGO_SETTINGS_MODULE"} if words[0] == "django-admin" else env
        subprocess.run([*program, *words[1:]], cwd=tmp_path, env=own, check=True, capture_output=True, timeout=60)

    for command in commands[:2]:
        run(command)
    with (tmp_path / "proj" / "settings.py").open("a") as file:
        file.write(settings + of_tasks)
    (tmp_path / "shop" / "models.py").write_text(models)
    (tmp_path / "shop" / "tasks.py").write_text(tasks)
    for command in commands[2:4]:
        run(command)
    run("python manage.py check --fail-level ERROR")
    log = Path(tmp_path / "log")
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, *commands[4].split()[1:], "-l", "INFO"],
            cwd=tmp_path, env=env, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    site.started.append(worker)
    wait(lambda: "ready." in log.read_text() or worker.poll() is not None)
    # The worker runs from the start, so the state after sending may be any: the page says PENDING, without one.
    text = "".join(session).replace(">>> result.state\n'PENDING'\n", "")
    talk = subprocess.run(
        [sys.executable, "-c", SESSION, text], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert talk.returncode == 0, talk.stdout + talk.stderr + log.read_text()
    worker.send_signal(signal.SIGINT)
    assert worker.wait(timeout=60) == 0
