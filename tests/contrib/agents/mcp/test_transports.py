"""`liteq mcp` as it is started: over stdio and HTTP, in both protocols, with tokens, and refusals at the door."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from liteq import LiteQ
from liteq.cli import main

from .conftest import MODES, Failed

PROGRAM = """
import os
from liteq import LiteQ

print("this module prints, as some do")
app = LiteQ("proj", broker=f"sqlite:///{os.environ['QUEUE']}")


@app.task(name="shop.add")
def add(x: int, y: int = 2) -> int:
    return x + y


@app.task(name="shop.mail", queue="mail")
def mail(to: str) -> str:
    return to
"""
LITEQ = [sys.executable, "-m", "liteq", "-A", "proj"]
SENT = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
OPTIONS = ("--allow", "view,pause,delete", "--tasks", "shop.a*")
TOKENS = {
    "secret-of-ann": {"name": "ann", "rights": ["view"], "queues": ["mail*"]},
    "secret-of-bob": {"name": "bob", "rights": ["admin"]},
}
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the program and its queue."""
    place = tmp_path_factory.mktemp("proj")
    (place / "proj.py").write_text(PROGRAM)
    with closing(LiteQ("proj", broker=f"sqlite:///{place / 'q.db'}")) as sender:
        sender.send_task("shop.add", [1])
    return place


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    contrib = Path(__file__).resolve().parents[4] / "contrib"
    paths = os.pathsep.join([str(place), str(contrib), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "QUEUE": str(place / "q.db"), "PYTHONPATH": paths}


@pytest.fixture(scope="module")
def served(environment: dict[str, str]) -> Iterator[str]:
    """The address of a server for this machine."""
    with over_http(environment, *OPTIONS) as at:
        yield at


@pytest.fixture(scope="module")
def guarded(environment: dict[str, str], place: Path) -> Iterator[str]:
    """The address of a server that other machines reach, for those that have a token."""
    tokens = place / "tokens.json"
    tokens.write_text(json.dumps(TOKENS))
    tokens.chmod(0o600)
    with over_http(environment, "--token-file", str(tokens), at="0.0.0.0:0") as at:
        yield at.replace("0.0.0.0", "127.0.0.1")


def over_stdio(environment: dict[str, str], *options: str):
    from mcp import StdioServerParameters

    return StdioServerParameters(command=LITEQ[0], args=[*LITEQ[1:], "mcp", *options], env=environment)


@contextmanager
def over_http(environment: dict[str, str], *options: str, at: str = "127.0.0.1:0") -> Iterator[str]:
    """The address of a server, which is its first line."""
    command = [*LITEQ, "mcp", "--http", at, *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def looks_and_acts(mine):
    assert {"overview", "run_add", "act_on_queue"} <= mine.tools().keys()
    assert "send_task" not in mine.tools()
    sent = mine.call("run_add", x=2)["id"]
    assert mine.call("task", id=sent)["why"]["reason"] == "no_worker"
    assert mine.call("act_on_queue", queue="celery", action="purge")["purged"] > 0
    assert len(mine.asked) == 1


@pytest.mark.parametrize("mode", MODES)
def test_an_agent_looks_and_acts_over_stdio(environment, connected, mode):
    looks_and_acts(connected(over_stdio(environment, *OPTIONS), mode=mode, person=True))


def test_an_interrupt_ends_a_server_that_reads_stdin(environment):
    """As in a terminal, where no next line comes."""
    with subprocess.Popen(
        [*LITEQ, "mcp"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        begin = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        server.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin}) + "\n")
        server.stdin.flush()
        assert '"id":1' in server.stdout.readline()
        server.send_signal(signal.SIGINT)
        try:
            assert server.wait(30) == -signal.SIGINT
        finally:
            server.kill()


def test_an_agent_looks_and_acts_over_http(served, connected):
    for mode in MODES:
        looks_and_acts(connected(served, mode=mode, person=True))


def test_tokens_are_the_dashboards_each_with_its_rights_and_queues(guarded, connected):
    for headers in ({}, {"authorization": "Bearer no"}, {"authorization": "Basic secret-of-bob"}):
        refused = httpx.post(guarded, json=SENT, headers={**JSON, **headers})
        assert (refused.status_code, refused.text) == (401, "Unauthorized")
    for mode in MODES:
        ann = connected(_with_token(guarded, "secret-of-ann"), mode=mode)
        assert "send_task" not in ann.tools()
        assert {one["queue"] for one in ann.call("search", q="task:shop.*")["items"]} <= {"mail"}
        bob = connected(_with_token(guarded, "secret-of-bob"), mode=mode, person=True)
        sent = bob.call("send_task", name="shop.mail", args=["x"])
        other = bob.call("send_task", name="shop.add", args=[1])
        assert ann.call("task", id=sent["id"])["queue"] == "mail"
        with pytest.raises(Failed, match="there is no task"):
            ann.call("task", id=other["id"])


@asynccontextmanager
async def _with_token(at: str, token: str):
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as client,
        streamable_http_client(at, http_client=client) as streams,
    ):
        yield streams


