"""liteq_flask: settings from the app, its context around each task, `flask liteq`, the status blueprint."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from flask import Flask, current_app, g, has_app_context
from werkzeug.serving import make_server

from liteq import AsyncResult, shared_task
from liteq.context import get_current_app, swap_apps
from liteq.exceptions import ImproperlyConfigured
from liteq.testing import drain, eager, start_worker
from liteq_flask import Celery, LiteQ, status_blueprint

from ...servers import free_ports, program

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _no_app_of_another_test():
    before = swap_apps(None, None)
    yield
    swap_apps(*before)


@pytest.fixture
def flask_app(tmp_path) -> Flask:
    return Flask("shop", instance_path=str(tmp_path / "instance"))


@pytest.fixture
def queue(flask_app) -> LiteQ:
    with LiteQ(flask_app) as made:
        yield made


# -- settings --------------------------------------------------------------------------------------------------------


def test_without_a_word_the_queue_is_a_file_in_the_instance_folder(queue, flask_app):
    @queue.task(name="one")
    def one() -> int:
        return 1

    one.delay()
    assert (Path(flask_app.instance_path) / "liteq.db").exists()


@pytest.mark.parametrize("url", ["sqlite:///jobs.db", "sqlite+stdlib:///jobs.db", "liteq:///jobs.db"])
def test_a_relative_file_is_in_the_instance_folder_wherever_the_program_was_started(flask_app, url):
    flask_app.config["LITEQ"] = {"broker_url": url}
    with LiteQ(flask_app) as queue:
        queue.storage.reader.counts()
        assert (Path(flask_app.instance_path) / "jobs.db").exists()


def test_an_absolute_file_stays_where_it_is(flask_app, tmp_path):
    flask_app.config["LITEQ"] = {"broker_url": f"sqlite:///{tmp_path}/there.db"}
    assert LiteQ(flask_app).broker_url == f"sqlite:///{tmp_path}/there.db"


def test_settings_come_from_liteq_and_from_celery_and_liteq_wins(flask_app, tmp_path):
    flask_app.config["CELERY"] = {"broker_url": "redis://localhost", "task_time_limit": 5, "task_ignore_result": True}
    flask_app.config["LITEQ"] = {"BROKER_URL": "sqlite:///q.db", "task_time_limit": 7}
    conf = LiteQ(flask_app).conf
    assert (conf.task_time_limit, conf.task_ignore_result) == (7, True)
    assert conf.broker_url == f"sqlite:///{tmp_path}/instance/q.db"


def test_what_the_environment_says_outranks_the_app(flask_app, tmp_path, monkeypatch):
    monkeypatch.setenv("LITEQ_BROKER_URL", f"sqlite:///{tmp_path}/env.db")
    flask_app.config["LITEQ"] = {"broker_url": "sqlite:///q.db"}
    assert LiteQ(flask_app).broker_url == f"sqlite:///{tmp_path}/env.db"


def test_prefixed_variables_of_flask_reach_it(flask_app, monkeypatch):
    monkeypatch.setenv("FLASK_LITEQ__task_time_limit", "9")
    flask_app.config.from_prefixed_env()
    assert LiteQ(flask_app).conf.task_time_limit == 9


def test_settings_that_are_no_dict_are_refused(flask_app):
    flask_app.config["LITEQ"] = "sqlite:///q.db"
    with pytest.raises(ImproperlyConfigured, match=r"app.config\['LITEQ'\] is a dict"):
        LiteQ(flask_app)


def test_a_bad_value_names_the_setting(flask_app):
    flask_app.config["LITEQ"] = {"task_time_limit": "soon"}
    with pytest.raises(ImproperlyConfigured, match="task_time_limit"):
        _ = LiteQ(flask_app).conf.task_time_limit


def test_an_app_has_one_queue(queue, flask_app):
    with pytest.raises(ImproperlyConfigured, match="another LiteQ"):
        LiteQ(flask_app)
    queue.init_app(flask_app)  # the same once more is no harm


def test_init_app_takes_an_app():
    with pytest.raises(TypeError, match="takes a Flask app"):
        LiteQ().init_app(object())


# -- the factory pattern ---------------------------------------------------------------------------------------------


def test_each_app_that_a_factory_makes_gets_the_queue_with_its_own_file(tmp_path):
    queue = LiteQ()

    @queue.task(name="whose")
    def whose() -> str:
        return current_app.name

    queue.add_periodic_task(60, whose.s(), name="each minute")
    for name in ("first", "second"):
        app = Flask(name, instance_path=str(tmp_path / name))
        app.config["LITEQ"] = {"result_expires": 60 if name == "first" else 120}
        queue.init_app(app)
        result = whose.delay()
        assert drain(queue) == 1
        assert result.get(timeout=0) == name
        assert queue.conf.result_expires == (60 if name == "first" else 120)
        assert "each minute" in queue.conf.beat_schedule
        assert (tmp_path / name / "liteq.db").exists()
    queue.close()


def test_a_task_of_a_queue_without_an_app_says_what_to_do(tmp_path):
    queue = LiteQ(broker=f"sqlite:///{tmp_path}/q.db")

    @queue.task(name="lost")
    def lost() -> None: ...

    with queue:
        result = lost.delay()
        drain(queue)
        with pytest.raises(ImproperlyConfigured, match=r"call queue\.init_app\(app\)"):
            result.get(timeout=0)


def test_what_is_sent_before_there_is_an_app_says_what_to_do():
    queue = LiteQ()

    @queue.task(name="early")
    def early() -> None: ...

    with pytest.raises(ImproperlyConfigured, match=r"call queue\.init_app\(app\) first"):
        early.delay()


# -- the context -----------------------------------------------------------------------------------------------------


@pytest.fixture
def greet(queue, flask_app):
    flask_app.config["GREETING"] = "hello"

    @queue.task(name="greet")
    def greet(name: str) -> str:
        assert not hasattr(g, "seen")
        g.seen = True
        return f"{current_app.config['GREETING']} {name}"

    return greet


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_worker_runs_tasks_in_a_context_of_their_own(queue, greet, pool):
    with start_worker(queue, pool=pool, concurrency=2):
        results = [greet.delay(str(n)) for n in range(5)]
        assert [result.get(timeout=60) for result in results] == [f"hello {n}" for n in range(5)]
    assert not has_app_context()


def test_an_async_task_has_it_too(queue, flask_app):
    @queue.task(name="later")
    async def later() -> str:
        return current_app.name

    result = later.delay()
    drain(queue)
    assert result.get(timeout=0) == "shop"


def test_an_eager_task_in_a_request_has_a_context_of_its_own_and_leaves_the_request_s_alone(queue, flask_app, greet):
    @flask_app.get("/")
    def index() -> str:
        g.seen = "by the request"
        said = greet.delay("you").get()
        assert g.seen == "by the request"
        return said

    with eager(queue):
        assert flask_app.test_client().get("/").text == "hello you"


def test_what_tears_the_context_down_is_told_what_the_task_raised(queue, flask_app):
    torn: list[str] = []
    flask_app.teardown_appcontext(lambda exc: torn.append(type(exc).__name__))

    @queue.task(name="fails")
    def fails() -> None:
        raise LookupError("not there")

    fails.delay()
    drain(queue)
    assert torn == ["LookupError"]


def test_shared_tasks_and_results_by_id_find_the_queue_in_any_thread(queue, flask_app):
    @shared_task(name="shared")
    def shared() -> str:
        return current_app.name

    @flask_app.get("/send")
    def send() -> str:
        return shared.delay().id

    assert get_current_app() is queue
    id_ = flask_app.test_client().get("/send").text
    drain(queue)
    assert queue.AsyncResult(id_).get(timeout=0) == "shop"


def test_celery_is_another_name_for_it():
    assert Celery is LiteQ


# -- the pattern of Flask's documentation, with the import changed ---------------------------------------------------

DOCUMENTED = """
from flask import Flask, current_app
from liteq import Celery, Task, shared_task
from liteq.result import AsyncResult


