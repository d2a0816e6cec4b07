"""A sensitive argument goes through the queue, and no door through which a person may look shows it."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from liteq import chain, chord, group, signals
from liteq.cli import main
from liteq.cli.watching.events import _line
from liteq.exceptions import NotSerializable
from liteq.monitor import documents
from liteq.testing import drain, start_worker

SECRET, HARMLESS = "hunter2", "ann of the accounts"
VAULT = """
import threading
from liteq import LiteQ

app = LiteQ("vault", broker="sqlite:///vault.db", durability="relaxed", set_as_current=False)
app.conf.task_send_sent_event = True
app.gate, app.entered, app.seen = threading.Event(), threading.Event(), []

@app.task(name="login", bind=True, shared=False, sensitive=("password",), max_retries=0)
def login(self, user, password, then="return"):
    app.seen.append((repr(self.request), self.request.argsrepr, self.request.kwargsrepr))
    if then == "hold":
        app.entered.set()
        assert app.gate.wait(60)
    if then == "fail":
        raise ValueError("no such account")
    if then == "retry":
        raise self.retry(countdown=0)

@app.task(name="tell")
def tell(call): ...
"""


@pytest.fixture
def vault(tmp_path):
    """The module `vault` in the working directory; it is forgotten afterwards."""
    (tmp_path / "vault.py").write_text(VAULT)
    path = list(sys.path)
    sys.path.insert(0, str(tmp_path))
    app = importlib.import_module("vault").app
    yield app
    app.gate.set()
    app.close()
    sys.path[:] = path
    del sys.modules["vault"]


@pytest.fixture
def noted(vault):
    """The texts that signals and logs had while the messages went through."""
    texts = {"publish": [], "received": [], "revoked": [], "log": []}
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: texts["log"].append(logging.Formatter("%(message)s").format(record))
    root = logging.getLogger("liteq")
    level = root.level

    def published(headers, **_named):
        texts["publish"].append(repr({**headers}))

    def received(request, **_named):
        texts["received"].append(repr((request, request.info(), request.info(safe=True))))

    def revoked(request, **_named):
        texts["revoked"].append(repr((request, request.argsrepr, request.kwargsrepr)))

    signals.before_task_publish.connect(published)
    signals.after_task_publish.connect(published)
    signals.task_received.connect(received)
    signals.task_revoked.connect(revoked)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield texts
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def world(vault, noted):
    """Messages with the argument in every state, and a worker that runs one of them."""
    login = vault.tasks["login"]
    vault.add_periodic_task(3600, login.s(HARMLESS, password=SECRET))
    vault.add_periodic_task(3600, login.s(HARMLESS, password=SECRET + SECRET))
    receiver = vault.events.Receiver(handlers={"*": lambda event: None})
    state, events = vault.events.State(), []
    dead, exhausted, done = (login.delay(HARMLESS, SECRET, then=then) for then in ("fail", "retry", "return"))
    nested = vault.tasks["tell"].delay(login.s(HARMLESS, password=SECRET))
    mapped = login.map([SECRET]).delay()
    after = chain(login.si("ann", "").set(countdown=3600), login.s(SECRET)).delay()
    unknown = vault.send_task("elsewhere", (HARMLESS,), {"password": SECRET}, queue="elsewhere")
    with start_worker(vault, pool="threads", concurrency=2, hostname="one@here", task_events=True):
        for sent in (dead, exhausted, done, nested, mapped):
            sent.get(timeout=60, propagate=False)
        later = login.apply_async((HARMLESS, SECRET), countdown=3600)
        revoked = login.apply_async((HARMLESS,), {"password": SECRET}, expires=-1)
        revoked.get(timeout=60, propagate=False)
        running = login.delay(HARMLESS, password=SECRET, then="hold")
        assert vault.entered.wait(60)
        for event in _captured(receiver, running.id):
            events.append(event)
            state.event(event)
        yield SimpleNamespace(
            app=vault, login=login, noted=noted, events=events, state=state, dead=dead.id, exhausted=exhausted.id,
            done=done.id, nested=nested.id, mapped=mapped.id, unknown=unknown.id, later=later.id, after=after.id,
            running=running.id,
        )  # fmt: skip
        vault.gate.set()


def _captured(receiver, last):
    """The events up to the start of the message `last`."""
    for event in receiver.itercapture(timeout=60):
        yield event
        if event["type"] == "task-started" and event["uuid"] == last:
            return


def cli(*args, app=True):
    done = CliRunner().invoke(
        main, [*(("-A", "vault") if app else ("-b", "sqlite:///vault.db")), *args], prog_name="liteq"
    )
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout + done.stderr


def messages(*args, **options):
    return cli("inspect", "messages", *args, "--args", **options)


def asked(app):
    inspect = app.control.inspect(timeout=60)
    return repr([inspect.active(), inspect.scheduled(), inspect.reserved()])


def error_of(call, *args, **kwargs):
    with pytest.raises((TypeError, NotSerializable)) as caught:
        call(*args, **kwargs)
    return repr(caught.value) + str(caught.value)


class Opaque:
    def __repr__(self):
        return SECRET


# Each door by name: what it shows of the world. In those of the first table are the arguments that are not sensitive.
WITH_ARGUMENTS = {
    "liteq dead list, of what was retried in vain": lambda w: cli("dead", "list"),
    "liteq result, of what was retried in vain": lambda w: cli("result", w.exhausted, "--traceback"),
    "liteq dead show": lambda w: cli("dead", "show", w.dead),
    "liteq dead show --json": lambda w: cli("dead", "show", w.dead, "--json"),
    "liteq dead show, of what was retried in vain": lambda w: cli("dead", "show", w.exhausted),
    "liteq inspect messages --args": lambda w: messages(w.done, w.dead, w.later),
    "liteq inspect messages --args, a call among the arguments": lambda w: messages(w.nested),
    "liteq inspect messages --state --args": lambda w: messages("--state", "scheduled"),
    "liteq inspect active --json": lambda w: cli("inspect", "active", "-t", "20", "--json"),
    "liteq inspect scheduled": lambda w: cli("inspect", "scheduled", "-t", "20"),
    "liteq inspect query_task": lambda w: cli("inspect", "query_task", w.later, w.running, "-t", "20"),
    "app.control.inspect": lambda w: asked(w.app),
    "liteq report": lambda w: cli("report"),
    "liteq inspect conf": lambda w: cli("inspect", "conf", "-t", "20"),
    "liteq inspect report": lambda w: cli("inspect", "report", "-t", "20"),
    "app.bugreport": lambda w: w.app.bugreport(),
    "events": lambda w: repr(w.events),
    "liteq events --dump": lambda w: "\n".join(_line(event, {}) for event in w.events),
    "liteq events, its screen's state": lambda w: repr([task.info() for task in w.state.tasks.values()]),
    "headers of a message that is published": lambda w: "".join(w.noted["publish"]),
    "task_received": lambda w: "".join(w.noted["received"]),
    "task_revoked": lambda w: "".join(w.noted["revoked"]),
    "the request in its task": lambda w: repr(w.app.seen),
    "the log": lambda w: "\n".join(w.noted["log"]),
    "a signature": lambda w: repr(w.login.si(HARMLESS, SECRET)),
    "a chain": lambda w: repr(chain(w.login.si(HARMLESS, SECRET), w.login.si(HARMLESS, password=SECRET))),
    "a group": lambda w: repr(group(w.login.s(HARMLESS, password=SECRET), w.login.s(HARMLESS, password=SECRET))),
    "a chord": lambda w: repr(chord([w.login.si(HARMLESS, SECRET)], w.app.tasks["tell"].s())),
    "the names of periodic tasks": lambda w: repr(list(w.app.conf.beat_schedule)),
}  # fmt: skip
WITHOUT = {
    "liteq inspect active": lambda w: cli("inspect", "active", "-t", "20"),
    "liteq dead show, without the app": lambda w: cli("dead", "show", w.dead, app=False),
    "liteq inspect messages --args, without the app": lambda w: cli(
        "inspect", "messages", w.later, "--args", app=False
    ),
    "liteq inspect messages --args, of a task that is not here": lambda w: cli(
        "inspect", "messages", w.unknown, "--args"
    ),
    "liteq inspect messages --args, of a map": lambda w: messages(w.mapped),
    "liteq inspect messages": lambda w: cli("inspect", "messages", w.later),
    "liteq result": lambda w: cli("result", w.dead, "--traceback") + cli("result", w.done),
    "liteq call, arguments that do not fit": lambda w: cli("call", "login", "-k", json.dumps({"pasword": SECRET})),
    "liteq call, arguments that are no JSON": lambda w: cli("call", "login", "-k", f"{{'password': '{SECRET}'}}"),
    "liteq call, arguments that are no object": lambda w: cli("call", "login", "-k", f'["{SECRET}"]'),
    "liteq doctor": lambda w: cli("doctor"),
    "liteq status": lambda w: cli("status", "-t", "20"),
    "web: a task": lambda w: documents.task(w.app, w.dead).body.decode() + documents.task(w.app, w.later).body.decode(),
    "web: the queue": lambda w: documents.status(w.app).body.decode(),
    "a call that does not fit": lambda w: error_of(w.login.delay, password=SECRET, user=1, nobody=SECRET),
    "an argument that has no form": lambda w: error_of(w.login.delay, HARMLESS, password=Opaque()),
    "a call that gets another argument in front": lambda w: repr(chain(w.login.si("x", ""), w.login.s(SECRET))),
    "a message that gets another argument in front": lambda w: messages(w.after),
    "a map": lambda w: repr(w.login.map([SECRET])),
}


def test_no_door_shows_it(world):
    for name, door in WITH_ARGUMENTS.items():
        text = door(world)
        assert HARMLESS in text, f"{name} shows no arguments: {text}"
        assert SECRET not in text, f"{name}: {text}"
    for name, door in WITHOUT.items():
        text = door(world)
        assert text
        assert SECRET not in text, f"{name}: {text}"
        assert HARMLESS not in text, f"{name}: {text}"


def test_the_routes_of_an_application_do_not_show_it(world):
    httpx = pytest.importorskip("httpx", reason="the environment `dashboard` has it, and runs this test too")
    pytest.importorskip("starlette", reason="likewise")
    from liteq_fastapi import status_app

    async def ask():
        transport = httpx.ASGITransport(status_app(world.app, local=True), client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [await client.get(path) for path in (f"/tasks/{world.dead}", "/status")]

    for answer in asyncio.run(ask()):
        assert answer.status_code == 200
        assert SECRET not in answer.text
        assert HARMLESS not in answer.text


def test_what_is_hidden_for_want_of_the_task_says_so(world):
    assert "hidden: this process does not know the task 'login'" in cli("dead", "show", world.dead, app=False)
    assert "name the app with -A" in messages(world.later, app=False)
    assert "does not know the task" not in cli("dead", "show", world.dead)


def test_tasks_that_cannot_be_imported_do_not_close_the_view(world, monkeypatch):
    monkeypatch.setattr(world.app, "import_tasks", lambda: (_ for _ in ()).throw(OSError("no such share")))
    del world.app.tasks["login"]
    shown = cli("dead", "show", world.dead)
    assert "importing the app's tasks raised OSError: no such share" in shown
    assert SECRET not in shown


def test_the_text_that_a_sender_gives_stands_for_the_arguments(vault):
    sent = vault.tasks["login"].apply_async((HARMLESS, SECRET), argsrepr="('ann', <hidden>)")
    elsewhere = vault.send_task("elsewhere", (SECRET,), argsrepr="(<card>,)")
    assert "('ann', <hidden>)" in messages(sent.id)
    assert "(<card>,)" in messages(elsewhere.id, app=False)


def test_periodic_tasks_that_read_alike_are_two(vault):
    login = vault.tasks["login"]
    names = [vault.add_periodic_task(60, login.si(HARMLESS, password)) for password in ("a", "b", "a")]
    assert names[0] == names[2] == "login('ann of the accounts', '***')"
    assert names[1] == "login('ann of the accounts', '***') (2)"


@pytest.mark.parametrize("sensitive", [("card",), True])
def test_a_model_that_is_not_valid_does_not_tell_its_input(vault, sensitive):
    pydantic = pytest.importorskip("pydantic")

    class Card(pydantic.BaseModel):
        number: int

    def charge(card): ...

    charge.__annotations__["card"] = Card
    vault.task(name="charge", pydantic=True, sensitive=sensitive)(charge).delay(card={"number": SECRET})
    drain(vault)
    [dead] = json.loads(cli("dead", "list", "--json"))
    assert "number" in dead["error"]["message"]
    assert SECRET not in cli("dead", "show", dead["id"])
