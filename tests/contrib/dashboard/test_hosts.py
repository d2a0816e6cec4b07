"""The dashboard in Flask and Starlette, each by its own routing. Django has a suite of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import re

import pytest

from liteq_dashboard import Viewer
from liteq_dashboard.assets import asset_path
from liteq_dashboard.routes import routes

if importlib.util.find_spec("flask") is None or importlib.util.find_spec("httpx") is None:
    pytest.skip("these need Flask, Starlette and httpx", allow_module_level=True)

import httpx
from flask import Flask
from starlette.applications import Starlette

import liteq_fastapi
import liteq_flask
from liteq import LiteQ
from liteq.context import swap_apps
from liteq.serialization import decode

SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(autouse=True)
def _no_app_of_another_test():
    before = swap_apps(None, None)
    yield
    swap_apps(*before)


def who(request):
    """As a host's session would tell: the name is in a cookie, and the role too."""
    name = request.cookies.get("session", "")
    return Viewer(*name.split(":")) if name else None


async def who_async(request):
    return who(request)


class InStarlette:
    """A host: `get` and `post` give status, headers, text."""

    def __init__(self, tmp_path, access, prefix="/in/liteq"):
        self.queue = LiteQ("hosts", broker=f"sqlite:///{tmp_path / 'q.db'}")
        app = Starlette()
        app.mount(prefix, liteq_fastapi.dashboard(self.queue, access=access))
        self.app = app

    def ask(self, method, path, session="ann:admin", headers=None, **more):
        headers = {**(headers or {}), **({"cookie": f"session={session}"} if session else {})}
        found = asyncio.run(self._ask(method, path, headers, more))
        return found.status_code, {name.lower(): value for name, value in found.headers.items()}, found.text

    async def _ask(self, method, path, headers, more):
        transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers=headers, **more)


class InFlask:
    """The same under WSGI."""

    def __init__(self, tmp_path, access, prefix="/in/liteq"):
        flask = Flask("hosts", instance_path=str(tmp_path))
        self.queue = liteq_flask.LiteQ(flask)
        flask.register_blueprint(liteq_flask.dashboard(access=access), url_prefix=prefix)
        self.client = flask.test_client(use_cookies=False)

    def ask(self, method, path, session="ann:admin", headers=None, **more):
        headers = {**(headers or {}), **({"cookie": f"session={session}"} if session else {})}
        found = self.client.open(path, method=method, headers=headers, **more)
        return found.status_code, {name.lower(): value for name, value in found.headers.items()}, found.text


@pytest.fixture(params=[InStarlette, InFlask])
def kind(request):
    return request.param


@pytest.fixture(params=[who, who_async])
def host(kind, tmp_path, request):
    made = kind(tmp_path, request.param)
    made.queue.storage.migrate()
    yield made
    made.queue.close()


def test_the_hosts_own_login_decides(host):
    assert host.ask("GET", "/in/liteq/live", session="")[0] == 401
    assert host.ask("GET", "/in/liteq/live?stamp=x")[0] == 200
    assert host.ask("GET", "/in/liteq/live?stamp=x", session="ann:approve")[0] == 403
    assert host.ask("GET", "/in/liteq/nothing")[0] == 404


def test_links_and_files_are_below_the_prefix(host):
    _, _, page = host.ask("GET", "/in/liteq/nothing", headers={"accept": "text/html"})
    assert 'href="/in/liteq/queues"' in page
    path = asset_path("/in/liteq", "liteq.css")
    assert f'href="{path}"' in page
    status, headers, _ = host.ask("GET", path, session="")
    assert (status, headers["cache-control"]) == (200, "public, max-age=31536000, immutable")


@pytest.mark.parametrize("framework", ["starlette", "flask"])
def test_a_prefix_of_any_script_is_written_as_a_browser_does(tmp_path, framework):
    host = (InStarlette if framework == "starlette" else InFlask)(tmp_path, who, "/队列")
    host.queue.storage.migrate()
    sent = {"data": {"theme": "dark", "back": "tasks"}, "headers": SAME}
    status, headers, _ = host.ask("POST", "/%E9%98%9F%E5%88%97/look", **sent)
    assert (status, headers["location"]) == (303, "/%E9%98%9F%E5%88%97/tasks")
    assert "Path=/%E9%98%9F%E5%88%97/;" in headers["set-cookie"]
    host.queue.close()


