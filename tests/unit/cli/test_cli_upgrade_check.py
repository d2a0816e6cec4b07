"""`liteq upgrade-check`: a Celery project is read, not imported, and what would change is named with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from liteq.cli import main
from liteq.cli.compat.upgrade.facts import PACKAGES

APPS = Path(__file__).resolve().parents[2] / "contrib" / "celery_apps"


@pytest.fixture
def check(tmp_path):
    """Write files, check them; (exit code, findings as (file, line, severity, what))."""

    def check(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", ".").replace("_slash_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = CliRunner().invoke(main, ["--json", "upgrade-check", str(tmp_path)])
        found = json.loads(done.output)
        assert sum(found["counts"].values()) == len(found["findings"])
        return done.exit_code, [(f["file"], f["line"], f["severity"], f["what"]) for f in found["findings"]]

    return check


def whats(findings, severity):
    return [what for *_, found, what in findings if found == severity]


def test_an_ordinary_project_has_nothing_missing():
    done = CliRunner().invoke(main, ["--json", "upgrade-check", str(APPS)])
    found = json.loads(done.output)
    assert done.exit_code == 0, found["findings"]
    assert found["counts"]["missing"] == 0
    assert any(f["file"].endswith("settings.py") and "broker_url" in f["what"] for f in found["findings"])


def test_the_first_step_of_a_celery_project_is_to_keep_celery_on_a_file(tmp_path):
    (tmp_path / "tasks.py").write_text("from celery import shared_task\n")
    done = CliRunner().invoke(main, ["upgrade-check", str(tmp_path)])
    first = done.output.splitlines()[0]
    assert first.startswith("first step: keep Celery")
    assert "docs/howto/celery-transport.md" in first
    assert (Path(__file__).resolve().parents[3] / "docs" / "howto" / "celery-transport.md").exists()
    as_json = json.loads(CliRunner().invoke(main, ["--json", "upgrade-check", str(tmp_path)]).output)
    assert as_json["first_step"] in first


def test_a_project_without_celery_has_no_first_step(tmp_path):
    (tmp_path / "tasks.py").write_text("import celery_like\n")
    done = CliRunner().invoke(main, ["--json", "upgrade-check", str(tmp_path)])
    assert json.loads(done.output)["first_step"] is None


def test_nothing_is_imported(check, tmp_path):
    code, _ = check(tasks__py=f"open({str(tmp_path / 'ran')!r}, 'w')\nimport no_such_module\n")
    assert code == 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("from celery import Celery, shared_task, chord", None),
        ("from celery.schedules import crontab", None),
        ("from celery.utils.log import get_task_logger", None),
        ("from kombu import Queue, Exchange", None),
        ("from celery.app.task import Task", "note"),
        ("from celery.bootsteps import Blueprint", "missing"),
        ("from celery.bootsteps import ConsumerStep", "missing"),
        ("from kombu import Consumer", "missing"),
        ("import gevent", "missing"),
        ("import django_celery_beat.models", "differs"),
        ("from celery_batches import Batches", "differs"),
        ("from redbeat import RedBeatSchedulerEntry", "missing"),
        ("import pytest_celery", "missing"),
        ("from sentry_sdk.integrations.celery import CeleryIntegration", "note"),
        ("from sentry_sdk.integrations import celery", "note"),
        ("from sentry_sdk.integrations.django import DjangoIntegration", None),
        ("import sentry_sdk", None),
        ("from opentelemetry.instrumentation.celery import CeleryInstrumentor", "note"),
        ("from opentelemetry import trace", None),
        ("from elasticapm.contrib.celery import register_instrumentation", "note"),
        ("from asgi_correlation_id.extensions.celery import load_correlation_ids", "note"),
        ("from django_structlog.celery.steps import DjangoStructLogInitStep", "note"),
        ("import django_structlog.middlewares", None),
    ],
)
def test_imports(check, line, severity):
    code, findings = check(m__py=f"\n{line}\n")
    assert [(number, found) for _, number, found, _ in findings] == ([] if severity is None else [(2, severity)])
    assert code == (1 if severity == "missing" else 0)


def test_settings_wherever_they_stand(check):
    code, findings = check(
        a__py="CELERY_BROKER_URL = 'redis://x'\nCELERY_TASK_ACKS_LATE = True\nOTHER = 1\n",
        b__py="from celery import Celery\napp = Celery('x', broker='amqp://', backend='rpc://')\n"
        "app.conf.update(worker_pool='gevent', broker_pool_limit=3)\napp.conf.beat_scheduler = 'my.Scheduler'\n"
        "app.conf['result_cache_max'] = 1\napp.config_from_object({'task_serializer': 'pickle'})\n",
        c__py="class Config:\n    security_key = 'x'\n    CELERYD_STATE_DB = 'x'\n",
    )
    said = {(file, line): severity for file, line, severity, _ in findings}
    assert said[("a.py", 1)] == said[("a.py", 2)] == said[("b.py", 6)] == "differs"
    assert said[("b.py", 4)] == said[("c.py", 2)] == "missing"
    assert said[("b.py", 5)] == said[("c.py", 3)] == "note"
    assert "the setting worker_pool" in whats(findings, "missing")
    assert code == 1


def test_task_options_and_calls(check):
    _, findings = check(
        tasks__py="from celery import shared_task\n@shared_task(acks_late=False, priority=3, backend='x')\n"
        "def one(): ...\n\none.apply_async(priority=9, serializer='pickle')\n"
    )
    assert whats(findings, "missing") == ["backend= of one"]
    assert {"acks_late= of one", "priority= of one", "apply_async(priority=)", "apply_async(serializer=)"} == set(
        whats(findings, "differs")
    )


def test_parts_of_an_app_and_of_its_control(check):
    _, findings = check(
        m__py="from celery import Celery\napp = Celery('x', broker='sqlite:///x.db')\napp.fixups\napp.steps['worker'].add(1)\n"
        "app.control.election(1)\napp.control.inspect().memsample()\napp.control.ping()\n"
    )
    assert "app.fixups" in whats(findings, "missing")
    assert "app.steps" not in str(findings)
    assert "app.control" not in str(findings)


def test_flask_s_app_is_not_taken_for_celery_s(check):
    code, findings = check(
        m__py="from celery import Celery\nfrom flask import Flask\napp = Flask('x')\ncelery = Celery('y', broker="
        "'sqlite:///x.db')\napp.config['x'] = 1\n"
    )
    assert (code, findings) == (0, [])


@pytest.mark.parametrize(
    ("file", "text", "severity", "what"),
    [
        ("Procfile", "worker: celery -A proj worker -l INFO -c 4\n", "note", "celery worker"),
        ("Procfile", "web: gunicorn x\nflower: celery -A proj flower\n", "missing", "celery flower"),
        ("w.service", "[Service]\nExecStart=/env/bin/celery multi start w1 -A proj\n", "note", "celery multi"),
        ("Dockerfile", 'CMD ["celery", "-A", "proj", "worker", "-P", "gevent"]\n', "missing", "celery worker -P"),
        ("compose.yml", "x:\n  command: celery -A p beat --scheduler django_celery_beat.schedulers:X\n", "differs",
         "celery beat --scheduler"),
        ("Procfile", "worker: celery -A proj worker --purge -l INFO\n", "differs", "celery worker --purge"),
        ("run.sh", "exec celery \\\n  --app proj \\\n  worker --no-flag\n", "missing", "celery worker --no-flag"),
    ],
)  # fmt: skip
def test_command_lines(check, tmp_path, file, text, severity, what):
    (tmp_path / file).write_text(text)
    code, findings = check()
    assert (severity, what) in [(found, said) for _, _, found, said in findings]
    assert code == (1 if severity == "missing" else 0)


@pytest.mark.parametrize(
    ("line", "package", "severity"),
    [
        ("opentelemetry-instrumentation-celery==0.55b0", "opentelemetry-instrumentation-celery", "note"),
        ("celery-redbeat", "celery-redbeat", "missing"),
        ("celery_batches >= 0.9", "celery_batches", "differs"),
        ("pytest-celery[redis]~=1.1", "pytest-celery", "missing"),
        ("celery-exporter; python_version > '3'", "celery-exporter", "differs"),
        ("flower", "flower", "missing"),
    ],
)
def test_lists_of_requirements(check, tmp_path, line, package, severity):
    (tmp_path / "requirements-dev.txt").write_text(f"# what we use\ndjango==5\n{line}\n")
    (tmp_path / "pyproject.toml").write_text(f'[project]\ndependencies = [\n    "{line}",\n]\n')
    _, findings = check()
    assert sorted(findings) == [
        ("pyproject.toml", 3, severity, f"the package {package}"),
        ("requirements-dev.txt", 3, severity, f"the package {package}"),
    ]


def test_packages_that_pull_celery_in_are_said_to():
    for name in ("celery_exporter", "opentelemetry", "pytest_celery"):
        assert "--no-deps" in PACKAGES[name][1]


def test_words_that_only_look_like_a_command(check, tmp_path):
    (tmp_path / "notes.sh").write_text("# celery worker\npip install celery redis\necho mycelery worker\n")
    assert check() == (0, [])


def test_what_cannot_be_parsed_is_named(check):
    code, findings = check(old__py="print 'python 2'\n")
    assert code == 0
    assert [(file, severity) for file, _, severity, _ in findings] == [("old.py", "note")]


def test_what_is_nested_too_deeply_is_named_and_hides_no_other_file(check):
    code, findings = check(deep__py="x = 1" + " + 1" * 900, tasks__py="print 1\n")
    assert ("deep.py", 1, "note", "an expression") in findings
    assert any(file == "tasks.py" for file, *_ in findings), code


def test_for_people_it_is_a_line_each_with_file_and_line(tmp_path):
    (tmp_path / "m.py").write_text("from celery.bootsteps import Blueprint\n")
    done = CliRunner().invoke(main, ["upgrade-check", str(tmp_path)])
    assert done.exit_code == 1
    assert done.output.splitlines()[1].startswith("m.py:1: missing: from celery.bootsteps import Blueprint: ")
    assert "1 file read: 1 missing, 0 differs, 0 note" in done.output
