"""`self.request`: what Celery's messages carry, field by field (compared with runs of Celery 5.7 on Redis)."""

from __future__ import annotations

import pytest

from liteq import LiteQ, chain, chord, group, states
from liteq.testing import drain

FIELDS = ("chain", "callbacks", "errbacks", "chord", "group", "group_index")


@pytest.fixture
def app(tmp_path):
    app = LiteQ("fields", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    app.seen = {}

    @app.task(name="probe", bind=True)
    def probe(self, *args, name="?"):
        app.seen[name] = {field: getattr(self.request, field) for field in FIELDS}

    @app.task(name="keep", bind=True)
    def keep(self, *args, fields=()):
        app.seen["kept"] = {field: getattr(self.request, field) for field in fields}

    @app.task(name="stop", bind=True)
    def stop(self, how):
        if how == "None":
            self.request.chain = self.request.callbacks = None
        elif how == "emptied":
            self.request.chain.clear()
            self.request.callbacks.clear()
        else:
            _ = self.request.chain, self.request.callbacks

    yield app
    app.close()


def probe(app, name):
    return app.tasks["probe"].si(name=name).set(task_id=name)


def names(signatures):
    return signatures and [sig["kwargs"].get("name") for sig in signatures]


@pytest.mark.celery("Tasks: request", "`request.chain` is what is left of the chain, the next one last")
def test_chain(app):
    chain(probe(app, "a"), probe(app, "b"), probe(app, "c")).apply_async()
    drain(app)
    assert {name: names(seen["chain"]) for name, seen in app.seen.items()} == {"a": ["c", "b"], "b": ["c"], "c": []}
    step = app.seen["b"]["chain"][0]
    assert (step["task"], step["args"], step["immutable"], step["options"]["task_id"]) == ("probe", [], True, "c")


def test_a_chord_in_a_chain_is_its_group_and_its_body(app):
    chain(probe(app, "a"), group(probe(app, "g0"), probe(app, "g1")), probe(app, "b")).apply_async()
    drain(app)
    body, header = app.seen["a"]["chain"]
    assert (header["subtask_type"], names(header["kwargs"]["tasks"])) == ("group", ["g0", "g1"])
    assert body["kwargs"]["name"] == app.seen["g0"]["chord"]["kwargs"]["name"] == "b"


@pytest.mark.celery("Tasks: request", "`request.callbacks`, `request.errbacks` are its links, and no part of its chain")
def test_links(app):
    sig = probe(app, "a")
    sig.link(probe(app, "then"))
    sig.link_error(probe(app, "else"))
    (sig | probe(app, "b")).apply_async()
    drain(app)
    a = app.seen["a"]
    assert (names(a["callbacks"]), names(a["errbacks"]), names(a["chain"])) == (["then"], ["else"], ["b"])
    assert app.seen["then"] == dict.fromkeys(FIELDS) | {"chain": []}


@pytest.mark.celery("Tasks: request", "`request.group`, `group_index` and `chord` of a member")
def test_members(app):
    chord([probe(app, "h0"), probe(app, "h1")], probe(app, "body")).apply_async()
    group(probe(app, "g0"), probe(app, "g1")).apply_async(task_id="the-group")
    drain(app)
    assert [app.seen[name]["group_index"] for name in ("h0", "h1", "g0", "g1")] == [0, 1, 0, 1]
    assert app.seen["h1"]["chord"]["kwargs"]["name"] == "body"
    assert (app.seen["g1"]["group"], app.seen["g1"]["chord"]) == ("the-group", None)


def test_what_replaced_a_task_sees_what_follows_that(app):
    @app.task(name="split", bind=True)
    def split(self):
        raise self.replace(probe(app, "new"))

    chain(split.si(), probe(app, "b")).apply_async()
    drain(app)
    assert names(app.seen["new"]["chain"]) == ["b"]


@pytest.mark.celery("Tasks: request", "A task that sets `self.request.chain` to None, or empties it, ends its chain")
@pytest.mark.parametrize("how", ["None", "emptied"])
def test_a_task_ends_its_chain(app, how):
    stop = app.tasks["stop"].si(how)
    stop.link(probe(app, "then"))
    result = chain(stop, probe(app, "b"), probe(app, "c")).apply_async()
    drain(app)
    assert (app.seen, result.parent.parent.state) == ({}, states.SUCCESS)
    assert result.state == states.FAILURE  # Celery: PENDING, for ever


def test_looking_ends_nothing(app):
    chain(app.tasks["stop"].si("looked at"), probe(app, "b")).apply_async()
    drain(app)
    assert list(app.seen) == ["b"]


@pytest.mark.celery("Tasks: request", "argsrepr, correlation_id, expires, stamps, timelimit, headers: as Celery's")
def test_options(app):
    fields = ("argsrepr", "correlation_id", "expires", "stamps", "timelimit", "headers", "reply_to", "delivery_info")
    app.tasks["keep"].apply_async(
        (1,), {"fields": fields}, task_id="k", expires=600, headers={"h": 1}, soft_time_limit=5, reply_to="me"
    )
    drain(app)
    kept = app.seen["kept"]
    assert isinstance(kept.pop("expires"), str)
    assert kept.pop("delivery_info").items() >= {"exchange": "", "routing_key": "celery", "priority": 0}.items()
    assert kept == {
        "argsrepr": "(1,)", "correlation_id": "k", "stamps": {}, "timelimit": (None, 5), "headers": {"h": 1},
        "reply_to": "me",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "timelimit"), [({}, (9, 7)), ({"soft_time_limit": 5}, (9, 5)), ({"time_limit": 20}, (20, 7))]
)
def test_limits_of_the_task_are_among_those_of_a_message(app, call, timelimit):
    app.task(name="limited", bind=True, time_limit=9, soft_time_limit=7)(
        lambda self: app.seen.update(kept=self.request.timelimit)
    )
    app.tasks["limited"].apply_async(**call)
    drain(app)
    assert app.seen["kept"] == timelimit