def test_a_query_of_any_bytes_is_answered(tmp_path):
    host = InStarlette(tmp_path, who)
    host.queue.storage.migrate()
    scope = {
        "type": "http", "method": "GET", "path": "/in/liteq/api/v1/queues", "query_string": b"q=\xff", "root_path": "",
        "headers": [(b"cookie", b"session=ann:admin"), (b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1),
    }  # fmt: skip
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(host.app(scope, None, send))
    assert sent[0]["status"] == 400, "there is no parameter q"
    host.queue.close()


def test_every_path_of_the_table_is_a_route_of_the_host(host):
    if isinstance(host, InFlask):
        own = {rule.rule for rule in host.client.application.url_map.iter_rules()}
    else:
        (mount,) = host.app.routes
        own = {"/in/liteq" + route.path for route in mount.routes}
    named = {f"/in/liteq/{route.path}" for route in routes()}
    assert {rule.replace("<", "{").replace(">", "}") for rule in own} >= named


def test_an_act_of_another_site_is_refused(host):
    posts = [route for route in routes() if route.method == "POST" and "{" not in route.path]
    for route in posts:
        assert host.ask("POST", f"/in/liteq/{route.path}", headers={"Origin": "https://evil.example"})[0] == 403
        assert host.ask("POST", f"/in/liteq/{route.path}")[0] == 403
    assert host.ask("DELETE", "/in/liteq/live", headers=SAME)[0] == 405


def test_every_answer_has_the_headers(host):
    for path, session in (("live?stamp=x", "ann:admin"), ("live", ""), ("nothing", "ann:admin")):
        headers = host.ask("GET", f"/in/liteq/{path}", session=session)[1]
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert (headers["referrer-policy"], headers["x-content-type-options"]) == ("same-origin", "nosniff")


def test_a_host_that_cannot_stream_says_whether_something_changed(host):
    status, _, text = host.ask("GET", "/in/liteq/live?stamp=old")
    assert status == 200
    stamp = text.partition('":"')[2].rstrip('"}')
    assert host.ask("GET", f"/in/liteq/live?stamp={stamp}")[0] == 204
    host.queue.send_task("one")
    assert host.ask("GET", f"/in/liteq/live?stamp={stamp}")[0] == 200


def test_without_access_nobody_looks_from_elsewhere(kind, tmp_path):
    host = kind(tmp_path, None)
    host.queue.storage.migrate()
    assert host.ask("GET", "/in/liteq/live?stamp=x", headers={"Host": "evil.example"})[0] == 401
    host.queue.close()


def test_a_flask_app_with_csrf_tokens_of_its_own_gets_them_in_every_form(tmp_path):
    flask = Flask("hosts", instance_path=str(tmp_path))
    queue = liteq_flask.LiteQ(flask)
    flask.jinja_env.globals["csrf_token"] = lambda: 'tok"en'  # as Flask-WTF does
    flask.register_blueprint(liteq_flask.dashboard(access=who), url_prefix="/ops")
    from liteq_flask import board

    with flask.test_request_context("/ops/"):
        assert board._csrf() == '<input type="hidden" name="csrf_token" value="tok&#34;en">'
    queue.close()


def test_a_number_of_many_digits_in_a_body_is_what_is_sent(host):
    url = f"/in/liteq/api/v1/tasks/{host.queue.send_task('pay', (1,)).id}/resend"
    name, body = "content" if isinstance(host, InStarlette) else "data", f'{{"args": [{10**30}]}}'
    status, _, text = host.ask("POST", url, headers={**SAME, "content-type": "application/json"}, **{name: body})
    assert status == 200, text
    assert decode(host.queue.storage.reader.find(json.loads(text)["id"]).payload) == [[10**30], {}]


@pytest.mark.parametrize(("kind_of_body", "status"), [("application/json", 400), ("text/plain", 415)])
def test_a_body_that_cannot_be_read_does_nothing_in_any_host(host, kind_of_body, status):
    headers = {**SAME, "content-type": kind_of_body}
    url, cut = "/in/liteq/api/v1/queues/mail/pause", b'{"until": 1795'
    found = host.ask("POST", url, headers=headers, **{"content" if isinstance(host, InStarlette) else "data": cut})
    assert (found[0], host.queue.storage.queues.paused()) == (status, {}), "it would have been paused for good"


def test_a_body_that_is_too_long_or_of_another_kind_is_not_read(tmp_path):
    host = InStarlette(tmp_path, who)
    host.queue.storage.migrate()
    post = next(re.sub(r"\{\w+\}", "x", route.path) for route in routes() if route.method == "POST")
    sent = [
        (b"x" * (1024 * 1024 + 1), "application/x-www-form-urlencoded"),
        (b"x", "multipart/form-data; boundary=x"),
        (b"{", "application/json"),
    ]
    found = [host.ask("POST", f"/in/liteq/{post}", headers={**SAME, "content-type": t}, content=b)[0] for b, t in sent]
    assert found == [413, 415, 400]
    host.queue.close()


@pytest.mark.parametrize("kind_of_body", ["application/json", "application/x-www-form-urlencoded"])
def test_a_body_that_is_too_long_is_read_by_no_host(host, kind_of_body):
    headers = {**SAME, "content-type": kind_of_body}
    url, long = "/in/liteq/api/v1/queues/mail/pause", b'{"reason": "' + b"x" * 1024 * 1024 + b'"}'
    found = host.ask("POST", url, headers=headers, **{"content" if isinstance(host, InStarlette) else "data": long})
    assert (found[0], host.queue.storage.queues.paused()) == (413, {})


def test_of_a_body_in_chunks_flask_reads_no_more_than_is_taken(tmp_path):
    host = InFlask(tmp_path, who)
    host.queue.storage.migrate()
    body = io.BytesIO(b'{"reason": "' + b"x" * 3 * 1024 * 1024 + b'"}')
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    url, headers = "/in/liteq/api/v1/queues/mail/pause", {**SAME, "content-type": "application/json"}
    found = host.ask("POST", url, headers=headers, input_stream=body, environ_overrides=chunked)
    assert (found[0], body.tell()) == (413, 1024 * 1024 + 1)
    host.queue.close()
