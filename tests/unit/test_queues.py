"""Stand-ins for kombu's queues, and Celery's names in the environment."""

from __future__ import annotations

import pytest

from liteq import Exchange, LiteQ, Queue, binding
from liteq.settings import sources


def test_queues_are_declared_as_for_celery():
    queue = Queue(
        "reports", Exchange("media", type="topic"), routing_key="media.#", queue_arguments={"x-max-priority": 9}
    )
    assert (queue.name, queue.exchange.name, queue.exchange.type, queue.routing_key) == (
        "reports",
        "media",
        "topic",
        "media.#",
    )
    assert queue == Queue("reports", Exchange("media", type="topic"), "media.#", queue_arguments={"x-max-priority": 9})
    assert queue != Queue("reports")
    assert len({queue, Queue("reports")}) == 2
    assert Queue("plain").routing_key == "plain"
    assert Queue("q", bindings=[binding(Exchange("e"), "k")]).bindings == {binding(Exchange("e"), "k")}
    assert Queue.from_dict("q", exchange="e", routing_key="k").exchange.name == "e"


def test_a_routing_key_leads_to_the_queue_that_was_declared_with_it(tmp_path):
    app = LiteQ("q", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    app.conf.task_queues = (Queue("high", Exchange("high"), routing_key="high"), Queue("low", routing_key="slow"))

    @app.task
    def noop(): ...

    assert noop.apply_async(routing_key="slow").queue == "low"
    assert noop.apply_async(queue=Queue("high")).queue == "high"
    assert app.default_queues() == ["high", "low"]
    app.close()


@pytest.mark.parametrize(
    ("url", "taken"),
    [("sqlite:///env.db", True), ("liteq:////srv/q.db", True), ("redis://localhost/0", False), ("", False)],
)
def test_celery_s_broker_variable(url, taken):
    found = sources.load(environ={"CELERY_BROKER_URL": url})
    assert ("broker_url" in found) is taken


def test_liteq_s_own_variable_comes_first():
    environ = {"CELERY_BROKER_URL": "sqlite:///one.db", "LITEQ_BROKER_URL": "sqlite:///two.db"}
    assert sources.load(environ=environ)["broker_url"].value == "sqlite:///two.db"