def celery_init_app(app: Flask) -> Celery:
    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(
        CELERY=dict(broker_url="sqlite:///tasks.db", result_backend="sqlite:///tasks.db", task_ignore_result=True),
    )
    app.config.from_prefixed_env()
    celery_init_app(app)

    @app.post("/add")
    def start_add() -> dict[str, object]:
        return {"result_id": add_together.delay(1, 2).id}

    @app.get("/result/<id>")
    def task_result(id: str) -> dict[str, object]:
        result = AsyncResult(id)
        return {
            "ready": result.ready(),
            "successful": result.successful(),
            "value": result.result if result.ready() else None,
        }

    return app


@shared_task(ignore_result=False)
def add_together(a: int, b: int) -> list[object]:
    return [a + b, current_app.name]


flask_app = create_app()
celery_app = flask_app.extensions["celery"]
"""

CLIENT = """
import time
from make_celery import flask_app
client = flask_app.test_client()
id_ = client.post("/add").json["result_id"]
end = time.monotonic() + 60
while not (answer := client.get(f"/result/{id_}").json)["ready"] and time.monotonic() < end:
    time.sleep(0.02)
print(answer)
"""


def run(*command: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(), **more)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}


def test_the_pattern_of_flasks_documentation_works_with_another_import(tmp_path):
    (tmp_path / "make_celery.py").write_text(DOCUMENTED)
    command = [sys.executable, "-m", "liteq", "-A", "make_celery", "worker", "-c", "1"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment()) as worker:
        done = run(sys.executable, "-c", CLIENT, cwd=tmp_path)
        worker.terminate()
        assert worker.wait(timeout=60) == 0
    assert "'value': [3, 'make_celery']" in done.stdout, done.stderr


# -- the command -----------------------------------------------------------------------------------------------------

SHOP = """
from flask import Flask, current_app
from liteq_flask import LiteQ