@pytest.mark.celery(
    "Tasks: request", "`delivery_info['routing_key']` of a task that a route gave a routing key", differs="its queue"
)
def test_the_routing_key_is_the_queue(app):
    app.conf.task_routes = {"keep": {"queue": "mail", "routing_key": "mail.urgent"}}
    app.tasks["keep"].delay(fields=("delivery_info",))
    drain(app, queues=["mail"])
    assert app.seen["kept"]["delivery_info"]["routing_key"] == "mail"


def test_a_correlation_id_of_the_senders(app):
    app.tasks["keep"].apply_async(kwargs={"fields": ("correlation_id",)}, correlation_id="order-7")
    drain(app)
    assert app.seen["kept"] == {"correlation_id": "order-7"}


def test_limits_of_a_task_that_is_run_here(app):
    app.conf.update(task_time_limit=30, task_soft_time_limit=20)
    keep = app.tasks["keep"]
    keep.apply(kwargs={"fields": ("timelimit", "time_limit", "soft_time_limit")})
    assert app.seen["kept"] == {"timelimit": None, "time_limit": 30, "soft_time_limit": 20}


@pytest.mark.celery("Tasks: retrying", "`retry(max_retries=)` holds against autoretry_for too")
def test_the_last_word_on_retries(app):
    tries = []

    @app.task(name="stubborn", bind=True, max_retries=10, autoretry_for=(LookupError,), default_retry_delay=0)
    def stubborn(self):
        tries.append(self.request.retries)
        self.retry(exc=LookupError("no"), countdown=0, max_retries=0 if len(tries) == 3 else None)

    result = stubborn.delay()
    drain(app)
    assert (tries, result.state) == ([0, 1, 2], states.FAILURE)
    assert isinstance(result.result, LookupError)