def test_a_session_of_one_token_is_none_for_another(guarded):
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    first = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    began = httpx.post(guarded, json=first, headers={**JSON, "authorization": "Bearer secret-of-ann"})
    session = {"mcp-session-id": began.headers["mcp-session-id"]}
    stolen = httpx.post(guarded, json=SENT, headers={**JSON, **session, "authorization": "Bearer secret-of-bob"})
    assert stolen.status_code == 404


def test_a_foreign_host_or_origin_is_refused(served):
    for headers, status in (
        ({"host": "evil.example"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"host": "localhost.evil.example:80"}, 421),
    ):
        assert httpx.post(served, json=SENT, headers={**JSON, **headers}).status_code == status


def test_a_server_that_others_reach_takes_no_page_of_another_site(guarded):
    sent = {**JSON, "authorization": "Bearer secret-of-ann", "host": "queue.example"}
    assert httpx.post(guarded, json=SENT, headers={**sent, "origin": "https://evil.example"}).status_code == 403
    assert httpx.post(guarded, json=SENT, headers={**sent, "origin": "https://queue.example"}).status_code != 403


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--http", "0.0.0.0:0"], "0.0.0.0 lets other machines connect: give --token-file"),
        (["--http", "here"], "--http takes HOST:PORT"),
        (["--allow", "veiw"], "unknown right 'veiw'"),
        (["--yes", "delet"], "no person is asked before 'delet'; did you mean 'delete'?"),
        (["--tasks", "shop.ad"], "no task of the app fits 'shop.ad'; did you mean 'shop.add'?"),
        (["--workflows", "x*"], "no workflow of the app fits 'x*'"),
        (["--token-file", "t.json"], "--token-file goes with --http"),
        (["--http", "127.0.0.1:0", "--token-file", "open.json"], "others may read the file of tokens"),
    ],
)
def test_what_is_wrong_is_refused_at_the_start(environment, place, tmp_path, monkeypatch, capfd, options, error):
    (tmp_path / "open.json").write_text("{}")
    (tmp_path / "open.json").chmod(0o644)
    monkeypatch.setenv("QUEUE", environment["QUEUE"])
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, "proj", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["-A", "proj", "mcp", *options])
    told = capfd.readouterr()
    assert ended.value.code not in {0, None}
    assert error in told.err
    assert told.out == ""


def entry_of(words: list[str], **run: Any) -> dict[str, Any]:
    """The entry for a client that is printed for these words of a command."""
    printed = subprocess.run([*words, "--print-config"], capture_output=True, text=True, check=True, **run)
    found: dict[str, Any] = json.loads(printed.stdout)["mcpServers"]["liteq"]
    return found


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        (["-A", "proj"], {}),
        (["-b", "sqlite:///q.db"], {}),
        (["--workdir", "below", "-b", "sqlite:///../q.db"], {}),
        ([], {"LITEQ_BROKER_URL": "sqlite:///q.db"}),
    ],
)
def test_the_entry_for_a_client_starts_this_server(environment, place, connected, options, variables):
    """From another folder, with nothing in its environment but what the entry has: as a client does it."""
    from mcp import StdioServerParameters

    (place / "below").mkdir(exist_ok=True)
    with closing(LiteQ("proj", broker=f"sqlite:///{place / 'q.db'}")) as sender:
        sent = sender.send_task("shop.add", [1]).id
    given = {**environment, "PYTHONPATH": environment["PYTHONPATH"].partition(os.pathsep)[2], **variables}
    entry = entry_of([*LITEQ[:3], *options, "mcp"], env=given, cwd=place)
    env = {**entry["env"], "QUEUE": environment["QUEUE"]}
    mine = connected(StdioServerParameters(command=entry["command"], args=entry["args"], env=env, cwd="/"))
    assert mine.call("task", id=sent)["state"] == "PENDING"


def test_the_entry_for_a_client_that_connects_is_the_address(environment, place):
    command = [*LITEQ, "mcp", "--http", "127.0.0.1:8766"]
    assert entry_of(command, env=environment, cwd=place) == {"type": "http", "url": "http://127.0.0.1:8766/mcp"}
    guarded = entry_of([*command, "--token-file", "tokens.json"], env=environment, cwd=place)
    assert guarded["headers"] == {"Authorization": "Bearer TOKEN"}
