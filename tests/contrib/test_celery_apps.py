"""Two Celery applications that know nothing of liteq, run as they are: a worker of `liteq`, and a client beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

APPS = Path(__file__).resolve().parent / "celery_apps"


def python(*args, folder, env, **how):
    return subprocess.Popen([sys.executable, "-W", "error", "-m", *args], cwd=folder, env=env, **how)


def run_beside_a_worker(name, tmp_path, *worker_options):
    """Start the application's worker; what its client prints, and the worker's log. The worker has ended by then."""
    broker = f"sqlite:///{tmp_path}/queue.db"
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("LITEQ_", "CELERY_"))},
        "LITEQ_CELERY_SHIM": "1",
        "LITEQ_BROKER_URL": broker,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SHOP_DATA_FILE": str(tmp_path / "journal"),
        "SHOP_REQUEST_ID": "request-1",
    }
    folder, log = APPS / name, tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = python(
            "liteq", *worker_options, "--loglevel=INFO", folder=folder, env=env, stdout=output, stderr=output
        )
    try:
        client = python("liteq_celery", "client.py", folder=folder, env=env, stdout=subprocess.PIPE)
        printed, _ = client.communicate(timeout=40)
        assert client.returncode == 0, log.read_text()
        wait_for_beat(tmp_path / "journal")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0, log.read_text()
    finally:
        worker.kill()
        worker.wait()
    return json.loads(printed), log.read_text()


def wait_for_beat(journal):
    """A process that started late has sent nothing yet."""
    give_up = time.monotonic() + 60
    while journal.exists() and not {"count_open", "flush_outbox"} <= {fact["event"] for fact in read(journal)}:
        assert time.monotonic() < give_up, "beat sent nothing"
        time.sleep(0.01)


def read(journal):
    return [json.loads(line) for line in journal.read_text().splitlines()]


class Shop:
    def __init__(self, folder):
        self.seen, self.log = run_beside_a_worker("shop", folder, "-A", "proj", "worker", "-B", "-c", "2")
        self.facts = read(folder / "journal")

    def notes(self, event, **facts):
        return [f for f in self.facts if f["event"] == event and facts.items() <= f.items()]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def flaskish(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flaskish")
    seen, _ = run_beside_a_worker("flaskish", folder, "-A", "make_celery", "worker", "-c", "2")
    return seen


# -- the shop --------------------------------------------------------------------------------------------------------


def test_the_app_of_the_project_is_the_current_one(shop):
    assert shop.seen["same app"]


def test_tasks_of_autodiscovered_modules_are_registered(shop):
    assert {"mail.tasks.alert", "orders.tasks.charge", "proj.celery.debug_task"} <= set(shop.seen["registered"])


def test_a_bound_task_retries_itself_until_it_succeeds(shop):
    assert shop.seen["charged"] == {"order": "7", "amount": "19.90", "attempts": "3"}


def test_a_bound_task_that_has_no_retries_left_fails_with_its_own_exception_and_its_errback_hears_of_it(shop):
    assert shop.seen["refused"] == ["GatewayTimeout", "attempt 3"]
    (settled,) = shop.notes("settled")
    assert settled["failed"] == shop.seen["refused id"]
    assert "GatewayTimeout" in settled["error"]


def test_autoretry_for(shop):
    assert shop.seen["reserved"] == [[9, "a"]]


def test_a_chain_whose_middle_replaces_itself_by_a_chord(shop):
    assert shop.seen["placed"] == {
        "order": 10, "parcels": ["10:shoe", "10:sock"], "to": "customer@example.org", "queue": "mail",
    }  # fmt: skip


def test_a_failed_member_fails_the_chord_and_the_body_s_errback_is_called(shop):
    assert "broken cannot be packed" in shop.seen["chord error"]
    (alert,) = shop.notes("alert")
    assert alert["failed"] == shop.seen["packed id"]


def test_a_header_added_before_publishing_is_in_the_request(shop):
    assert shop.seen["who"]["request_id"] == "request-1"
    assert shop.seen["who"]["id"] == shop.seen["who id"]


def test_routes_and_explicit_queues(shop):
    assert shop.seen["who"]["queue"] == "default"
    assert shop.seen["sent"]["queue"] == "mail"


def test_ignore_leaves_the_task_s_own_state(shop):
    assert shop.seen["skipped"] == ["SKIPPED", {"why": "nothing to do"}]


def test_a_soft_time_limit_is_raised_in_the_task(shop):
    assert shop.seen["slow"] == "stopped in time"


def test_a_result_is_looked_up_by_its_id_in_a_process_that_knows_no_more(shop):
    found = shop.seen["by id"]
    assert found == {"state": "SUCCESS", "name": "orders.tasks.charge", "args": [7, "19.90"], "ready": True}
    assert shop.seen["unknown"] == ["PENDING", "TimeoutError"]


def test_apply_and_calling(shop):
    assert (shop.seen["eager"], shop.seen["called"]) == ("1:pen", "2:ink")


def test_ping(shop):
    assert shop.seen["ping"] == [{"ok": "pong"}]


def test_beat_in_the_worker_sends_what_the_settings_and_on_after_configure_say(shop):
    assert {"count what is open", "flush the outbox", "report every night"} <= set(shop.seen["beat"])
    assert shop.notes("count_open", origin="by beat")
    assert shop.notes("flush_outbox", origin="added")
    assert not shop.notes("report")


def test_signals_of_the_worker(shop):
    assert len(shop.notes("worker_ready")) == 1
    assert len({note["pid"] for note in shop.notes("process_init")}) >= 2
    assert shop.notes("logging")


def test_signals_and_hooks_of_a_failure(shop):
    (signalled,) = shop.notes("task_failure", task="orders.tasks.pack")
    assert signalled["traced"]
    assert shop.notes("on_failure", task="orders.tasks.pack", error="broken cannot be packed")
    assert shop.notes("after_return", task="orders.tasks.invoice", status="SUCCESS")


def test_a_task_s_logger_names_the_task(shop):
    assert "orders.tasks.charge[" in shop.log
    assert "order 7: attempt 0" in shop.log


# -- the application factory -----------------------------------------------------------------------------------------


def test_a_task_class_of_the_factory_pushes_the_application_s_context(flaskish):
    assert flaskish["greeted"] == {"ready": True, "successful": True, "value": "hello world"}
    assert flaskish["task class"] == "FlaskTask"


def test_ignored_results_are_not_kept(flaskish):
    assert flaskish["forgotten"] == [None, None]


def test_an_error_is_the_info_of_a_failed_task(flaskish):
    status, result = flaskish["divided"]
    assert status == {"state": "FAILURE", "status": "division by zero"}
    assert result == {"ready": True, "successful": False, "value": None}


def test_progress_is_seen_while_it_runs(flaskish):
    assert flaskish["progress"] == [
        {"state": "PROGRESS", "current": 1, "total": 2, "status": "halfway"},
        {"state": "SUCCESS", "current": 2, "total": 2, "status": "done"},
    ]


def test_revoke_ends_what_runs_and_what_waits(flaskish):
    assert (flaskish["revoked"], flaskish["revoked in time"]) == ("REVOKED", "REVOKED")


def test_an_abortable_task_notices_that_it_is_to_end(flaskish):
    assert flaskish["aborted"] == "aborted"
