"""`liteq dashboard` as a process of its own: its link, its options, and proxies before it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from urllib.parse import quote, urlsplit

import pytest

from liteq import LiteQ
from liteq.clock import SystemClock
from liteq.exceptions import ImproperlyConfigured
from liteq_dashboard.hosts import check_packages

from ...servers import free_ports, program

SAME = {"Sec-Fetch-Site": "same-origin"}


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode()

    @property
    def cookie(self):
        return self.headers["set-cookie"].partition(";")[0]


def ask(port, method, path, *, cookie="", headers=None, body=None):
    sent = {**(headers or {}), **({"Cookie": cookie} if cookie else {})}
    if body is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body=body, headers=sent)
        return Answer(connection.getresponse())


@pytest.fixture
def queue(tmp_path):
    with LiteQ("alone", broker=f"sqlite:///{tmp_path / 'q.db'}") as made:
        made.storage.migrate()
        yield made


def command(tmp_path, *options):
    where = [] if "--db" in options else ["-b", f"sqlite:///{tmp_path / 'q.db'}"]
    return [sys.executable, "-m", "liteq", *where, "dashboard", *options]


@contextmanager
def served(tmp_path, *options):
    """A dashboard on a free port: its first line."""
    process = subprocess.Popen(
        command(tmp_path, "--port", "0", *options),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=60)


def entered(link):
    """The port of a one-time link, and the cookie that it gives."""
    parts = urlsplit(link)
    return parts.port, ask(parts.port, "GET", parts.path).cookie


def refused(tmp_path, *options):
    done = subprocess.run(command(tmp_path, *options), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


# -- on this machine ---------------------------------------------------------------------------------------------------


def test_its_first_line_is_a_link_that_leads_in_once(queue, tmp_path):
    with served(tmp_path) as link:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/enter/[\w-]{40,}", link)
        port, cookie = entered(link)
        assert ask(port, "GET", "/live?stamp=x", cookie=cookie).status == 200
        assert ask(port, "GET", urlsplit(link).path).status == 403
        away = ask(port, "GET", "/tasks")
        assert (away.status, away.headers["location"]) == (303, "/login")
        assert ask(port, "GET", "/live?stamp=x", headers={"Authorization": "Bearer x"}).status == 303


def test_read_only_takes_no_act(queue, tmp_path):
    with served(tmp_path, "--read-only") as link:
        port, cookie = entered(link)
        found = ask(port, "POST", "/queues/celery/pause", cookie=cookie, headers=SAME, body="reason=x")
        assert found.status == 403
        assert queue.storage.queues.paused() == {}


def test_changes_are_streamed(queue, tmp_path):
    with served(tmp_path) as link:
        port, cookie = entered(link)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("GET", "/live", headers={"Cookie": cookie})
            stream = connection.getresponse()
            assert stream.getheader("content-type") == "text/event-stream"
            assert stream.readline() == b"retry: 2000\n"
            queue.send_task("one")
            assert [stream.readline(), stream.readline()] == [b"\n", b"event: changed\n"]


def test_files_of_several_queues_have_a_path_each(tmp_path):
    for name in ("ann", "bob"):
        with LiteQ(name, broker=f"sqlite:///{tmp_path / name}.db") as app:
            app.send_task(f"of_{name}")
    with served(tmp_path, "--db", "*.db") as link:
        port, cookie = entered(link)
        index = ask(port, "GET", "/", cookie=cookie)
        assert 'href="/ann/"' in index.text
        found = json.loads(ask(port, "GET", "/bob/api/v1/tasks", cookie=cookie).text)
        assert [one["task"] for one in found["items"]] == ["of_bob"]
        assert ask(port, "GET", "/eve/api/v1/tasks", cookie=cookie).status == 404
        assert ask(port, "GET", "/ann/tasks").headers["location"] == "/ann/login"


def test_a_file_is_found_by_its_name_as_it_is_and_once(tmp_path):
    for name in ("a%62", "ab"):
        with LiteQ(name, broker=f"sqlite:///{tmp_path}/{quote(name)}.db") as app:
            app.send_task(f"of_{name}")
    with served(tmp_path, "--db", "*.db", "--db", "ab.db") as link:
        port, cookie = entered(link)
        found = json.loads(ask(port, "GET", "/a%2562/api/v1/tasks", cookie=cookie).text)
        assert [one["task"] for one in found["items"]] == ["of_a%62"]


@pytest.mark.parametrize("name", ["a%20b", "what?", "50%"])
def test_a_file_of_any_name_is_the_one_that_is_shown(tmp_path, name):
    from liteq.cli.serving.dashboard import _apps

    path = tmp_path / f"{name}.db"
    with LiteQ("one", broker=f"sqlite:///{quote(str(path))}", set_as_current=False) as app:
        app.send_task("t", task_id="here")
    (shown,) = _apps(None, [f"{tmp_path}/*.db"]).values()
    assert shown.storage.reader.find("here") is not None
    assert [one.name for one in tmp_path.glob("*.db")] == [path.name]
    shown.close()


def test_a_file_with_the_name_of_a_page_of_all_is_refused(tmp_path):
    from liteq.cli.serving.dashboard import OF_THE_LIST, _apps
    from liteq_dashboard.guard.door import Door
    from liteq_dashboard.pages import static

    door = Door(SystemClock())
    assert {route.path.partition("/")[0] for route in (*door.routes, *static.ROUTES)} == OF_THE_LIST
    (tmp_path / "login.db").write_bytes(b"")
    with pytest.raises(ImproperlyConfigured, match=r"login\.db: the dashboard uses /login itself"):
        _apps(None, [f"{tmp_path}/*.db"])


def test_a_damaged_file_is_told_of_and_the_others_are_shown(tmp_path):
    (tmp_path / "ann.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 8_000)  # the first, of which the list is served
    for name in ("bob", "eve"):
        with LiteQ(name, broker=f"sqlite:///{tmp_path / name}.db") as app:
            app.send_task(f"of_{name}")
    with served(tmp_path, "--db", "*.db") as link:
        port, cookie = entered(link)
        index = ask(port, "GET", "/", cookie=cookie)
        assert index.status == 200
        assert index.text.count("said warn") == 1
        assert ask(port, "GET", "/ann/", cookie=cookie).status == 503
        found = json.loads(ask(port, "GET", "/bob/api/v1/tasks", cookie=cookie).text)
        assert [one["task"] for one in found["items"]] == ["of_bob"]


# -- tokens and refusals -----------------------------------------------------------------------------------------------


def test_with_tokens_programs_send_them_and_people_paste_them(queue, tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"s3cret": {"name": "ann", "rights": ["view"], "queues": ["mail"]}}))
    path.chmod(0o600)
    queue.send_task("seen", queue="mail")
    queue.send_task("unseen", queue="other")
    with served(tmp_path, "--token-file", str(path)) as link:
        port = urlsplit(link).port
        bearer = {"Authorization": "Bearer s3cret"}
        found = json.loads(ask(port, "GET", "/api/v1/tasks", headers=bearer).text)
        assert [one["task"] for one in found["items"]] == ["seen"]
        assert ask(port, "POST", "/login", headers=SAME, body="token=wrong").status == 403
        cookie = ask(port, "POST", "/login", headers=SAME, body="token=s3cret").cookie
        assert ask(port, "GET", "/tasks", cookie=cookie).status == 200
        assert ask(port, "POST", "/leave", cookie=cookie, headers=SAME, body="").status == 303
        assert ask(port, "GET", "/tasks", cookie=cookie).status == 303


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--host", "0.0.0.0"), 2, "give --token-file, or --user-header and --trust"),
        (("--user-header", "X-User"), 2, "belong together"),
        (("--trust", "10.0.0.0/8"), 2, "belong together"),
        (
            ("--user-header", "X-User", "--trust", "10.0.0.0/33"),
            78,
            "written as 127.0.0.1/32 or 10.0.0.0/8: '10.0.0.0/33'",
        ),
        (("--user-rights", "operator"), 2, "give --user-header and --trust"),
        (("--user-header", "X-User", "--trust", "10.0.0.0/8", "--user-rights", "veiw"), 78, "did you mean 'view'"),
        (("--token-file", "nothing.json"), 78, "cannot be read"),
        (("--db", "nothing/*.db"), 69, "there is no file nothing/*.db"),
        (
            ("--root-path", "/ops", "--host", "203.0.113.7", "--token-file", "ok.json"),
            78,
            "use another --port or --host",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(queue, tmp_path, options, code, words):
    (tmp_path / "ok.json").write_text('{"s3cret": {"name": "ann", "rights": "view"}}')
    (tmp_path / "ok.json").chmod(0o600)
    found, error = refused(tmp_path, *options)
    assert (found, error.count("\n")) == (code, 1)
    assert words in error


def test_a_port_that_is_taken_is_said(queue, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, error = refused(tmp_path, "--port", str(taken.getsockname()[1]))
    assert (code, "use another --port" in error) == (78, True)


def test_a_queue_that_is_not_there_is_not_made(tmp_path):
    code, error = refused(tmp_path)
    assert (code, "there is no file" in error) == (69, True)
    assert not (tmp_path / "q.db").exists()


def test_a_missing_package_is_named_with_what_to_install():
    with pytest.raises(
        ImproperlyConfigured, match=r"needs the packages no_such and nor_this: pip install no_such nor_"
    ):
        check_packages("json", "no_such", "nor_this")


# -- behind a proxy ----------------------------------------------------------------------------------------------------

PROXY = """
daemon off; pid nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    server {{ listen 127.0.0.1:{strips}; location /ops/ {{ proxy_pass http://127.0.0.1:{web}/; }} }}
    server {{ listen 127.0.0.1:{keeps}; location /ops/ {{ proxy_pass http://127.0.0.1:{web}; }} }}
    server {{
        listen 127.0.0.1:{says};
        location /ops/ {{ proxy_pass http://127.0.0.1:{web}; proxy_set_header X-Forwarded-User ann; }}
    }}
}}
"""


def listens(port):
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def proxied(queue, tmp_path, eventually):
    """The dashboard behind three proxies: its link, and their ports."""
    nginx_program = program("nginx")
    strips, keeps, says = free_ports(3)
    trust = ("--root-path", "/ops", "--user-header", "X-Forwarded-User", "--trust", "127.0.0.1/32")
    with served(tmp_path, *trust) as link:
        config = PROXY.format(strips=strips, keeps=keeps, says=says, web=urlsplit(link).port)
        (tmp_path / "nginx.conf").write_text(config)
        nginx = subprocess.Popen(
            [nginx_program, "-p", tmp_path, "-c", tmp_path / "nginx.conf"], stderr=subprocess.DEVNULL
        )
        try:
            eventually(lambda: listens(says))
            yield link, {"strips": strips, "keeps": keeps, "says": says}
        finally:
            nginx.terminate()
            nginx.wait(60)


@pytest.mark.parametrize("kind", ["strips", "keeps"])
def test_below_a_prefix_all_works_whether_the_proxy_strips_it_or_not(proxied, queue, kind):
    link, ports = proxied
    port = ports[kind]
    cookie = ask(port, "GET", urlsplit(link).path).cookie
    page = ask(port, "GET", "/ops/tasks", cookie=cookie)
    assert page.status == 200
    links = re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text)
    assert links
    assert [one for one in links if not one.startswith("/ops/")] == []
    style = next(one for one in links if one.endswith("liteq.css"))
    assert ask(port, "GET", style).status == 200
    own = {"Origin": f"http://127.0.0.1:{port}"}
    looked = ask(port, "POST", "/ops/look", cookie=cookie, headers=own, body="theme=dark&zone=utc&live=2&back=tasks")
    assert (looked.status, looked.headers["location"]) == (303, "/ops/tasks")
    assert (
        ask(port, "POST", "/ops/look", cookie=cookie, headers={"Origin": "http://evil.example"}, body="").status == 403
    )
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/ops/live", headers={"Cookie": cookie})
        stream = connection.getresponse()
        assert stream.readline() == b"retry: 2000\n"  # nothing is held back on the way
        queue.send_task("one")
        assert [stream.readline(), stream.readline()] == [b"\n", b"event: changed\n"]


def test_a_trusted_proxy_says_who_asks(proxied):
    _, ports = proxied
    page = ask(ports["says"], "GET", "/ops/tasks")
    assert (page.status, ">ann<" in page.text) == (200, True)
    assert ask(ports["says"], "POST", "/ops/queues/celery/pause", headers=SAME, body="reason=x").status == 403
    assert ask(ports["keeps"], "GET", "/ops/tasks").status == 303
