"""The guide's chapter on routing."""

from __future__ import annotations

import re

import pytest

from liteq import Celery, Exchange, Queue
from liteq.exceptions import QueueNotFound
from liteq.routing.queues import binding


def queue_of(app, name, **options):
    return app.publisher.message(name, (), {}, options, message_id="1").queue


@pytest.fixture
def app():
    app = Celery("routing", broker="sqlite:///never.db", set_as_current=False)
    for name in ("feed.tasks.import_feed", "web.tasks.view", "video.compress"):
        app.task(name=name)(lambda: None)
    return app


@pytest.mark.celery("Routing", "The default queue is `celery`; `task_default_queue` changes it")
def test_default_queue(app):
    assert queue_of(app, "web.tasks.view") == "celery"
    app.conf.task_default_queue = "default"
    assert queue_of(app, "web.tasks.view") == "default"


@pytest.mark.celery("Routing", "`task_routes` as a dict of names")
def test_routes(app):
    app.conf.task_routes = {"feed.tasks.import_feed": {"queue": "feeds"}}
    assert queue_of(app, "feed.tasks.import_feed") == "feeds"
    assert queue_of(app, "web.tasks.view") == "celery"


@pytest.mark.celery("Routing", "`task_routes` with globs and regular expressions")
def test_patterns(app):
    app.conf.task_routes = {"feed.tasks.*": {"queue": "feeds"}, re.compile(r"(video|image)\..*"): {"queue": "media"}}
    assert queue_of(app, "feed.tasks.import_feed") == "feeds"
    assert queue_of(app, "video.compress") == "media"


@pytest.mark.celery("Routing", "`task_routes` as a list of pairs: the first that matches counts")
def test_ordered(app):
    app.conf.task_routes = (
        [("feed.tasks.*", {"queue": "feeds"}), ("web.*", {"queue": "web"}), ("*", {"queue": "rest"})],
    )
    assert [queue_of(app, n) for n in ("feed.tasks.import_feed", "web.tasks.view", "video.compress")] == [
        "feeds", "web", "rest",
    ]  # fmt: skip


def test_a_list_of_two_pairs_is_no_pair(app):
    app.conf.task_routes = ([("feed.tasks.*", {"queue": "feeds"}), (re.compile("web"), {"queue": "web"})],)
    assert queue_of(app, "feed.tasks.import_feed") == "feeds"
    assert queue_of(app, "web.tasks.view") == "web"


@pytest.mark.celery("Routing", "A route may be the queue's name alone")
def test_string_route(app):
    app.conf.task_routes = {"feed.tasks.import_feed": "feeds"}
    assert queue_of(app, "feed.tasks.import_feed") == "feeds"


@pytest.mark.celery("Routing", "A router is a function of name, args, kwargs, options, task; None passes on")
def test_function(app):
    def route_task(name, args, kwargs, options, task=None, **kw):
        if name.startswith("feed"):
            return {"queue": "feeds", "priority": 5}
        return None

    app.conf.task_routes = (route_task, {"web.*": {"queue": "web"}})
    message = app.publisher.message("feed.tasks.import_feed", (), {}, {}, message_id="1")
    assert (message.queue, message.priority) == ("feeds", 5)
    assert queue_of(app, "web.tasks.view") == "web"


@pytest.mark.celery("Routing", "A router by its path, and a class with `route_for_task`")
def test_router_class(app):
    class Router:
        def route_for_task(self, task, *args, **kwargs):
            return {"queue": "video"} if task == "video.compress" else None

    app.conf.task_routes = (Router(),)
    assert queue_of(app, "video.compress") == "video"


@pytest.mark.celery("Routing", "What the call says goes before the task's attribute, that before the route")
def test_precedence(app):
    app.task(name="with.queue", queue="own")(lambda: None)
    app.conf.task_routes = {"feed.tasks.import_feed": {"queue": "feeds"}}
    assert queue_of(app, "feed.tasks.import_feed", queue="now") == "now"
    assert queue_of(app, "with.queue") == "own"
    assert queue_of(app, "with.queue", queue="now") == "now"


@pytest.mark.parametrize("inherits", [False, True])
def test_a_task_s_own_queue_goes_before_a_function_s(app, inherits):
    app.task(name="with.queue", queue="own")(lambda: None)
    app.task(name="with.priority", priority=3)(lambda: None)
    app.conf.update(
        task_routes=lambda *_, **__: {"queue": "routed", "priority": 7}, task_inherit_parent_priority=inherits
    )
    assert queue_of(app, "with.queue") == "own"
    message = app.publisher.message("with.priority", (), {}, {}, message_id="1")
    assert (message.queue, message.priority) == ("routed", 3)


@pytest.mark.celery("Routing", "`task_queues` of Queue and Exchange; a worker without -Q takes from them all")
def test_task_queues(app):
    app.conf.task_queues = (
        Queue("default", Exchange("default"), routing_key="default"),
        Queue("videos", Exchange("media"), routing_key="media.video"),
    )
    assert app.default_queues() == ["default", "videos"]
    assert queue_of(app, "video.compress", exchange="media", routing_key="media.video") == "videos"


@pytest.mark.celery("Routing", "`queue=` may be a Queue")
def test_queue_object(app):
    assert queue_of(app, "video.compress", queue=Queue("images")) == "images"


@pytest.mark.celery("Routing", "A queue with several bindings can be declared")
def test_bindings():
    media = Exchange("media", type="direct")
    queue = Queue("media", [binding(media, routing_key="media.video"), binding(media, routing_key="media.image")])
    assert queue.name == "media"


@pytest.mark.celery("Routing", "`app.amqp.queues` names the queues")
def test_amqp_queues(app):
    app.conf.task_queues = (Queue("a"), Queue("b"))
    assert {"a", "b"} <= set(app.amqp.queues)


@pytest.mark.celery("Routing", "`task_create_missing_queues=False`: QueueNotFound for others")
def test_missing_queue(app):
    app.conf.update(task_queues=[Queue("a")], task_default_queue="a", task_create_missing_queues=False)
    with pytest.raises(QueueNotFound):
        queue_of(app, "video.compress", queue="b")


@pytest.mark.celery("Routing", "Priorities: the higher goes first",
                    differs="as with RabbitMQ; with Redis 0 goes first")  # fmt: skip
def test_priorities(fresh):
    from liteq.testing import drain

    ran = []
    note = fresh.task(name="routing.note")(ran.append)
    for priority in (0, 9, 5):
        note.apply_async((priority,), priority=priority)
    drain(fresh)
    assert ran == [9, 5, 0]


@pytest.mark.celery("Routing", "`task_default_priority` and `priority` in a route")
def test_default_priority(app):
    app.conf.update(task_default_priority=3, task_routes={"video.*": {"priority": 8}})
    found = [
        app.publisher.message(n, (), {}, {}, message_id="1").priority for n in ("web.tasks.view", "video.compress")
    ]
    assert found == [3, 8]


@pytest.mark.celery("Routing", "`task_inherit_parent_priority`: what a task sends has its priority")
def test_inherit(fresh):
    from liteq.testing import drain

    fresh.conf.task_inherit_parent_priority = True
    child = fresh.task(name="routing.child", bind=True)(lambda self: self.request.delivery_info["priority"])
    parent = fresh.task(name="routing.parent")(lambda: child.delay().id)
    sent = parent.apply_async(priority=6)
    drain(fresh)
    assert fresh.AsyncResult(sent.get()).get() == 6
