"""Each way of sending gives a message its keys, by which its limits and its turn are counted."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from liteq import LiteQ, chain, chord, group
from liteq.beat import Beat
from liteq.message import LATER, Batch, Lease, Message, RetryAt, new_id
from liteq.operating import Actor, act
from liteq.policy.keyed import NOT_YET
from liteq.testing import FakeClock
from liteq.worker.chores.late_keys import LateKeys


@pytest.fixture
def app(tmp_path):
    with LiteQ("keys", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False) as app:
        yield app


@pytest.fixture
def bill(app):
    @app.task(name="bill", max_concurrency=1, concurrency_key="user:{user_id}", fair_key="{tenant}", limits=["stripe"])
    def bill(user_id, tenant="acme"): ...

    return bill


def keys(app, id_):
    with app.storage.driver.read() as tx:
        ((text,),) = tx.execute("SELECT keys FROM liteq_messages WHERE id = ?", (id_,))
    return text and (text if text == NOT_YET else json.loads(text))


OF_7 = ["acme", "task:bill:user:7", "stripe"]


def test_one_call(app, bill):
    assert keys(app, bill.delay(7).id) == OF_7
    assert keys(app, bill.apply_async((7,), {"tenant": "eve"}).id) == ["eve", *OF_7[1:]]
    assert keys(app, app.send_task("bill", (7,)).id) == OF_7


def test_bulk_and_canvases(app, bill):
    assert [keys(app, id_) for id_ in app.enqueue_many(bill, [(7,), (8,)])] == [
        OF_7,
        ["acme", "task:bill:user:8", "stripe"],
    ]
    assert [keys(app, id_) for id_ in app.enqueue_many([bill.s(7), bill.s(7).set(fair_key="all")])] == [
        OF_7,
        ["all", *OF_7[1:]],
    ]
    assert next(keys(app, one.id) for one in group(bill.s(7), bill.s(8))().results) == OF_7
    done = chain(bill.si(7), bill.si(8))()
    assert keys(app, done.parent.id) == OF_7
    assert keys(app, done.id) == ["acme", "task:bill:user:8", "stripe"]
    assert keys(app, chord([bill.s(7)], bill.si(7))().id) == OF_7


def test_a_part_that_takes_a_result_gets_its_keys_when_that_is_there(app, bill):
    @app.task(name="find")
    def find(): ...

    done = chain(find.s(), bill.s(tenant="eve"))()
    assert keys(app, done.id) == NOT_YET
    assert keys(app, find.delay().id) is None


def test_a_task_without_them_stays_plain(app):
    @app.task(name="plain", max_concurrency=3, global_rate_limit="100/d")
    def plain(): ...

    assert app.publisher.defaults("plain").is_plain
    assert keys(app, plain.delay().id) is None


def test_options_of_a_call(app, bill):
    call = bill.apply_async((7,), limits=("a", "b:{tenant}"), fair_key="one")
    assert keys(app, call.id) == ["one", "task:bill:user:7", "a", "b:acme"]
    assert keys(app, bill.apply_async((7,), limits=()).id) == OF_7[:2]

    @app.task(name="other")
    def other(region): ...

    assert keys(app, other.s("eu").set(limits=["api:{region}"]).apply_async().id) == [None, "api:eu"]
    with pytest.raises(ValueError, match=r"limits: there is no parameter 'regoin'.*did you mean 'region'"):
        other.apply_async(("eu",), limits=["{regoin}"])
    with pytest.raises(TypeError, match=r"unknown option 'fare_key' .did you mean 'fair_key'"):
        other.apply_async(("eu",), fare_key="x")


def test_a_call_may_have_a_limit_for_its_own_key(app, bill):
    bill.apply_async((7,), max_concurrency=5)
    limit = app.limits.get("task:bill:user:7")
    assert (limit.key, limit.concurrent) == ("task:bill:user:7", 5)
    with pytest.raises(ValueError, match="max_concurrency without concurrency_key is of all calls"):
        app.send_task("unknown", (7,), max_concurrency=5)


def test_an_unknown_task_by_names_alone(app):
    assert keys(app, app.send_task("unknown", (), {"user": 7}, fair_key="{user}").id) == ["7"]


def test_a_wrong_option_is_refused_where_the_task_is_declared(app):
    with pytest.raises(ValueError, match=r"task 'a': concurrency_key: .* 'usr'.*did you mean 'user'"):

        @app.task(name="a", concurrency_key="{usr}")
        def a(user): ...

    with pytest.raises(TypeError, match="did you mean 'max_concurrency'"):

        @app.task(name="b", max_concurency=3)
        def b(user): ...

    assert "a" not in app.tasks


def test_a_method_of_the_task_is_no_parameter(app):
    @app.task(name="bound", bind=True, fair_key="{user}")
    def bound(self, user): ...

    assert keys(app, bound.delay(7).id) == ["7"]
    with pytest.raises(ValueError, match="no parameter 'self'"):

        @app.task(name="c", bind=True, fair_key="{self}")
        def c(self, user): ...


def test_what_an_argument_is(app):
    @dataclass
    class Order:
        shop: str

    @app.task(name="ship", fair_key="{order.shop}", serializer="pickle")
    def ship(order): ...

    app.conf.accept_content = ["json", "pickle"]
    app.conf.unsafe_pickle = True
    assert app.publisher.defaults("ship").keyed.keys_of((Order("books"),), {}) == '["books"]'


def test_what_is_edited_and_sent_again_has_the_keys_of_its_arguments(app, bill):
    old = bill.apply_async((7,), fair_key="one", limits=["a"])
    done = act(app, "resend", old.id, by=Actor("ann", "", "test"), args=[8])
    assert keys(app, done.id) == ["one", "task:bill:user:8", "a"]


def test_entries_of_beat(tmp_path):
    clock = FakeClock()
    with LiteQ("beat", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False, clock=clock) as app:

        @app.task(name="bill", fair_key="{user}")
        def bill(user): ...

        app.conf.beat_schedule = {
            "each": {"task": "bill", "schedule": 60.0, "args": (7,), "options": {"limits": ["a"]}}
        }
        beat = Beat(app)
        beat.turn()
        clock.advance(60)
        beat.tick()
        with app.storage.driver.read() as tx:
            assert tx.execute("SELECT keys FROM liteq_messages") == [('["7","a"]',)]


# -- workflows -------------------------------------------------------------------------------------------------------


def test_runs_have_keys_too(app, bill):
    @app.workflow(name="flow", max_concurrency=2, concurrency_key="user:{user}", fair_key="{user}", limits=["llm"])
    def flow(user): ...

    of_7 = ["7", "task:flow:user:7", "llm"]
    assert keys(app, flow.start(7).id) == of_7
    assert keys(app, flow.delay(user=7).id) == of_7
    assert keys(app, flow.apply_async((7,), limits=["a"]).id) == ["7", "task:flow:user:7", "a"]
    assert keys(app, group(flow.s(7))().results[0].id) == of_7
    with pytest.raises(ValueError, match=r"workflow 'wrong': fair_key: there is no parameter 'usr'"):

        @app.workflow(name="wrong", fair_key="{usr}")
        def wrong(user): ...


# -- when a worker first meets it ------------------------------------------------------------------------------------


def lease_of(app, id_):
    """The message as the claim shows it to `LateKeys`."""
    with app.storage.driver.read() as tx:
        ((payload, options, flags, awaits),) = tx.execute(
            "SELECT payload, options, flags, awaits FROM liteq_messages WHERE id = ?", (id_,)
        )
    fields = dict.fromkeys(Lease._fields)
    return Lease(**{**fields, "id": id_, "task": "bill", "payload": payload, "options": options, "flags": flags,
                    "awaits": awaits})  # fmt: skip


def test_what_was_sent_without_the_code(app, bill):
    id_ = new_id()
    app.storage.enqueue(Batch([Message(id_, "bill", b'[[7],{"tenant":"eve"}]')]))
    late = LateKeys(app)
    assert late.tasks == {"bill"}
    assert json.loads(late.of(lease_of(app, id_))) == ["eve", *OF_7[1:]]


def test_what_took_a_result(app, bill):
    @app.task(name="find")
    def find(): ...

    late, id_ = LateKeys(app), chain(find.s(), bill.s(tenant="eve").set(limits=["a"]))().id
    assert json.loads(late.of(lease_of(app, id_)._replace(input=b"7"))) == ["eve", OF_7[1], "a"]
    assert late.of(lease_of(app, id_)._replace(input=LATER)) is None


@pytest.mark.parametrize("bind", [False, True])
@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({"fair_key": lambda user: f"u{user}"}, ["u7"]),
        ({"max_concurrency": 1, "concurrency_key": lambda user: f"u{user}"}, [None, "task:bill:u7"]),
        ({"global_rate_limit": "1/s", "rate_key": lambda user: f"u{user}"}, [None, "task:bill:u7"]),
        ({"limits": lambda user: f"u{user}"}, [None, "u7"]),
    ],
)
def test_a_function_gets_the_arguments_and_no_task_before_them(app, options, made, bind):
    app.task(name="bill", bind=bind, **options)((lambda self, user: None) if bind else (lambda user: None))
    assert keys(app, app.tasks["bill"].delay(7).id) == made


def test_a_worker_s_parent_runs_no_code_for_it(app):
    @app.task(name="bill", fair_key=lambda user: pytest.fail("called"), limits=["stripe"])
    def bill(user): ...

    @app.task(name="free", fair_key=lambda user: pytest.fail("called"))
    def free(user): ...

    id_ = new_id()
    app.storage.enqueue(Batch([Message(id_, "bill", b"[[7],{}]")]))
    assert LateKeys(app).tasks == {"bill"}
    assert LateKeys(app).of(lease_of(app, id_)) == '[null,"stripe"]'


@pytest.mark.parametrize("payload", [b"[[],{}]", b'[[{"a":1}],{}]', b"nonsense", b"\x01sealed"])
def test_arguments_that_make_no_key_hold_up_nothing(app, bill, payload):
    id_ = new_id()
    app.storage.enqueue(Batch([Message(id_, "bill", payload)]))
    assert LateKeys(app).of(lease_of(app, id_)) is None


def test_why_no_key_can_be_made_is_told_once_of_each_task(app, bill, caplog):
    ids = [new_id() for _ in range(3)]
    app.storage.enqueue(Batch([Message(id_, "bill", b"[[],{}]") for id_ in ids]))
    late = LateKeys(app)
    assert {late.of(lease_of(app, id_)) for id_ in ids} == {None}
    assert caplog.text.count("is not held by its keys, which cannot be made") == 1


# -- a retry ---------------------------------------------------------------------------------------------------------


def test_a_retry_keeps_its_keys_or_has_those_of_its_new_arguments(app, bill):
    sent = bill.delay(7)
    with app.storage.driver.write() as tx:
        tx.execute("UPDATE liteq_messages SET state = 'leased', token = 5")
    lease = lease_of(app, sent.id)._replace(seq=1, token=5, queue="celery", priority=0, retries=0, crashes=0)
    app.storage.settle([(lease, RetryAt(0))])
    assert keys(app, sent.id) == OF_7
    with app.storage.driver.write() as tx:
        tx.execute("UPDATE liteq_messages SET state = 'leased', token = 5")
    app.storage.settle([(lease, RetryAt(0, keys='["x"]'))])
    assert keys(app, sent.id) == ["x"]
