"""Serializers, compression and signed pickles: what is written is read again, and what must not be read is not."""

from __future__ import annotations

import os
import pickle
import sqlite3
import zlib
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from liteq import LiteQ, chord, group, signals
from liteq.exceptions import ImproperlyConfigured, NotSerializable, PayloadTooLarge, SecurityError
from liteq.policy.arguments import Parameters
from liteq.serialization import Content, as_json, decode, encode, kind_of, register, unregister
from liteq.serialization.content import Owner
from liteq.testing import drain

KEY = "0123456789abcdef0123456789abcdef"
ALL = ("json", "pickle", "yaml", "msgpack")


def content(**options):
    return Content(**{"accept": ALL, "keys": [KEY], "limit": 1 << 20, **options})


def written(value, form="json", compressed=None, **options):
    return content(**options).write(value, form, compressed, what="a value")


@pytest.fixture
def app(tmp_path):
    app = LiteQ("proj", broker=f"sqlite:///{tmp_path}/tasks.db", accept_content=ALL, pickle_key=KEY)
    yield app
    app.close()


# -- json, as kombu has it -------------------------------------------------------------------------------------------

KOMBU = [
    datetime(2024, 1, 2, 3, 4, 5, 678901),
    datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    date(2024, 2, 29),
    time(12, 30, 15),
    time(12, 30, tzinfo=UTC),
    Decimal("1.10"),
    Decimal("NaN"),
    UUID("12345678123456781234567812345678"),
    b"text",
    b"\xff\x00",
    2**80,
    {"nested": [Decimal("3.3"), {"when": date(2024, 1, 1)}]},
]


@pytest.mark.parametrize("value", KOMBU, ids=repr)
def test_what_kombu_s_json_brings_back_as_itself_comes_back_as_itself(value):
    back = decode(encode(value, what="a value"))
    assert repr(back) == repr(value)
    assert type(back) is type(value)


def test_the_tags_are_kombu_s_so_what_kombu_wrote_is_read():
    kombu = b'{"__type__": "uuid", "__value__": {"hex": "12345678123456781234567812345678"}}'
    assert decode(kombu) == UUID("12345678123456781234567812345678")
    assert decode(b'{"__type__": "date", "__value__": "2024-02-29"}') == date(2024, 2, 29)
    assert encode(Decimal("1.5"), what="a value") == b'{"__type__":"decimal","__value__":"1.5"}'


# -- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [None, "gzip", "zlib", "bzip2", "lzma", "zstd"])
@pytest.mark.parametrize("form", ALL)
def test_a_value_comes_back_by_every_serializer_and_compression(form, compressed):
    if form in {"yaml", "msgpack"}:
        pytest.importorskip(form)
    if compressed == "zstd":
        pytest.importorskip("compression.zstd" if os.sys.version_info >= (3, 14) else "backports.zstd")
    value = [["x" * 2000, 1, 2.5, None, True], {"k": {"deep": [1, 2, 3]}}]
    data = written(value, form, compressed)
    assert content().read(data) == value
    if compressed:
        assert len(data) < 600


def test_plain_json_is_stored_as_it_is():
    assert written([[1], {}]) == b"[[1],{}]"
    assert kind_of(b"[[1],{}]") is None


def test_an_envelope_says_what_it_is_without_being_opened():
    assert "application/x-python-serialize, gzip" in kind_of(written({1, 2}, "pickle", "gzip"))


# -- pickle ----------------------------------------------------------------------------------------------------------


