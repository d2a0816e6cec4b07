"""Requests that the gateway refuses: by which status; the queue is untouched, and the log has no secret in it."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.edge.keys import Keys
from liteq.exceptions import ImproperlyConfigured

from .edge import Running, key_file, running

KEYS = {
    "T-all": {"name": "all", "rights": ["send", "work", "view", "cancel", "delete"]},
    "T-shop": {"name": "shop", "queues": ["mail*"], "tasks": ["shop.*"]},
    "T-view": {"name": "viewer", "rights": "view"},
    "T-dash": {"name": "ann", "rights": ["operator"]},
}
CALL = {"task": "shop.add", "args": [1, 2]}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", set_as_current=False, gateway_max_body=4096)
    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def keyed(app: LiteQ, tmp_path: Path) -> Iterator[Running]:
    with running(app, keys=key_file(tmp_path, **KEYS)) as found:
        yield found


@pytest.fixture
def local(app: LiteQ) -> Iterator[Running]:
    with running(app) as found:
        yield found


@pytest.fixture
def hasty(app: LiteQ) -> Iterator[Running]:
    """A gateway that waits two seconds for a whole request: not for those that are to be answered."""
    with running(app, read_timeout_s=2.0) as found:
        yield found


@pytest.fixture(autouse=True)
def untouched(app: LiteQ, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert app.storage.reader.counts() == []
    assert not [token for token in KEYS if token in caplog.text]


# -- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "T-none", "T-al", "T-all2", "T-all T-all", "Bearer T-all"])
def test_an_unknown_key_is_told_nothing(keyed: Running, token: str | None) -> None:
    found = keyed.client(token)("POST", "/v1/tasks", [CALL])
    assert found.status == 401
    assert found.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("token", "method", "path", "body"),
    [
        ("T-view", "POST", "/v1/tasks", [CALL]),
        ("T-view", "POST", "/v1/leases", {"queues": ["mail"]}),
        ("T-shop", "DELETE", "/v1/tasks/a", None),
        ("T-shop", "POST", "/v1/tasks", [{**CALL, "task": "other.add", "queue": "mail"}]),
        ("T-shop", "POST", "/v1/tasks", [CALL]),  # to the default queue
        ("T-shop", "POST", "/v1/tasks", [{**CALL, "queue": "mail"}, {**CALL, "queue": "celery"}]),
        ("T-shop", "POST", "/v1/leases", {"queues": ["mail", "celery"]}),
        ("T-dash", "POST", "/v1/tasks", [CALL]),
    ],
)
def test_a_key_may_do_what_it_may_and_nothing_else(
    keyed: Running, token: str, method: str, path: str, body: object
) -> None:
    assert keyed.client(token)(method, path, body).status == 403


def test_a_task_that_a_key_may_not_use_is_not_there(app: LiteQ, keyed: Running) -> None:
    app.send_task("other.add", (1,), task_id="a", queue="mail")
    app.send_task("shop.add", (1,), task_id="b", queue="celery")
    shop = keyed.client("T-shop")
    assert [shop("GET", f"/v1/tasks/{one}").status for one in "ab"] == [404, 404]
    assert shop("POST", "/v1/leases", {"queues": ["mail"]}).json == {"leases": []}
    (one,) = keyed.client("T-all")("POST", "/v1/leases", {"queues": ["celery"]}).json["leases"]
    assert shop("POST", f"/v1/leases/{one['lease']}/ack", {}).status == 409
    app.storage.purge()
    keyed.client("T-all")("POST", f"/v1/leases/{one['lease']}/ack", {})
    app.storage.forget(["b"])


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("{", 0o600, "no JSON|is not JSON"),
        ("[]", 0o600, "holds an object"),
        ('{"T": {"name": "a"}}', 0o644, "chmod 600"),
        ('{"T": {"name": "a", "rihgts": ["send"]}}', 0o600, "use rights"),
        ('{"T": {"name": "a", "rights": ["sned"]}}', 0o600, "did you mean 'send'"),
        ('{"": {"name": "a"}}', 0o600, "empty token"),
        ('{"T": {"name": "a", "secret": ""}}', 0o600, "secret"),
    ],
)
def test_a_file_of_keys_that_is_none_is_refused_at_the_start(tmp_path: Path, text: str, mode: int, says: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ImproperlyConfigured, match=says):
        Keys.read(path)


# -- without keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example.org"},
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
)
def test_without_keys_no_page_and_no_proxy_gets_through(local: Running, headers: dict[str, str]) -> None:
    assert local.client()("POST", "/v1/tasks", [CALL], headers).status == 403


# -- bodies ----------------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_not_read(local: Running) -> None:
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n"
    assert b" 413 " in local.client().raw(head)[:20], "it is not waited for: that would be a 408"


def test_a_body_that_does_not_end_is_given_up(hasty: Running) -> None:
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n["
    assert b" 408 " in hasty.client().raw(head)[:20]


def test_a_request_that_trickles_in_is_given_up(hasty: Running) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=60) as one:
        one.settimeout(0.2)
        found, sent = b"", 0
        for byte in b"GET /health HTTP/1.1\r\nX: " + b"x" * 300:
            sent += 1
            try:
                one.sendall(bytes([byte]))
                found += one.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            if found:
                break
    assert b" 408 " in found[:20]
    assert sent < 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\n", 411),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n", 411),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: -2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent Length: 2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\n Content-Length: 2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nHost: other\r\nContent-Length: 2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5000 + b"\r\n", 413),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent_Length: 2\r\n", 411),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nX-A: 1\rContent-Length: 2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nX-A: 1\nContent-Length: 2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nX-A: \0\r\nContent-Length: 2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\r\n chunked\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1\nHost: localhost\r\nContent-Length: 2\r\n", 400),
        (b"POST\t/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n", 400),
        (b"POST  /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n", 400),
        (b"POST /v1/tasks HTTP/1.1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + b"X-A: 1\r\n" * 101, 431),
        (b"GET /health HTTP/1.1\r\n" + (b"X-A: " + b"a" * 2000 + b"\r\n") * 40, 431),
        (b"GET /health HTTP/1.1\r\nX-A: " + b"a" * 70_000 + b"\r\n", 431),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n", 414),
        (b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n", 400),
        (b"GET /health HTTP/9.9\r\n", 505),
        (b"\x16\x03\x01 no http at all\r\n", 400),
        (b"PATCH /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n", 405),
    ],
)
def test_a_head_that_is_not_as_it_should_be_is_refused_and_the_connection_closed(
    local: Running, head: bytes, status: int
) -> None:
    """The bytes behind it are not taken for another request."""
    smuggled = b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 38\r\n\r\n" + json.dumps([CALL]).encode()
    found = local.client().raw(head + b"\r\n[]" + smuggled)
    assert found.split(b" ", 2)[1] == str(status).encode()
    assert found.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../v1/tasks",
        "/v1/./tasks",
        "//v1/tasks",
        "/v1//tasks",
        "/v1/tasks%00",
        "/v1\\tasks",
        "/v1/%2e%2e/tasks",
        "/v1/tasks/%0d%0aX:1",
        "/v1/tasks/%ff%fe",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_an_odd_path_is_refused(local: Running, path: str) -> None:
    assert local.client()("GET", path).status == 400


def test_a_path_that_is_not_there_is_not_found(local: Running) -> None:
    ask = local.client()
    paths = ["/", "/v1", "/v1/tasks/a/b", "/v1/tasks/~00", "/v2/tasks"]
    assert [ask("GET", path).status for path in paths] == [404] * 5
    found = ask("PUT", "/v1/tasks", [CALL])
    assert (found.status, found.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("body", [b"[1", b"\xff", b'{"a":' * 500 + b"1" + b"}" * 500, b"NaN", b"[" * 2000])
def test_what_is_no_json_is_refused(local: Running, body: bytes) -> None:
    assert local.client()("POST", "/v1/tasks", body).status == 400


def test_too_many_calls_are_refused(app: LiteQ, local: Running) -> None:
    app.conf.gateway_max_batch = 2
    assert local.client()("POST", "/v1/tasks", [CALL] * 3).status == 413


def test_an_argument_that_is_too_deep_is_refused(local: Running) -> None:
    deep = b'[{"task":"shop.add","args":' + b"[" * 300 + b"]" * 300 + b"}]"
    assert local.client()("POST", "/v1/tasks", deep).status == 400


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r ", b"\0"])
def test_no_header_comes_in_by_another_ones_value(keyed: Running, end: bytes) -> None:
    """As a proxy would hand on what its own client has written into a header."""
    body = json.dumps([CALL]).encode()
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nX-Name: ann" + end + b"Authorization: Bearer T-all\r\n"
    found = keyed.client().raw(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert found.split(b" ", 2)[1] == b"400"


def test_a_refused_key_is_a_line_in_the_log_and_the_key_is_not_in_it(
    keyed: Running, caplog: pytest.LogCaptureFixture
) -> None:
    keyed.client("T-guessed")("POST", "/v1/tasks", [CALL])
    keyed.client("T-view")("POST", "/v1/tasks", [CALL])
    lines = [record.getMessage() for record in caplog.records if record.name == "liteq.gateway"]
    assert lines == ["/v1/tasks: 401 for nobody at 127.0.0.1", "/v1/tasks: 403 for viewer at 127.0.0.1"]
    assert "guessed" not in caplog.text


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_an_idempotency_key_of_another_length_is_refused(local: Running, key: str) -> None:
    assert local.client()("POST", "/v1/tasks", [CALL], {"Idempotency-Key": key}).status == 400


@pytest.mark.parametrize("wait", ["21", "-1", "nan", "inf", "1e999", "x", ""])
def test_a_wait_that_is_none_is_refused(local: Running, wait: str) -> None:
    found = local.client()("GET", f"/v1/tasks/a?wait={wait}")
    assert (found.status, found.json["detail"]) == (400, "wait is a number from 0 to 20")


def test_a_body_that_nobody_asked_for_is_no_second_request(local: Running) -> None:
    inner = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(inner)
    assert local.client().raw(head + inner).count(b"HTTP/1.1 ") == 1


def test_two_keys_are_none(keyed: Running) -> None:
    head = b"DELETE /v1/tasks/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    keys = b"Authorization: Bearer T-view\r\nAuthorization: Bearer T-all\r\n"
    assert keyed.client().raw(head + keys + b"\r\n").split(b" ", 2)[1] == b"401"


def test_a_connection_serves_one_request_after_the_other(app: LiteQ, local: Running) -> None:
    one = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert local.client().raw(one * 3 + last).count(b'{"status":"ok"}') == 4