queue = LiteQ()

def create_app():
    app = Flask(__name__)
    app.config["GREETING"] = "hello"
    queue.init_app(app)
    return app

@queue.task
def greet(name: str) -> str:
    return current_app.config["GREETING"] + " " + name
"""


def flask(tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "flask", "--app", "shop", *args, cwd=tmp_path)


def test_flask_liteq_is_the_whole_command_line(tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    assert "liteq" in flask(tmp_path, "--help").stdout
    assert "Usage: flask liteq worker" in flask(tmp_path, "liteq", "worker", "--help").stdout
    assert flask(tmp_path, "liteq", "status").returncode == 69  # no worker, and not even a file
    sent = flask(tmp_path, "liteq", "call", "shop.greet", "--args", '["you"]')
    assert sent.returncode == 0, sent.stderr

    command = [sys.executable, "-m", "flask", "--app", "shop", "liteq", "worker", "-c", "1"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment()) as worker:  # prefork
        got = flask(tmp_path, "liteq", "result", sent.stdout.strip(), "--wait", "--timeout", "20")
        worker.terminate()
        assert worker.wait(timeout=60) == 0
    assert "hello you" in got.stdout, got.stderr
    wrong = flask(tmp_path, "liteq", "dead", "replay", "nobody")
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (1, False)


# -- the blueprint ---------------------------------------------------------------------------------------------------


@pytest.fixture
def client(queue, flask_app):
    flask_app.config["LITEQ_STATUS_LOCAL"] = True
    flask_app.register_blueprint(status_blueprint(), url_prefix="/liteq")
    return flask_app.test_client()


@pytest.mark.parametrize("path", ["health", "status", "tasks/{id}"])
def test_the_prefix_of_the_blueprint_may_have_parameters(queue, flask_app, path):
    flask_app.config["LITEQ_STATUS_LOCAL"] = True
    flask_app.register_blueprint(status_blueprint(), url_prefix="/<tenant>/liteq")
    id_ = queue.send_task("x").id
    assert flask_app.test_client().get("/acme/liteq/" + path.format(id=id_)).status_code == 200


def test_status_tells_what_waits_and_who_works(queue, client):
    @queue.task(name="fails")
    def fails() -> None:
        raise ValueError

    fails.delay()
    drain(queue)
    fails.delay()
    with start_worker(queue, queues=["other"]):
        document = client.get("/liteq/status").json
        health = client.get("/liteq/health?workers=1").json
    assert (health["status"], health["workers"]) == ("warning", 1)
    assert ["no worker takes from it" in health["warnings"][0], "dead letter" in health["warnings"][1]] == [True, True]
    assert document["status"] == "warning"
    assert document["queues"]["celery"] == {"pending": 1, "dead": 1}
    assert document["dead"] == 1
    assert [worker["pid"] for worker in document["workers"]] == [os.getpid()]
    assert client.get("/liteq/health").status_code == 200
    assert client.get("/liteq/health?workers=1").status_code == 503


def test_a_task_s_state_and_result_by_its_id(queue, client):
    @queue.task(name="double", sensitive=("pin",))
    def double(n: int, pin: str = "") -> dict[str, object]:
        return {"doubled": 2 * n, "of": date(2026, 1, 2), "by": {1: 2}}

    @queue.task(name="fails")
    def fails(secret: str) -> None:
        raise ValueError("no such <b>month</b>")

    done, failed = double.delay(21, pin="0000"), fails.delay("s3cret")
    waiting = client.get(f"/liteq/tasks/{done.id}")
    assert waiting.json == {"id": done.id, "task": "double", "state": "PENDING", "ready": False, "info": None}
    assert waiting.headers["Cache-Control"] == "no-store"
    drain(queue)
    told = client.get(f"/liteq/tasks/{done.id}").json
    assert (told["state"], told["ready"], told["info"]) == (
        "SUCCESS",
        True,
        {"doubled": 42, "of": "2026-01-02", "by": {"1": 2}},
    )
    answer = client.get(f"/liteq/tasks/{failed.id}")
    assert answer.json["error"] == {"type": "ValueError", "message": "no such <b>month</b>"}
    assert answer.content_type == "application/json"
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("id_", ["nobody", "a" * 10_000, "%00", "../tasks"])
def test_an_id_that_the_file_does_not_know_is_a_clear_404(client, id_):
    answer = client.get(f"/liteq/tasks/{id_}")
    assert answer.status_code == 404


@pytest.mark.parametrize("workers", ["two", 10**22, -1, "1e300", "NaN", "9" * 5000, "\x00", "x" * 10_000])
def test_a_number_of_workers_that_is_none_is_a_clear_400(client, workers):
    answer = client.get("/liteq/health", query_string={"workers": workers})
    assert answer.status_code == 400
    assert f"{workers}"[:10].strip("\x00") in answer.json["error"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("health?worker=2", "unknown parameter 'worker'; did you mean 'workers'?"),
        ("status?workers=2", "unknown parameter 'workers'; no parameter is taken here"),
        ("tasks/x?wait=5", "unknown parameter 'wait'; no parameter is taken here"),
    ],
)
def test_a_misspelt_parameter_is_told(client, path, words):
    wrong = client.get(f"/liteq/{path}")
    assert (wrong.status_code, wrong.json["error"]) == (400, words)


def test_a_number_of_any_size_is_told(queue, client):
    @queue.task(name="power")
    def power(n: int) -> int:
        return 2**n

    sent = power.delay(70), power.delay(20_000)
    drain(queue)
    assert [client.get(f"/liteq/tasks/{one.id}").json["info"] for one in sent] == [str(2**70), hex(2**20_000)]


def test_health_of_a_file_that_is_none(flask_app, tmp_path):
    (tmp_path / "bad.db").write_text("this is no database, whatever its name says" * 100)
    flask_app.config["LITEQ"] = {"broker_url": f"sqlite:///{tmp_path}/bad.db"}
    flask_app.config["LITEQ_STATUS_LOCAL"] = True
    with LiteQ(flask_app):
        flask_app.register_blueprint(status_blueprint(), url_prefix="/liteq")
        for address in ("health", "status", "tasks/1"):
            answer = flask_app.test_client().get(f"/liteq/{address}")
            assert answer.status_code == 503
            assert answer.json["status"] == "unavailable"


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({}, "192.0.2.7"),
        ({"X-Forwarded-For": "192.0.2.7"}, "127.0.0.1"),  # a proxy on this machine
        ({"Forwarded": "for=192.0.2.7"}, "127.0.0.1"),
        ({"Host": "rebound.example"}, "127.0.0.1"),  # a page of somebody's, by a name that points here
    ],
)
def test_a_program_that_opens_its_status_to_this_machine_opens_it_to_no_other(client, headers, address):
    answer = client.get("/liteq/status", headers=headers, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == 403
    assert "LITEQ_STATUS_TOKEN" in answer.json["error"]


def test_a_program_that_has_said_nothing_lets_nobody_look(client, flask_app):
    """A bare proxy on this machine cannot be told from this machine."""
    del flask_app.config["LITEQ_STATUS_LOCAL"]
    answer = client.get("/liteq/status")
    assert answer.status_code == 403
    assert "LITEQ_STATUS_TOKEN" in answer.json["error"]
    assert "LITEQ_STATUS_LOCAL" in answer.json["error"]


@pytest.mark.parametrize("server", ["192.0.2.1", "0.0.0.0", "shop.example", ""])
def test_a_server_that_is_not_on_the_loopback_is_open_to_nobody_without_a_token(client, server):
    assert client.get("/liteq/status", environ_overrides={"SERVER_NAME": server}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:80", "[::1]:5000", "[::1]"])
def test_this_machine_by_its_names(client, host):
    assert client.get("/liteq/status", headers={"Host": host}).status_code == 200


def test_with_a_token_whoever_has_it_may_look_from_anywhere(client, flask_app):
    flask_app.config["LITEQ_STATUS_TOKEN"] = "s3cret"
    far = {"REMOTE_ADDR": "192.0.2.7"}

    def code(authorization: str) -> int:
        return client.get("/liteq/status", headers={"Authorization": authorization}, environ_base=far).status_code

    assert client.get("/liteq/status").status_code == 401  # this machine too
    assert code("Bearer s3cret") == 200
    assert code("Bearer wrong") == 401
    assert code("Basic s3cret") == 401


def test_what_is_mounted_on_it_is_guarded_as_well(queue, flask_app):
    from flask import Blueprint

    dashboard = Blueprint("dashboard", __name__)
    dashboard.add_url_rule("/", "index", lambda: "everything")
    blueprint = status_blueprint()
    blueprint.register_blueprint(dashboard, url_prefix="/dashboard")
    flask_app.config["LITEQ_STATUS_LOCAL"] = True
    flask_app.register_blueprint(blueprint, url_prefix="/liteq")
    client = flask_app.test_client()
    assert client.get("/liteq/dashboard/").text == "everything"
    assert client.get("/liteq/dashboard/", environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 403


# -- behind a real proxy ---------------------------------------------------------------------------------------------

PROXY = """
daemon off; pid nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    server {{ listen 127.0.0.1:{bare}; location / {{ proxy_pass http://127.0.0.1:{web}; }} }}
    server {{
        listen 127.0.0.1:{named};
        location / {{
            proxy_pass http://127.0.0.1:{web};
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


@pytest.fixture
def proxied(queue, flask_app, tmp_path, eventually):
    """Ask for the status by way of nginx, "bare" or "named" as the how-to has it, or of nothing: the answer's code."""
    nginx_program = program("nginx")
    flask_app.register_blueprint(status_blueprint(), url_prefix="/liteq")
    bare, named = free_ports(2)
    server = make_server("127.0.0.1", 0, flask_app, threaded=True)
    ports = {"nothing": server.server_port, "bare": bare, "named": named}
    (tmp_path / "nginx.conf").write_text(PROXY.format(bare=bare, named=named, web=server.server_port))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    nginx = subprocess.Popen([nginx_program, "-p", tmp_path, "-c", tmp_path / "nginx.conf"], stderr=subprocess.DEVNULL)

    def code(way: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", ports[way], timeout=60)
        with closing(connection):
            connection.request("GET", "/liteq/status", headers=headers)
            return connection.getresponse().status

    def answers() -> bool:
        try:
            return code("bare") > 0
        except OSError:
            return False

    try:
        eventually(answers)
        yield code
    finally:
        nginx.terminate()
        nginx.wait(60)
        server.shutdown()
        thread.join(60)
        server.server_close()


def test_behind_nginx_only_the_token_opens_the_status(proxied, flask_app):
    ways = ("bare", "named", "nothing")
    assert [proxied(way, Host="shop.example.org") for way in ways] == [403, 403, 403]
    flask_app.config["LITEQ_STATUS_TOKEN"] = "s3cret"
    assert [proxied(way, Host="shop.example.org") for way in ways] == [401, 401, 401]
    assert [proxied(way, Authorization="Bearer s3cret") for way in ways] == [200, 200, 200]


def test_a_program_open_to_this_machine_sees_an_nginx_that_says_so(proxied, flask_app):
    flask_app.config["LITEQ_STATUS_LOCAL"] = True
    assert (proxied("nothing"), proxied("named", Host="localhost")) == (200, 403)


def test_two_apps_in_a_process_each_send_to_their_own_queue(tmp_path):
    @shared_task
    def name_of_app(n):
        return [current_app.name, n]

    apps, queues = [], []
    for name in ("first", "second"):
        flask_app, queue = Flask(name, instance_path=str(tmp_path / name)), LiteQ()
        queue.init_app(flask_app)
        flask_app.add_url_rule("/", "send", lambda: {"id": name_of_app.delay(1).id}, methods=["POST"])
        flask_app.add_url_rule("/<one>", "state", lambda one: {"state": AsyncResult(one).state})
        apps.append(flask_app)
        queues.append(queue)
    with queues[0], queues[1]:
        for flask_app, queue in zip(apps, queues, strict=True):
            client = flask_app.test_client()
            id_ = client.post("/").json["id"]
            assert queue.AsyncResult(id_).exists()
            assert drain(queue) == 1
            assert client.get(f"/{id_}").json == {"state": "SUCCESS"}
            assert queue.AsyncResult(id_).get(timeout=1) == [flask_app.name, 1]
        assert name_of_app.app is queues[1]  # outside, that which was made last