class Touch:
    """A pickle that does something when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_pickle_without_a_key_is_refused_at_enqueue(tmp_path):
    app = LiteQ("proj", broker=f"sqlite:///{tmp_path}/tasks.db", task_serializer="pickle")

    @app.task
    def add(x):
        return x

    with pytest.raises(ImproperlyConfigured, match="pickle_key"):
        add.delay({1, 2})
    assert not app.storage.reader.counts()
    app.close()


def test_a_key_that_could_be_guessed_is_refused():
    with pytest.raises(ImproperlyConfigured, match="at least 16"):
        content(keys=["short"])


def test_a_pickle_without_our_signature_is_never_loaded(tmp_path):
    there = tmp_path / "touched"
    evil = b"\x01application/x-python-serialize;\x00" + b"\0" * 32 + pickle.dumps(Touch(there))
    with pytest.raises(SecurityError, match="signature"):
        content().read(evil)
    with pytest.raises(SecurityError, match="pickle_key"):
        content(keys=[]).read(evil)
    assert not there.exists()


@pytest.mark.parametrize("place", ["head", "mac", "body"])
def test_a_pickle_that_was_changed_anywhere_is_not_loaded(place):
    data = bytearray(written({1, 2}, "pickle", "gzip"))
    at = {"head": data.index(b"gzip"), "mac": data.index(b"\0") + 3, "body": len(data) - 3}[place]
    data[at] ^= 1
    with pytest.raises(SecurityError):
        content().read(bytes(data))


def test_an_older_key_still_reads():
    data = written({1, 2}, "pickle")
    assert content(keys=["another-secret-of-enough-length", KEY]).read(data) == {1, 2}


def test_what_is_not_accepted_is_not_read():
    with pytest.raises(SecurityError, match="accept_content"):
        content(accept=["json"]).read(written({1, 2}, "pickle"))


def test_a_tampered_pickle_becomes_a_dead_letter_that_says_so(app, tmp_path):
    there = tmp_path / "touched"

    @app.task(serializer="pickle")
    def add(x):
        return 1

    result = add.delay({1, 2})
    evil = b"\x01application/x-python-serialize;\x00" + b"\0" * 32 + pickle.dumps([[Touch(there)], {}])
    with sqlite3.connect(tmp_path / "tasks.db") as file:
        file.execute("UPDATE liteq_messages SET payload = ?", (evil,))
    file.close()
    assert drain(app) == 1
    assert result.state == "FAILURE"
    with pytest.raises(SecurityError, match="signature of a pickle is wrong"):
        result.get()
    assert not there.exists()


# -- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", ["gzip", "bzip2", "lzma"])
def test_a_decompression_bomb_is_refused_before_it_is_large(compressed):
    bomb = written("x" * 50_000_000, "json", compressed, limit=1 << 30)
    assert len(bomb) < 100_000
    with pytest.raises(PayloadTooLarge, match="max_payload_bytes"):
        content(limit=1 << 20).read(bomb)


def test_the_limit_is_on_what_is_not_compressed_yet():
    with pytest.raises(PayloadTooLarge):
        written("x" * 2_000_000, "json", "gzip")


@pytest.mark.parametrize("form", ["pickle", "yaml", "msgpack"])
def test_nesting_is_limited_in_both_directions(form):
    if form != "pickle":
        pytest.importorskip(form)
    deep = value = []
    for _ in range(50):
        value.append([])
        value = value[0]
    with pytest.raises(NotSerializable, match="max_nesting"):
        written(deep, form, max_depth=20)
    data = written(deep, form)
    with pytest.raises(NotSerializable, match="max_nesting"):
        content(max_depth=20).read(data)


def test_yaml_aliases_are_not_read():
    pytest.importorskip("yaml")
    laughs = b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n"
    with pytest.raises(Exception, match="aliases"):
        content().read(b"\x01application/x-yaml;\x00" + laughs)
    shared = [1]
    assert content().read(written([shared, shared], "yaml")) == [[1], [1]]


def test_yaml_makes_plain_values_alone():
    pytest.importorskip("yaml")
    with pytest.raises(Exception, match="could not determine a constructor"):
        content().read(b"\x01application/x-yaml;\x00!!python/object/apply:os.system ['true']")


@pytest.mark.parametrize("data", [b"\x01", b"\x01x", b"\x01application/x-yaml\x00", b"\x01application/json;gzip\x00abc",
                                  b"\x01nobody/knows;\x00abc", b"\x01application/json;nobody\x00abc"])  # fmt: skip
def test_a_damaged_envelope_is_an_error_of_liteq_s(data):
    with pytest.raises(Exception) as caught:
        content().read(data)
    assert type(caught.value).__module__ == "liteq.exceptions"


def test_compressed_data_that_ends_too_soon_is_refused():
    data = b"\x01application/json;gzip\x00" + zlib.compress(b"[1,2,3]")[:-6]
    with pytest.raises(SecurityError, match="ends too soon"):
        content().read(data)


# -- registering -----------------------------------------------------------------------------------------------------


@pytest.fixture
def reversed_text():
    register("reversed", lambda v: repr(v)[::-1], lambda text: eval(text[::-1]), "application/x-reversed", "utf-8")
    yield "reversed"
    unregister("reversed")


def test_a_serializer_of_one_s_own(app, reversed_text):
    app.conf.accept_content = ["reversed"]

    @app.task(serializer=reversed_text)
    def size(x):
        return len(x)

    result = size.delay({1, 2, 3})
    drain(app)
    assert result.get() == 3
    assert result.args == [{1, 2, 3}]


def test_liteq_s_own_cannot_be_replaced():
    with pytest.raises(ValueError, match="liteq's own"):
        register("pickle", pickle.dumps, pickle.loads, "application/x-python-serialize", "binary")


@pytest.mark.parametrize("watched", [False, True])
def test_a_wrong_name_in_accept_content_is_told_before_a_message_is_sent(app, watched):
    """A receiver of after_task_publish gets the content, whose names were looked up only then: it was sent already."""
    app.conf.accept_content = ["json", "pikle"]

    @app.task
    def nothing(): ...

    def look(**_):
        """Take all that the signal tells."""

    if watched:
        signals.after_task_publish.connect(look)
    try:
        for send in (
            nothing.delay,
            nothing.delay,
            lambda: nothing.apply_async(countdown=5),
            chord([nothing.s()], nothing.si()).delay,
        ):
            with pytest.raises(ImproperlyConfigured, match=r"'pikle' .nearest: 'pickle'"):
                send()
    finally:
        signals.after_task_publish.disconnect(look)
    assert app.storage.reader.counts() == []
    app.conf.accept_content = ["json"]
    assert nothing.delay().state == "PENDING"


def test_an_unknown_serializer_is_refused_at_enqueue(app):
    @app.task
    def nothing(): ...

    with pytest.raises(ImproperlyConfigured, match="msgpack"):
        nothing.apply_async(serializer="msgpck")
    with pytest.raises(ImproperlyConfigured, match="gzip"):
        nothing.apply_async(compression="gzp")


# -- in an app -------------------------------------------------------------------------------------------------------


def test_a_call_may_choose_its_serializer_and_compression(app):
    seen = []

    @app.task
    def keep(value):
        seen.append(value)

    keep.apply_async(({1, 2},), serializer="pickle", compression="gzip")
    keep.s({3}).set(serializer="pickle").apply_async()
    assert drain(app) == 2
    assert seen == [{1, 2}, {3}]


OTHERS = {"another message": ("m2", "t"), "another task": ("m1", "u"), "no message": None}


@pytest.mark.parametrize("place", OTHERS)
def test_a_signed_pickle_is_read_as_the_arguments_of_its_own_message_alone(place):
    signed = content().write([[{1}], {}], "pickle", None, what="a value", owner=Owner("m1", "t"))
    assert content().read(signed, Owner("m1", "t")) == [[{1}], {}]
    other = OTHERS[place]
    with pytest.raises(SecurityError, match="copied from another message"):
        content().read(signed, None if other is None else Owner(*other))


def test_a_signed_result_is_no_argument():
    signed = content(purpose="result").write({1}, "pickle", None, what="a value")
    assert content(purpose="result").read(signed) == {1}
    with pytest.raises(SecurityError, match="copied"):
        content().read(signed)


def test_a_pickle_that_is_copied_to_another_row_becomes_a_dead_letter(app):
    @app.task(name="kept", serializer="pickle")
    def kept(numbers):
        return sum(numbers)

    @app.task(name="other", serializer="pickle")
    def other(numbers):
        return max(numbers)

    source, target = kept.delay({1, 2}), other.delay({3})
    with app.storage.driver.write() as tx:
        copied = tx.execute("SELECT payload FROM liteq_messages WHERE id = ?", (source.id,))[0][0]
        tx.execute("UPDATE liteq_messages SET payload = ? WHERE id = ?", (copied, target.id))
    drain(app)
    assert source.get() == 3
    with pytest.raises(SecurityError, match="copied from another message"):
        target.get()


def test_a_retry_with_other_arguments_is_signed_for_its_message(app):
    @app.task(bind=True, serializer="pickle")
    def shrink(self, numbers):
        if len(numbers) > 1:
            raise self.retry(args=(set(list(numbers)[1:]),), countdown=0)
        return len(numbers)

    result = shrink.delay({1, 2, 3})
    drain(app)
    assert result.get() == 1


def test_results_may_be_pickled_and_go_through_a_chord(app):
    app.conf.result_serializer = "pickle"
    app.conf.result_compression = "gzip"

    @app.task
    def twice(x):
        return {x, 2 * x}

    @app.task(serializer="pickle")
    def union(sets, more=frozenset()):
        return set().union(*sets, more)

    result = chord(group(twice.s(i) for i in (1, 5)), union.s({100}))()
    drain(app)
    assert result.get() == {1, 2, 5, 10, 100}
    assert result.parent.get() == [{1, 2}, {5, 10}]


def test_a_state_of_the_task_s_own_with_a_pickled_meta(app):
    app.conf.result_serializer = "pickle"

    @app.task(bind=True)
    def work(self):
        self.update_state(state="HALFWAY", meta={"seen": {1, 2}})
        return work.AsyncResult(self.request.id).state, work.AsyncResult(self.request.id).info

    result = work.delay()
    drain(app)
    assert result.get() == ("HALFWAY", {"seen": {1, 2}})


def test_a_retry_keeps_the_serializer_of_its_message(app):
    @app.task(bind=True)
    def again(self, value):
        if self.request.retries:
            return sorted(value)
        raise self.retry(args=[{*value, 9}], countdown=0)

    result = again.apply_async(({1},), serializer="pickle")
    drain(app)
    assert result.get() == [1, 9]


def test_eager_tasks_go_through_the_serializer_too(app):
    app.conf.task_always_eager = True

    @app.task
    def size(value):
        return len(value)

    assert size.apply_async(({1, 2},), serializer="pickle").get() == 2
    with pytest.raises(NotSerializable):
        size.delay({1, 2})


def test_a_part_of_a_joined_result_is_json(app):
    assert as_json(b"[1]") == b"[1]"
    inner = written({1}, "pickle")
    assert content().read(b"[" + as_json(inner) + b",2]") == [{1}, 2]
    assert decode(as_json(inner))["__type__"] == "liteq.content"


# -- sensitive arguments ---------------------------------------------------------------------------------------------


def test_sensitive_arguments_are_not_shown(app):
    @app.task(bind=True, sensitive=("password",), max_retries=0)
    def login(self, user, password, **more):
        return self.request.argsrepr, self.request.kwargsrepr, repr(self.request)

    for result in (login.delay("ann", "s3cret"), login.delay("ann", password="s3cret")):
        drain(app)
        assert "s3cret" not in str(result.get())
        assert "***" in str(result.get())
        assert "ann" in str(result.get())


def test_a_sender_may_say_how_arguments_are_shown(app):
    @app.task(bind=True)
    def login(self, user, password):
        return self.request.argsrepr, self.request.kwargsrepr

    result = login.apply_async(("ann", "s3cret"), argsrepr="('ann', <hidden>)", kwargsrepr="{}")
    drain(app)
    assert result.get() == ["('ann', <hidden>)", "{}"]


@pytest.mark.parametrize(
    ("args", "in_front", "shown"),
    [
        (("ann", "s3cret"), (0, 0), ["ann", "***"]),
        (("s3cret",), (1, 1), ["***"]),
        (("ann",), (0, 1), ["***"]),  # it may come to stand at the second
        (("s3cret",), (2, 2), ["***"]),  # at no parameter
        ((), (0, 1 << 30), []),
    ],
)
def test_an_argument_is_hidden_where_it_may_come_to_stand_at_a_sensitive_parameter(args, in_front, shown):
    parameters = Parameters("login", lambda user, password: None)
    assert parameters.redacted(("password",), args, {}, in_front=in_front)[0] == shown


def test_an_argument_that_goes_to_no_parameter_is_hidden():
    parameters = Parameters("login", lambda user, password="": None)
    assert parameters.redacted("password", ("ann", "x", "s3cret"), {"user": "ann"}) == (
        ["ann", "***", "***"],
        {"user": "ann"},
    )
    assert parameters.redacted(("password",), ("ann",), {"pasword": "s3cret"})[1] == {"pasword": "***"}
