"""A vault seals each value by a codec, and opens it again; the waist at the driver does so for every verb."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ, Unique
from liteq.exceptions import CodecError, ImproperlyConfigured
from liteq.execution.hushed import hush, quoted
from liteq.message import Batch, Message
from liteq.serialization import decode, decode_error, encode_error, kind_of
from liteq.serialization.failures import exception_from
from liteq.serialization.sealing import Private, Vault, key_of, open_vault
from liteq.storage.housekeeping.reseal import VALUES
from liteq.storage.sealed import WRITES, seal
from liteq.storage.sending.periodic import Entry
from liteq.storage.storage import Storage, open_storage

from ..codecs import Backwards

SECRET = b'[["the secret"],{}]'


def vault(**options: Any) -> Vault:
    return open_vault(Backwards(**options), "tests:Backwards")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def storage(path: Path) -> Iterator[Storage]:
    made = opened(path, vault())
    yield made
    made.close()


def opened(path: Path, by: Vault | None) -> Storage:
    made = open_storage(f"sqlite:///{path}")
    if by is not None:
        seal(made.driver, by)
    made.migrate()
    return made


def raw(storage: Storage, sql: str, *params: Any) -> list[Any]:
    """Rows as they stand in the file, of this process's own connection."""
    with storage.driver.read() as tx:
        return getattr(tx, "_tx", tx).execute(sql, params)  # type: ignore[no-any-return]


def message(id_: str = "a", **more: Any) -> Message:
    return Message(id_, "shop.pay", SECRET, **more)


# -- a vault -----------------------------------------------------------------------------------------------------------


def test_a_value_comes_back_from_the_vault_and_cannot_be_read_in_it() -> None:
    sealed = vault().seal(SECRET)
    assert b"secret" not in sealed
    assert key_of(sealed) == "k1"
    assert vault().open(sealed) == SECRET


def test_what_is_sealed_is_not_sealed_again() -> None:
    sealed = vault().seal(SECRET)
    assert vault(key_id="k2").seal(sealed) == sealed


def test_a_value_of_before_the_codec_is_read_as_it_is() -> None:
    assert vault().open(SECRET) == SECRET
    assert key_of(SECRET) is None


def test_a_text_is_sealed_as_a_text() -> None:
    sealed = vault().seal_text("card 4711 refused")
    assert "4711" not in sealed
    assert sealed.isprintable() or sealed.startswith("\x01")
    assert (key_of(sealed), vault().open_text(sealed)) == ("k1", "card 4711 refused")


def test_words_that_only_begin_as_a_seal_does_are_no_error_of_python_s() -> None:
    with pytest.raises(CodecError, match="no sealed text"):
        Vault(Backwards()).open_text("\x01sealed;2026-11;abc")


def test_an_older_key_opens_what_it_has_sealed() -> None:
    assert vault(key_id="k2").open(vault(key_id="k1").seal(SECRET)) == SECRET


def test_a_missing_key_is_named() -> None:
    sealed = vault(key_id="k2").seal(SECRET)
    with pytest.raises(CodecError, match=r"sealed under the key 'k2'.*stays in the file") as told:
        vault(known=("k1",)).open(sealed)
    assert told.value.key_id == "k2"


def test_each_reader_says_that_a_value_is_sealed_and_under_which_key() -> None:
    sealed = vault().seal(SECRET)
    with pytest.raises(CodecError, match="'k1'"):
        decode(sealed)
    with pytest.raises(CodecError, match="'k1'"):
        LiteQ("x", set_as_current=False).content.read(sealed)
    assert "sealed under the key k1" in str(kind_of(sealed))
    assert "'k1'" in decode_error(sealed).message


def test_a_run_does_not_go_on_by_an_error_that_it_cannot_open() -> None:
    """It would take the branch of another error, and not come back from it."""
    sealed = vault().seal(encode_error(ValueError("no funds")))
    with pytest.raises(CodecError, match="'k1'"):
        exception_from(sealed)


class NoDecode:
    def encode(self, data: bytes) -> bytes:
        return data


class Lossy:
    def encode(self, data: bytes) -> bytes:
        return data

    def decode(self, _data: bytes) -> bytes:
        return b"{}"


class Broken:
    def __init__(self) -> None:
        raise RuntimeError("no keys here")


class BadId(Backwards):
    def __init__(self) -> None:
        super().__init__(key_id="two words")


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        (NoDecode, "has no decode"),
        (Lossy, "does not come back"),
        (Broken, "cannot be made: RuntimeError: no keys here"),
        (BadId, "has the key_id 'two words'"),
    ],
)
def test_a_codec_that_does_not_work_is_refused_before_anything_is_written(codec: Any, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"payload_codec: .*{words}"):
        open_vault(codec, "tests:codec")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("tests.nowhere:Codec", "payload_codec = 'tests.nowhere:Codec': there is no module 'tests.nowhere'; it names"),
        ("json:Codec", "payload_codec = 'json:Codec': json has no 'Codec'; it names a class"),
        ("json", "payload_codec: json is a module; name its class: json:Codec"),
    ],
)
def test_a_codec_that_is_nowhere_is_refused(tmp_path: Path, given: str, words: str) -> None:
    app = LiteQ("x", broker=f"sqlite:///{tmp_path}/q.db", payload_codec=given, set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match=words):
        _ = app.storage


