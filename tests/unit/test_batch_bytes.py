"""A batch as bytes: what is written comes back, also from a version before, and nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.exceptions import BadMessage
from liteq.message import Batch, Exclusion, Group, Message, RunSpec
from liteq.serialization.batch import dump_batch, load_batch

# A row of the outbox as it was written when the form had no version: kept as it is, for it may wait during an upgrade.
RECORDED = (
    b'{"messages":[{"id":"01a2215a-db58-7422-bd3d-a08bd5fc05a6","task":"shop.orders.tasks.pay","payload":"[[1,'
    b'\\"\xc3\x83\xc2\xa9\\"],{}]","queue":"celery","priority":3,"due_ms":null,"expires_ms":null,"options":'
    b'"{\\"headers\\":{\\"h\\":1}}","unique_key":null,"root_id":null,"parent_id":null,"awaits":null,"group_id":"g",'
    b'"position":0,"flags":1,"delay_ms":null},{"id":"m2","task":"t","payload":"\xc2\x80\\u0005K\\u0001.","queue":"celery",'
    b'"priority":0,"due_ms":null,"expires_ms":null,"options":null,"unique_key":null,"root_id":null,"parent_id":null,'
    b'"awaits":"g","group_id":null,"position":0,"flags":0,"delay_ms":5}],"groups":[{"id":"g","size":1,"group_id":null,'
    b'"position":0,"root_id":"r"}]}'
)

text, number = st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**53), 2**53)
OF_TYPE = {"str": text, "bytes": st.binary(), "int": number, "None": st.none()}
OF_TYPE["tuple[str, ...]"] = st.lists(text).map(tuple)
OF_TYPE["Exclusion"] = st.builds(
    Exclusion, st.sampled_from(["keep", "postpone"]), *[st.none() | number] * 3, st.booleans()
)
BUDGET = st.tuples(text, number, st.none() | number, st.none() | st.floats(0, 1), st.integers(0, 1))
OF_TYPE["RunSpec"] = st.builds(
    RunSpec, text, st.none() | number, st.lists(text).map(tuple), st.none() | text, st.lists(BUDGET).map(tuple)
)


def any_of(kind):
    """Objects of a dataclass with any values in all of its fields, those that are added later too."""
    values = {f.name: [OF_TYPE[name] for name in f.type.split(" | ")] for f in dataclasses.fields(kind)}
    return st.builds(kind, **{name: st.one_of(several) for name, several in values.items()})


@given(st.builds(Batch, st.lists(any_of(Message), max_size=3), st.lists(any_of(Group), max_size=3)))
def test_a_batch_comes_back_as_it_was(batch):
    assert load_batch(dump_batch(batch)) == batch


def test_a_row_of_before_there_was_a_version_is_read():
    assert load_batch(RECORDED) == Batch(
        [
            Message(
                "01a2215a-db58-7422-bd3d-a08bd5fc05a6", "shop.orders.tasks.pay", '[[1,"é"],{}]'.encode(), priority=3,
                options=b'{"headers":{"h":1}}', group_id="g", flags=1,
            ),
            Message("m2", "t", b"\x80\x05K\x01.", awaits="g", delay_ms=5),
        ],
        [Group("g", 1, root_id="r")],
    )  # fmt: skip


def test_a_field_that_is_not_there_has_its_default():
    data = b'{"version": 1, "messages": [{"id": "1", "task": "t", "payload": "[[],{}]"}], "groups": []}'
    assert load_batch(data) == Batch([Message("1", "t", b"[[],{}]")])


def test_what_has_its_default_is_not_written():
    document = json.loads(dump_batch(Batch([Message("1", "t", b"[]")])))
    assert document == {"version": 1, "messages": [{"id": "1", "task": "t", "payload": "[]"}], "groups": []}


def with_message(**fields):
    return json.dumps({"version": 1, "messages": [fields], "groups": []}).encode()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b'{"version": 2, "messages": [], "groups": []}', "version 2; this liteq reads up to 1: update liteq"),
        (b'{"version": [], "messages": [], "groups": []}', r"a batch of version \[\];"),
        (with_message(id="1", task="t", payload="[]", colour="red"), "field 'colour', which this liteq does not"),
        (with_message(id="1", task="t"), "a message lacks its 'payload'"),
        (with_message(id="1", task="t", payload=5), "nothing of liteq's wrote them"),
        (with_message(id="1", task="t", payload="\u2028"), "nothing of liteq's wrote them"),
        (b'{"version": 1, "messages": [5], "groups": []}', "nothing of liteq's wrote them"),
        (b'{"version": 1}', "nothing of liteq's wrote them"),
        (b"[]", "nothing of liteq's wrote them"),
        (b"\x80\x05", "nothing of liteq's wrote them"),
    ],
)  # fmt: skip
def test_what_is_no_batch_of_this_version_is_refused(data, error):
    with pytest.raises(BadMessage, match=error):
        load_batch(data)
