"""The tree of errors: what a caller may catch, and what the messages say."""

from __future__ import annotations

import builtins
import pickle
import re

import pytest

from liteq import exceptions as e
from liteq.serialization import decode_error, encode_error


def test_every_error_is_exported_and_drawn_in_the_tree():
    classes = {
        name
        for name, kind in vars(e).items()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == e.__name__
    } - {"EncodeError"}
    assert classes <= set(e.__all__)
    for name in classes - {"CeleryError"}:
        assert re.search(rf"\b{name}\b", e.__doc__), name


def test_every_error_is_named_by_one_module_in_documents_and_pickles():
    """In any file that its class is written in: an error that is stored is read by another version of liteq."""
    kinds = [kind for name in e.__all__ if isinstance(kind := getattr(e, name), type)]
    assert {kind.__module__ for kind in kinds} == {"liteq.exceptions"}
    assert [pickle.loads(pickle.dumps(kind)) for kind in kinds] == kinds


@pytest.mark.parametrize(
    ("kind", "caught_as"),
    [
        (e.TimeoutError, builtins.TimeoutError),
        (e.NotRegistered, KeyError),
        (e.NotSerializable, TypeError),
        (e.NotSerializable, e.BadMessage),
        (e.PayloadTooLarge, e.BadMessage),
        (e.StorageBusy, e.StorageError),
        (e.Retry, e.TaskPredicate),
        (e.Ignore, e.TaskPredicate),
        (e.MaxRetriesExceededError, e.TaskError),
    ],
)
def test_an_error_can_be_caught_as(kind, caught_as):
    assert issubclass(kind, caught_as)


def test_a_soft_time_limit_is_not_caught_with_liteqs_errors():
    assert not issubclass(e.SoftTimeLimitExceeded, e.LiteqError)


def test_an_unknown_task_is_answered_with_the_nearest():
    error = e.NotRegistered("app.ad", ["app.add", "app.mul"])
    assert "'app.add'" in str(error)
    assert error.name == "app.ad"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (e.StorageBusy(1.5, "PID 7"), "1.5 s; holder: PID 7"),
        (e.SchemaTooNew("a.db", 3, 2), "schema version 3"),
        (e.LeaseLost("0190"), "0190"),
        (e.PayloadTooLarge("it", 2048, 1024, "max_payload_bytes"), "2,048 bytes"),
        (e.RemoteError("no", type_name="app.Error"), "app.Error: no"),
        (e.Retry(exc=ValueError("x"), when=10), "Retry in 10s: ValueError('x')"),
        (e.Reject("why", requeue=True), "why"),
    ],
)
def test_an_error_says_what_happened(error, says):
    assert says in str(error)


@pytest.mark.parametrize(
    "error", [e.NotRegistered("a"), e.ChordError("x"), e.WorkerLostError("x", 9), e.TaskRevokedError("terminated")]
)
def test_tasks_errors_survive_pickling(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert back.args == error.args


def test_a_lost_worker_knows_its_exit_code():
    assert e.WorkerLostError("gone", 9).exitcode == 9
    assert e.WorkerLostError("gone").exitcode is None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (e.WorkerLostError("its process ended with exit code 9", 9), "its process ended with exit code 9"),
        (e.WorkerLostError(), ""),
        (e.Reject("no such order"), "no such order"),
        (e.Reject(ValueError("no such order"), requeue=True), "no such order"),
        (e.Reject(), "no reason given"),
    ],
)
def test_the_text_of_an_error_is_its_reason_and_no_tuple(error, text):
    assert str(error) == text
    assert decode_error(encode_error(error)).message == text


def test_a_task_that_is_not_registered_is_told_with_those_that_look_like_it():
    assert str(e.NotRegistered("shop.pya", ["shop.pay", "mail.send"])).endswith("(`include=`); nearest: 'shop.pay'")
    assert (
        str(e.NotRegistered("zz", ["shop.pay"]))
        == "task 'zz' is not registered: import its module in the app (`include=`)"
    )
