"""Global options stand before the command or after it, and mean the same."""

from __future__ import annotations

import pytest

from liteq._version import __version__
from liteq.cli.parts.exits import Exit

QUEUED = ("call", "shop.add", "-a", "[1, 2]")


@pytest.mark.parametrize(
    "command",
    [
        ("-A", "shop", *QUEUED),
        (*QUEUED, "-A", "shop"),
        (*QUEUED, "--app", "shop:app"),
        ("--app=shop.app", *QUEUED),
        ("-A", "shop", "-q", *QUEUED, "--no-color", "--skip-checks"),
    ],
)
def test_the_app_is_named_on_either_side(liteq, command):
    done = liteq(*command)
    assert (done.code, done.err) == (0, "")
    assert liteq("-A", "shop", "inspect", "queues", "--json").json == {"celery": {"pending": 1}}


def test_the_app_is_named_by_the_environment(liteq, monkeypatch):
    monkeypatch.setenv("LITEQ_APP", "shop")
    assert liteq(*QUEUED).code == 0


def test_json_and_broker_too(liteq):
    before = liteq("--json", "-b", "sqlite:///other.db", *QUEUED)
    after = liteq(*QUEUED, "--json", "-b", "sqlite:///other.db")
    assert before.json.keys() == after.json.keys() == {"id", "task"}


def test_the_brokers_url_of_the_command_line_wins(liteq, project):
    assert liteq("-A", "shop", *QUEUED, "-b", "sqlite:///mine.db").code == 0
    assert (project / "mine.db").exists()
    assert not (project / "shop.db").exists()


def test_a_module_of_settings(liteq, project):
    (project / "house.py").write_text("task_default_queue = 'parcels'\n")
    assert liteq("-A", "shop", "--config", "house", *QUEUED).code == 0
    assert liteq("-A", "shop", "inspect", "queues", "--json").json == {"parcels": {"pending": 1}}


def test_the_working_directory(liteq, project, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert liteq("--workdir", str(project), "-A", "shop", *QUEUED).code == 0
    assert (project / "shop.db").exists()


def test_what_celery_takes_and_liteq_does_not_need_is_accepted_and_said(liteq):
    done = liteq("-A", "shop", "--result-backend", "redis://", *QUEUED)
    assert done.code == 0
    assert "--result-backend has no effect" in done.err


def test_the_version(liteq):
    assert liteq("--version").out == f"{__version__}\n" == liteq("worker", "--version").out


def test_the_help_tells_the_exit_codes(liteq):
    told = {line.split()[0] for line in liteq("--help").out.splitlines() if line.strip()}
    assert {str(code.value) for code in Exit} <= told


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("graph",), "a worker's parts are not drawn"),
        (("wrker",), "unknown command 'wrker'; nearest: 'worker'"),
        (("dead", "shwo"), "unknown command 'shwo'; nearest: 'show'; commands: drop, list, requeue, show"),
        (("status", "--quite"), "'--quiet'"),
        (("-A", "shop", "inspect", "actve"), "unknown subject 'actve'; nearest: 'active', 'active_queues'; subjects: "),
        (
            ("-A", "shop", "inspect", "messages", "--state", "pendng"),
            "unknown state 'pendng'; nearest: 'pending'; states",
        ),
        (("-A", "shop", "control", "revok"), "unknown command 'revok'; nearest: 'revoke'; commands: "),
        (("-A", "shop", "call", "shop.ad"), "nearest: 'shop.add'"),
        (
            ("-A", "shop", "worker", "-P", "gevent"),
            "pools: prefork, processes, asyncio, threads, solo; for tasks that wait, use",
        ),
        (("-A", "shop", "worker", "-P", "thread"), "unknown pool 'thread'; nearest: 'threads'"),
        (("-A", "shop", "worker", "-l", "loud"), "unknown level 'loud'; levels: debug, info"),
        (("-A", "shop", "worker", "-X", "celery"), "no queue is left"),
    ],
)
def test_what_there_is_not_is_one_line_and_code_2(liteq, command, says):
    done = liteq(*command)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert says in done.err
