"""Facts as metrics: names, kinds, labels and numbers, in liteq's vocabulary and in those of others."""

from __future__ import annotations

from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from liteq.metrics import families
from liteq.metrics.facts import Facts, LimitFacts, QueueFacts, Sum, WorkerFacts
from liteq.metrics.names import CELERY, FLOWER, LITEQ, Metric, series

BOUNDS = (0.1, 1.0)
SUMS = (
    Sum("shop.mail", "mail", "sent", "", 12),
    Sum("shop.mail", "mail", "succeeded", "", 7, 3.5, 1.4, (4, 2, 1), (7, 0, 0)),
    Sum("shop.mail", "mail", "failed", "OSError", 2, 0.1, 0.2, (2, 0, 0), (2, 0, 0)),
    Sum("shop.mail", "mail", "retried", "OSError", 1, 0.1, 0.1, (1, 0, 0), (1, 0, 0)),
    Sum("shop.mail", "mail", "expired", "", 1),
    Sum("shop.mail", "mail", "rejected", "", 1),
)
FACTS = Facts(
    bounds=BOUNDS,
    sums=SUMS,
    queues=[QueueFacts("mail", 3, 1, 4.5, paused=True, slots=8, workers=2)],
    states={"pending": 3, "dead": 2},
    capped=["liteq_messages"],
    workers=[WorkerFacts("celery", True, 1, 4, 2.0), WorkerFacts("celery", False, 0, 4, 90.0)],
    child_exits={("celery", "crash"): 2},
    schedules={"nightly": 61.0},
    runs={("order", "stuck"): 1},
    steps={("order", "succeeded"): 5},
    memo={"hit": 3},
    leases_lost=1,
    reaped=2,
    write_waits=Sum("", "", "write_wait", "", 2, 0.0, 0.3, (), (1, 1, 0)),
    sizes={"file": 4096, "wal": 0, "free": 0, "disk_free": 10**9},
    warnings=2,
    versions=("1.0", "3.54.1", "apsw 3.54.1.0"),
    limits=[LimitFacts("user:*", 2, 7, 1, 12.0, paused=False), LimitFacts("api", 0, 3, None, 1.0, paused=True)],
)  # fmt: skip


class Fixed:
    def __init__(self, facts: Facts, *vocabularies: str) -> None:
        self.facts, self.vocabularies = facts, vocabularies

    def collect(self):
        yield from families.liteq(self.facts)
        for name in self.vocabularies:
            yield from families.VOCABULARIES[name](self.facts)


def told(facts: Facts = FACTS, *vocabularies: str) -> dict[str, dict[tuple, float]]:
    """Every sample of the text format, by name and labels."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fixed(facts, *vocabularies))
    found: dict[str, dict[tuple, float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


ALL = told(FACTS, "celery", "flower")


@pytest.mark.parametrize("metric", [*LITEQ, *CELERY, *FLOWER], ids=lambda one: one.name)
def test_each_name_of_the_table_is_told_with_its_labels(metric: Metric):
    for name in series(metric):
        labels = {tuple(label for label, _ in key if label != "le") for key in ALL[name]}
        assert labels == {tuple(sorted(metric.labels))}


def test_nothing_is_told_that_is_not_in_the_table():
    assert set(ALL) == {name for metric in (*LITEQ, *CELERY, *FLOWER) for name in series(metric)}


def test_other_vocabularies_are_told_on_request_alone():
    assert all(name.startswith("liteq_") for name in told())
    assert any(name.startswith("flower_") for name in told(FACTS, "flower"))
    assert not any(name.startswith("celery_") for name in told(FACTS, "flower"))


def labelled(name: str, /, **labels: str) -> float:
    return ALL[name][tuple(sorted(labels.items()))]


def test_outcomes_are_counted_and_what_was_sent_is_none():
    by_outcome = {dict(key)["outcome"]: n for key, n in ALL["liteq_tasks_total"].items()}
    assert by_outcome == {"succeeded": 7, "failed": 2, "retried": 1, "expired": 1, "rejected": 1}


def test_a_histogram_is_cumulative_and_ends_with_all():
    buckets = [
        labelled("liteq_task_run_seconds_bucket", task="shop.mail", queue="mail", le=le) for le in ("0.1", "1", "+Inf")
    ]
    assert buckets == [7, 9, 10]
    assert all(low <= high for low, high in pairwise(buckets))
    assert labelled("liteq_task_run_seconds_sum", task="shop.mail", queue="mail") == pytest.approx(3.7)
    assert labelled("liteq_task_run_seconds_count", task="shop.mail", queue="mail") == 10


def test_errors_are_told_by_exception_up_to_fifty_of_a_task():
    assert ALL["liteq_task_errors_total"] == {(("exception", "OSError"), ("task", "shop.mail")): 3}
    many = [Sum("t", "q", "failed", f"E{n:03}", 1) for n in range(60)]
    found = told(FACTS._replace(sums=many))["liteq_task_errors_total"]
    assert len(found) == 51
    assert found[("exception", "other"), ("task", "t")] == 10


def test_workers_of_one_name_are_one():
    assert labelled("liteq_worker_up", worker="celery") == 1
    assert labelled("liteq_worker_slots", worker="celery") == 8
    assert labelled("liteq_worker_heartbeat_age_seconds", worker="celery") == 90


def test_a_number_that_was_not_counted_to_its_end_says_so():
    assert labelled("liteq_count_capped", metric="liteq_messages") == 1
    assert labelled("liteq_count_capped", metric="liteq_queue_messages") == 0


def test_boards_of_celery_find_what_they_ask_for():
    task = {"name": "shop.mail", "queue_name": "mail", "hostname": ""}
    assert labelled("celery_task_sent_total", **task) == 12
    assert labelled("celery_task_started_total", **task) == 11
    assert labelled("celery_task_failed_total", **task, exception="OSError") == 2
    assert labelled("celery_task_revoked_total", **task) == 1
    assert labelled("celery_queue_length", queue_name="mail") == 3
    assert labelled("celery_worker_up", hostname="celery") == 1
    assert labelled("celery_active_process_count", queue_name="mail") == 8


def test_boards_of_flower_find_what_they_ask_for():
    events = {dict(key)["type"]: n for key, n in ALL["flower_events_total"].items()}
    assert events == {
        "task-sent": 12, "task-received": 12, "task-started": 11, "task-succeeded": 7, "task-failed": 2,
        "task-retried": 1, "task-revoked": 1, "task-rejected": 1,
    }  # fmt: skip
    assert labelled("flower_worker_online", worker="celery") == 1


def test_an_empty_file_is_told_too():
    empty = Facts(BOUNDS, [], [], {}, [], [], {}, {}, {}, {}, {}, 0, 0, Sum("", "", "", "", 0), {}, 0, ("1", "3", "a"))
    assert told(empty, "celery", "flower")["liteq_warnings"] == {(): 0}


def test_limits_of_the_code():
    key = (("key", "user:*"),)
    names = ("running", "held", "max", "head_wait_seconds", "paused")
    assert [ALL[f"liteq_limit_{name}"][key] for name in names] == [2, 7, 1, 12, 0]
    assert list(ALL["liteq_limit_max"]) == [key]
    assert ALL["liteq_limit_paused"][(("key", "api"),)] == 1
