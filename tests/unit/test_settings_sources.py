"""Files, the environment, the command line: which one wins, and what is said when one is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from liteq.exceptions import ImproperlyConfigured
from liteq.settings import Conf, Source
from liteq.settings.sources import load

ENV = "LITEQ_MAX_CRASHES"


def write(folder, **files):
    for name, text in files.items():
        (folder / {"ini": "liteq.ini", "toml": "pyproject.toml", "py": "liteq_config.py"}[name]).write_text(text)


def test_nothing_is_found_where_nothing_is_set(tmp_path):
    write(tmp_path, toml="[project]\nname = 'x'\n")
    assert load(environ={"PATH": "/bin"}, directory=tmp_path) == {}


def test_sources_by_rising_priority(tmp_path):
    conf = Conf({"max_crashes": 4})
    environ: dict[str, str] = {}
    overrides: dict[str, int] = {}

    def now():
        fresh = Conf()
        found = load(overrides, environ=environ, directory=tmp_path)
        fresh.apply_given(found)
        fresh.max_reaps = 4  # the app's code
        return fresh.given("max_crashes")[:2], fresh.max_reaps

    assert conf.max_crashes == 4
    write(tmp_path, ini="[liteq]\nmax_crashes = 11\nmax_reaps = 11\n")
    assert now() == ((11, Source.FILE), 4)
    write(tmp_path, toml="[tool.liteq]\nmax_crashes = 12\n")
    assert now() == ((12, Source.FILE), 4)
    write(tmp_path, py="import os\nmax_crashes = 13\n")
    assert now() == ((13, Source.MODULE), 4)
    environ.update(LITEQ_MAX_CRASHES="14", LITEQ_MAX_REAPS="14")
    assert now() == ((14, Source.ENVIRONMENT), 14)
    overrides["max_crashes"] = 15
    assert now() == ((15, Source.COMMAND_LINE), 14)


def test_each_value_tells_where_it_came_from(tmp_path):
    write(tmp_path, ini="[liteq]\nmax_reaps = 11\n", py="durability = 'strict'\nmine = 1\n")
    found = load({"worker_concurrency": 2, "worker_pool": None}, environ={ENV: "5"}, directory=tmp_path)
    assert {name: given.origin for name, given in found.items()} == {
        "max_reaps": "liteq.ini",
        "durability": "liteq_config.py",
        "mine": "liteq_config.py",
        "max_crashes": "LITEQ_MAX_CRASHES",
        "worker_concurrency": "the command line",
    }


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ('{"a.b": {"queue": "q"}}', "task_routes", {"a.b": {"queue": "q"}}),
        ("a, b", "imports", ("a", "b")),
        ("mail", "task_queues", ("mail",)),
        ('{"mail": {"routing_key": "m"}}', "task_queues", {"mail": {"routing_key": "m"}}),
        ('["a"]', "imports", ["a"]),
        ("none", "result_expires", None),
        ("3600", "result_expires", 3600.0),
        ("off", "task_acks_late", False),
        ("10/m", "task_default_rate_limit", "10/m"),
        ("sqlite:///tasks.db", "broker_url", "sqlite:///tasks.db"),
        ("%(message)s", "worker_log_format", "%(message)s"),
    ],
)
def test_text_is_read_as_its_setting_wants_it(tmp_path, text, name, value):
    assert load(environ={f"LITEQ_{name.upper()}": text}, directory=tmp_path)[name].value == value
    write(tmp_path, ini=f"[liteq]\n{name} = {text}\n")
    assert load(environ={}, directory=tmp_path)[name].value == value


def test_an_empty_variable_is_not_set(tmp_path):
    assert load(environ={ENV: "", "LITEQ_BROKER_URL": " "}, directory=tmp_path) == {}


def test_variables_that_are_no_settings_are_left_alone(tmp_path):
    environ = {
        "LITEQ_APP": "proj",
        "LITEQ_CONFIG": "c",
        "LITEQ_CELERY_SHIM": "1",
        "LITEQ_TEST_X": "1",
        "LITEQX": "1",
    }
    assert load(environ=environ, directory=tmp_path) == {}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"LITEQ_DURABILTY": "x"}, "there is no setting LITEQ_DURABILTY; did you mean LITEQ_DURABILITY?"),
        ({"LITEQ_DURABILITY": "x"}, "LITEQ_DURABILITY: the setting durability = 'x' is not allowed"),
        ({ENV: "x"}, "LITEQ_MAX_CRASHES: the setting max_crashes = 'x' is not allowed: it takes a whole number from 1"),
        ({"LITEQ_BEAT_SCHEDULE": "{x"}, "beat_schedule = '{x' is not JSON"),
    ],
)
def test_a_wrong_variable_is_one_clear_line(tmp_path, environ, message):
    with pytest.raises(ImproperlyConfigured) as caught:
        load(environ=environ, directory=tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"toml": "[tool.liteq]\nmax_crash = 1\n"},
            "pyproject.toml: there is no setting max_crash; did you mean max_crashes",
        ),
        ({"toml": "[tool.liteq]\nmax_crashes = 'x'\n"}, "pyproject.toml: the setting max_crashes = 'x'"),
        ({"toml": "[tool.liteq\n"}, "pyproject.toml cannot be read"),
        ({"toml": "[tool]\nliteq = 3\n"}, "tool.liteq is not a table"),
        ({"ini": "max_crashes = 1\n"}, "liteq.ini cannot be read"),
        ({"ini": "[liteq]\nmax_crash = 1\n"}, "liteq.ini: there is no setting max_crash"),
        ({"py": "max_crashes = 0\n"}, "liteq_config.py: the setting max_crashes = 0"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, files, message):
    write(tmp_path, **files)
    with pytest.raises(ImproperlyConfigured) as caught:
        load(environ={}, directory=tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_working_directory_that_cannot_be_entered_is_one_clear_line(tmp_path, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", closed)
    with pytest.raises(ImproperlyConfigured, match=r"liteq\.ini cannot be looked for \(Permission denied\): this user"):
        load(environ={}, directory=tmp_path)


def test_text_that_is_wanted_as_text_is_read_without_pydantic():
    program = (
        "import sys; from liteq.settings.sources import load;"
        "found = load(environ={'LITEQ_BROKER_URL': 'sqlite:///x.db', 'LITEQ_DURABILITY': 'relaxed'});"
        "print(found['durability'].value, found['broker_url'].value, 'pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["relaxed", "sqlite:///x.db", "False"]