# -- the waist ---------------------------------------------------------------------------------------------------------


def test_no_value_of_a_message_stands_in_its_row(storage: Storage) -> None:
    storage.enqueue(Batch([message(options=b'{"headers":{"token":"the secret"}}')], []))
    ((payload, options),) = raw(storage, "SELECT payload, options FROM liteq_messages")
    assert key_of(payload) == key_of(options) == "k1"
    record = storage.reader.find("a")
    assert record is not None
    assert (record.payload, record.options) == (SECRET, b'{"headers":{"token":"the secret"}}')


def test_large_arguments_stand_sealed_beside_their_row(storage: Storage) -> None:
    large = b'[["' + b"the secret " * 1_000 + b'"],{}]'
    storage.enqueue(Batch([Message("a", "shop.pay", large)], []))
    assert raw(storage, "SELECT payload FROM liteq_messages") == [(b"",)]
    ((body,),) = raw(storage, "SELECT body FROM liteq_bodies")
    assert key_of(body) == "k1"
    record = storage.reader.find("a")
    assert record is not None
    assert record.payload == large


def test_a_statement_of_the_program_s_own_is_left_alone() -> None:
    assert WRITES.search("INSERT INTO liteq_messages (id) VALUES (?)")
    assert WRITES.search("UPDATE liteq_runs SET now = ? WHERE run = ?")
    assert not WRITES.search("INSERT INTO orders SELECT ?, id FROM liteq_messages")
    assert not WRITES.search("UPDATE liteq_stats SET buckets = ?")


def test_every_column_of_values_is_known_to_the_rotation(storage: Storage) -> None:
    """A new column of bytes is sealed by itself; it must be in the table of what is written anew as well."""
    in_the_file = {
        (table, column)
        for (table,) in raw(storage, "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'liteq_%'")
        if WRITES.search(f"INTO {table}")
        for column, kind in raw(storage, "SELECT name, type FROM pragma_table_info(?)", table)
        if kind == "BLOB"
    }
    assert in_the_file == {(table, column) for table, one in VALUES.items() for column in one.columns}


def test_a_missing_key_fails_no_transaction_and_changes_nothing(storage: Storage, path: Path) -> None:
    storage.enqueue(Batch([message()], []))
    other = opened(path, vault(key_id="k2", known=("k2",)))
    record = other.reader.find("a")
    assert record is not None
    assert key_of(record.payload) == "k1"
    other.close()
    assert storage.reader.find("a").payload == SECRET  # type: ignore[union-attr]


class Failing(Backwards):
    def encode(self, data: bytes) -> bytes:
        if b"secret" in data:
            raise OSError("the key is gone")
        return super().encode(data)


def test_a_codec_that_fails_refuses_the_send_and_nothing_is_written(path: Path) -> None:
    storage = opened(path, open_vault(Failing, "tests:Failing"))
    with pytest.raises(CodecError, match="tests:Failing cannot encode: OSError: the key is gone; nothing was written"):
        storage.enqueue(Batch([message()], []))
    assert storage.reader.find("a") is None
    storage.close()


# -- without the codec -------------------------------------------------------------------------------------------------


def test_a_process_without_the_codec_writes_nothing_in_the_open(storage: Storage, path: Path) -> None:
    storage.enqueue(Batch([message()], []))
    plain = opened(path, None)
    with pytest.raises(CodecError, match="set `payload_codec` as its workers do; nothing was written"):
        plain.enqueue(Batch([message("b")], []))
    assert plain.reader.find("b") is None
    plain.close()


def test_a_process_without_the_codec_is_not_let_work(storage: Storage, path: Path) -> None:
    storage.enqueue(Batch([message()], []))
    with pytest.raises(ImproperlyConfigured, match=re.escape(f"the values in {path} are sealed by a payload codec")):
        open_storage(f"sqlite:///{path}").migrate(works=True)


def test_a_queue_without_a_codec_is_not_touched(path: Path) -> None:
    storage = opened(path, None)
    storage.enqueue(Batch([message()], []))
    assert raw(storage, "SELECT payload FROM liteq_messages") == [(SECRET,)]
    assert type(storage.driver).write.__module__ == "liteq.storage.sqlite.base"
    storage.close()


# -- writing anew ------------------------------------------------------------------------------------------------------


