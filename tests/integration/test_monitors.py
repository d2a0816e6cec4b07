"""Answers that monitors and health checks read: lengths of queues, answers of inspect, names of workers, and routes."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from liteq import Exchange, LiteQ, Queue, binding, signals
from liteq.exceptions import QueueNotFound
from liteq.testing import start_worker

VIDEO = Exchange("video", type="topic")
QUEUES = (
    Queue("default", Exchange("default"), routing_key="default"),
    Queue("encoding", VIDEO, routing_key="video.encode.#", max_priority=5),
    Queue("rest", VIDEO, routing_key="video.*"),
    Queue("bound", [binding(Exchange("media"), "a"), binding(Exchange("media"), "b")]),
)


@pytest.fixture
def app(tmp_path):
    app = LiteQ("app", broker=f"sqlite:///{tmp_path}/q.db", durability="relaxed", set_as_current=False)
    app.conf.update(task_queues=QUEUES, task_default_queue="default")
    app.task(name="noop")(lambda *_args: None)
    yield app
    app.close()


@pytest.fixture
def noop(app):
    return app.tasks["noop"]


# -- where a call goes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routing_key", "queue"),
    [
        ("video.encode.mp4.hd", "encoding"),
        ("video.encode", "encoding"),
        ("video.cut", "rest"),
        ("a", "bound"),
        ("b", "bound"),
        ("video.cut.twice", "video.cut.twice"),
    ],
)
def test_a_routing_key_leads_to_a_queue_by_the_rules_of_its_exchange(noop, routing_key, queue):
    assert noop.apply_async(routing_key=routing_key).queue == queue


def test_the_exchange_decides_between_queues(noop):
    noop.app.conf.task_queues = (Queue("one", Exchange("x"), "key"), Queue("two", Exchange("y"), "key"))
    assert noop.apply_async(exchange="y", routing_key="key").queue == "two"
    assert noop.apply_async(exchange=Exchange("y"), routing_key="key").queue == "two"
    assert noop.apply_async(routing_key="key").queue == "one"


def test_queues_declared_as_a_dict_have_routing_keys_too(noop):
    noop.app.conf.task_queues = {"cpu": {"exchange": "cpu", "binding_key": "heavy"}, "io": {"exchange": "io"}}
    assert noop.apply_async(routing_key="heavy").queue == "cpu"


def test_the_router_can_be_asked(app):
    app.conf.task_routes = {"video.*": {"queue": "encoding", "priority": 3}, "keyed": {"routing_key": "k"}}
    route = app.amqp.router.route
    assert route({}, "video.encode") == {"queue": QUEUES[1], "priority": 3}
    assert route({"queue": "new"}, "video.encode")["queue"].name == "new"
    assert route({}, "noop")["queue"].name == "default"
    assert route(None, "keyed") == {"routing_key": "k"}
    app.conf.task_create_missing_queues = False
    with pytest.raises(QueueNotFound):
        route({"queue": "new"}, "video.encode")


def test_which_queues_a_worker_takes_from_can_be_chosen(app):
    queues = app.amqp.queues
    assert list(queues.consume_from) == ["default", "encoding", "rest", "bound"]
    queues.select(["default", "undeclared"])
    queues.select_add("own", exchange="own")
    queues.deselect("default")
    assert list(queues.consume_from) == ["undeclared", "own"]
    assert app.default_queues() == ["undeclared", "own"]


def test_a_receiver_of_celeryd_after_setup_adds_a_queue(tmp_path):
    (tmp_path / "direct.py").write_text(
        "from liteq import LiteQ\n"
        "from liteq.signals import celeryd_after_setup, worker_ready\n"
        "app = LiteQ('direct', broker='sqlite:///direct.db')\n"
        "@celeryd_after_setup.connect\n"
        "def setup_direct_queue(sender, instance, **kwargs):\n"
        "    instance.app.amqp.queues.select_add(sender + '.dq')\n"
        "@worker_ready.connect\n"
        "def stop(sender, **kwargs):\n"
        "    print('takes from', sender.queues)\n"
        "    sender.stop()\n"
    )
    command = [
        sys.executable,
        "-m",
        "liteq",
        "-A",
        "direct",
        "worker",
        "--without-tasks",
        "-P",
        "solo",
        "-n",
        "one@host",
        "-Q",
        "mail",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert "takes from ['mail', 'one@host.dq']" in run.stdout + run.stderr


# -- what is asked over a connection ---------------------------------------------------------------------------------


def test_the_length_of_a_queue(app, noop):
    for _ in range(3):
        noop.delay()
    noop.apply_async(countdown=60)
    with app.connection_or_acquire() as connection:
        assert connection.default_channel.queue_declare("default", passive=True) == ("default", 3, 0)
        assert connection.channel().queue_declare(queue="unheard-of").message_count == 0
        assert connection.default_channel.client.llen("default") == 3
        assert connection.SimpleQueue("default").qsize() == 3
    with app.pool.acquire(block=True) as connection, connection.channel() as channel:
        assert channel.queue_purge("default") == 4
        assert channel.client.ping() is True
    with app.producer_or_acquire() as producer:
        assert noop.apply_async(producer=producer).queue == "default"
    declared = Queue("default")
    with app.connection_for_write() as connection:
        bound = declared.bind(connection)
        assert bound == declared
        assert bound.purge() == 1
        assert Queue("default", channel=connection.default_channel).purge() == 0
    with pytest.raises(RuntimeError, match=r"bound to no connection: app.control.purge"):
        declared.purge()


# -- what inspect answers --------------------------------------------------------------------------------------------


@pytest.fixture
def asked(app):
    with start_worker(app, pool="threads", hostname="one@host") as worker:
        yield app.control.inspect(worker.hostname, timeout=60)


def test_inspect_describes_queues_as_they_were_declared(asked):
    found = {queue["name"]: queue for queue in asked.active_queues()}
    assert found["encoding"]["exchange"]["type"] == "topic"
    assert (found["encoding"]["routing_key"], found["encoding"]["max_priority"]) == ("video.encode.#", 5)
    assert [one["routing_key"] for one in found["bound"]["bindings"]]
    assert [queue["name"] for queue in asked.conf()["task_queues"]] == ["default", "encoding", "rest", "bound"]


def test_inspect_finds_what_is_scheduled(asked, noop):
    sent = noop.apply_async((1,), countdown=60)
    state, request = asked.query_task(sent.id)[sent.id]
    assert state == "scheduled"
    assert request == asked.scheduled()[0]["request"]
    assert request.keys() >= {"id", "name", "args", "acknowledged", "time_start", "worker_pid", "hostname"}
    assert request["delivery_info"] == {"exchange": "", "routing_key": "default", "priority": 0, "redelivered": False}


def test_inspect_tells_of_the_broker_and_the_pool(asked):
    stats = asked.stats()
    assert stats["broker"].keys() >= {"hostname", "port", "transport", "userid", "virtual_host", "ssl"}
    assert "password" not in stats["broker"]
    assert stats["pool"]["timeouts"] == [0, 0]


def test_a_worker_without_a_name_answers_to_celery_s_name_too(app):
    host = socket.gethostname()
    with start_worker(app):
        assert app.control.ping([f"celery@{host}"], timeout=60) == [{f"liteq@{host}": {"ok": "pong"}}]
        assert app.control.inspect(f"celery@{host}", timeout=60).ping() == {"ok": "pong"}
        assert app.control.ping(["celery@elsewhere"]) == []


# -- what signals tell -----------------------------------------------------------------------------------------------


@pytest.fixture
def heard():
    """`heard(signals.task_received)`: a list that fills with what the signal brings."""
    connected = []

    def listen(signal):
        found = []

        def receive(**brings):
            found.append(brings)

        signal.connect(receive, weak=False)
        connected.append((signal, receive))
        return found

    yield listen
    for signal, receive in connected:
        signal.disconnect(receive)


def test_publishing_shows_the_arguments_as_text_and_hides_what_is_sensitive(app, noop, heard):
    @app.task(name="login", sensitive=("password",))
    def login(user, password): ...

    published = heard(signals.before_task_publish)
    noop.apply_async((1,), time_limit=5, ignore_result=True)
    login.delay("ann", password="secret")
    noop.apply_async((1,), argsrepr="(hidden)")
    first, second, third = [one["headers"] for one in published]
    assert (first["argsrepr"], first["kwargsrepr"], first["ignore_result"]) == ("(1,)", "{}", True)
    assert (second["argsrepr"], second["kwargsrepr"]) == ("('ann',)", "{'password': '***'}")
    assert third["argsrepr"] == "(hidden)"


def test_what_has_expired_is_told_as_revoked(app, noop, heard, eventually):
    revoked = heard(signals.task_revoked)
    sent = noop.apply_async(expires=-1)
    with start_worker(app):
        eventually(lambda: revoked)
    assert sent.state == "REVOKED"
    assert (revoked[0]["sender"].name, revoked[0]["request"].id, revoked[0]["expired"]) == ("noop", sent.id, True)


def test_what_is_revoked_before_a_worker_has_it_is_told_where_it_was_revoked(app, noop, heard):
    revoked = heard(signals.task_revoked)
    waits = noop.apply_async((1,), countdown=600)
    waits.revoke()
    app.control.revoke([waits.id, "to-come"])
    [told] = revoked
    request = told["request"]
    assert (told["sender"].name, request.id, request.args, request.task) == ("noop", waits.id, [1], "noop")
    assert (told["terminated"], told["signum"], told["expired"]) == (False, None, False)


def test_what_was_received_can_be_shown(app, noop, heard, eventually):
    received = heard(signals.task_received)
    sent = noop.delay(1)
    with start_worker(app) as worker:
        eventually(lambda: received)
    assert received[0]["sender"].hostname == worker.hostname
    info = received[0]["request"].info(safe=True)
    assert (info["id"], info["name"], info["args"], info["kwargs"]) == (sent.id, "noop", "(1,)", "{}")