def test_a_rotation_writes_old_keys_and_open_values_anew(path: Path) -> None:
    plain = opened(path, None)
    plain.enqueue(Batch([message("a")], []))
    plain.close()
    first = opened(path, vault(key_id="k1"))
    first.enqueue(Batch([message("b")], []))
    first.close()
    storage = opened(path, vault(key_id="k2"))
    storage.enqueue(Batch([message("c")], []))
    standing = storage.values.count()["liteq_messages.payload"]
    assert standing == (3, 1, 1, frozenset({"k1"}))
    last = list(storage.values.reseal())[-1]
    assert (last.rows, dict(last.unopened)) == (2, {})
    assert storage.values.count()["liteq_messages.payload"] == (3, 3, 0, frozenset())
    assert {storage.reader.find(id_).payload for id_ in "abc"} == {SECRET}  # type: ignore[union-attr]
    assert list(storage.values.reseal())[-1].rows == 0
    storage.close()


def test_a_rotation_leaves_what_it_cannot_open_and_tells_of_it(storage: Storage, path: Path) -> None:
    storage.enqueue(Batch([message("a"), message("b")], []))
    other = opened(path, vault(key_id="k2", known=("k2",)))
    other.enqueue(Batch([message("c")], []))
    last = list(other.values.reseal())[-1]
    other.close()
    assert (last.rows, dict(last.unopened)) == (0, {"k1": 2})
    assert storage.reader.find("a").payload == SECRET  # type: ignore[union-attr]


def test_more_rows_than_one_look_are_all_written_anew(path: Path) -> None:
    first = opened(path, vault(key_id="k1"))
    first.enqueue_many(message(f"m{i}") for i in range(450))
    first.close()
    storage = opened(path, vault(key_id="k2"))
    assert list(storage.values.reseal())[-1].rows == 450
    assert storage.values.count()["liteq_messages.payload"].present == 450
    storage.close()


# -- what is compared, what is logged ----------------------------------------------------------------------------------


def app_with(path: Path, codec: Any) -> LiteQ:
    return LiteQ("x", broker=f"sqlite:///{path}", payload_codec=codec, set_as_current=False)


def test_an_entry_of_beat_stays_due_whichever_key_its_schedule_is_under(path: Path) -> None:
    before = Entry("daily", "1", b"[3600]", SECRET, next_due_ms=1_000)
    for key_id, entry in (("k1", before), ("k2", before._replace(source="2", signature=b"{}", next_due_ms=9_000))):
        storage = opened(path, vault(key_id=key_id))
        assert storage.schedules.put([entry]) == 1
        record = storage.schedules.find("daily")
        storage.close()
    assert record is not None
    assert (record.next_due_ms, record.signature) == (1_000, b"{}")


def test_a_unique_key_is_a_digest_and_still_excludes(path: Path) -> None:
    app = app_with(path, Backwards)

    @app.task(name="x.pay", unique=Unique(by="order:{name}"))
    def pay(name: str) -> None: ...

    first = pay.delay("alice@example.org")
    assert pay.delay("alice@example.org").id == first.id
    assert pay.delay("bob@example.org").id != first.id
    given = pay.apply_async(("carol",), unique=False, unique_key="carol@example.org")
    assert pay.apply_async(("carol",), unique=False, unique_key="carol@example.org").id == given.id
    keys = [str(key) for (key,) in raw(app.storage, "SELECT unique_key FROM liteq_messages")]
    assert not [key for key in keys if "example" in key]
    assert "#" + hashlib.sha256(b"pepperorder:alice@example.org").hexdigest() in keys[0]
    app.close()


def test_the_log_of_such_an_app_names_classes_and_frames(caplog: pytest.LogCaptureFixture) -> None:
    logger, number = logging.getLogger("liteq.execution"), 4700 + 11
    hush(True)
    try:
        with caplog.at_level("INFO", logger="liteq.execution"):
            try:
                raise ValueError(f"card {number} refused")
            except ValueError as exc:
                logger.exception("%s failed: %s", "shop.pay", exc)
            logger.info("%s succeeded: %.200s", "shop.pay", quoted({"card": 4711}))
            logger.error("%s waits: %s", "shop.pay", CodecError("the key 'k1' is missing"))
    finally:
        hush(False)
    text = caplog.text
    assert "4711" not in text
    assert "shop.pay failed: ValueError (sealed)" in text
    assert "test_sealing.py" in text  # the frame
    assert "shop.pay succeeded: (sealed)" in text
    assert "the key 'k1' is missing" in text  # liteq's own words stay


def test_the_log_of_any_other_app_is_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="liteq.execution"):
        logging.getLogger("liteq.execution").info("succeeded: %s", quoted({"card": 4711}))
    assert "{'card': 4711}" in caplog.text


def test_a_private_text_is_an_ordinary_one_where_nothing_is_sealed(path: Path) -> None:
    storage = opened(path, None)
    with storage.driver.write() as tx:
        tx.execute(
            "INSERT INTO liteq_causes (id, task, queue, exception, frame, message, first_ms, last_ms, n, release) "
            "VALUES ('c', 't', 'q', 'E', '', ?, 0, 0, 1, '')", (Private("words"),)
        )  # fmt: skip
    assert raw(storage, "SELECT message FROM liteq_causes") == [("words",)]
    storage.close()
