"""Exceptions as data: recording always works, reading never imports."""

from __future__ import annotations

import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq import exceptions
from liteq.exceptions import LeaseLost, NotRegistered, RemoteError, StorageBusy
from liteq.serialization import ErrorDoc, decode_error, encode_error, loaded_class, rebuild
from liteq.workflow.history.errors import document_of, raised_of


class AppError(Exception):
    pass


class NeedsTwo(Exception):
    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code


def through(exc, *allowed):
    return rebuild(decode_error(encode_error(exc)), allowed)


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("x", 1, [None, {"a": b"\xff"}]),
        KeyError("k"),
        OSError(2, "No such file or directory"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        exceptions.ChordError("dependency"),
        NotRegistered("app.add"),
        exceptions.Reject("no", requeue=True),
    ],
)
def test_built_in_exceptions_and_liteqs_own_come_back_as_themselves(exc):
    back = through(exc)
    assert type(back) is type(exc)
    assert back.args == exc.args
    assert str(back) == str(exc)


@pytest.mark.parametrize("exc", [LeaseLost("0190"), StorageBusy(1.5, "PID 7")])
def test_a_class_whose_constructor_takes_other_arguments_keeps_its_message(exc):
    back = through(exc)
    assert type(back) is type(exc)
    assert str(back) == str(exc)


def test_a_class_of_the_apps_is_rebuilt_only_when_it_is_allowed():
    unknown = through(AppError("no"))
    assert type(unknown) is RemoteError
    assert unknown.type_name == f"{__name__}.AppError"
    assert str(unknown) == f"{__name__}.AppError: no"
    assert type(through(AppError("no"), AppError)) is AppError
    assert str(through(NeedsTwo(4, "no"), NeedsTwo)) == "4: no"


def test_a_remote_error_that_is_raised_again_keeps_the_name_it_had():
    assert through(through(AppError("no"))).type_name == f"{__name__}.AppError"


def test_only_exception_classes_of_loaded_modules_are_found():
    sys.modules.setdefault(__name__, sys.modules[AppError.__module__])
    assert loaded_class(ErrorDoc("AppError", __name__, "")) is AppError
    for module, name in [("os", "system"), ("os.path", "join"), ("nowhere", "Error"), ("builtins", "int")]:
        assert loaded_class(ErrorDoc(name, module, "")) is None
        assert type(rebuild(ErrorDoc(name, module, "x"))) is RemoteError
    assert loaded_class(ErrorDoc("SystemExit", "builtins", "")) is None


def test_a_module_is_not_imported_because_a_document_names_it():
    name = "this"  # it prints when it is imported, so nobody does
    assert name not in sys.modules
    doc = ErrorDoc("Error", name, "x")
    assert loaded_class(doc) is None
    rebuild(doc)
    assert name not in sys.modules


def test_the_cause_comes_along():
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise AppError("outer") from inner
    except AppError as exc:
        doc = decode_error(encode_error(exc, "Traceback ..."))
    assert (doc.type, doc.message, doc.traceback) == ("AppError", "outer", "Traceback ...")
    assert doc.cause is not None
    assert (doc.cause.type, doc.cause.message) == ("KeyError", "'inner'")
    assert isinstance(rebuild(doc).__cause__, KeyError)


def test_a_circle_of_causes_ends():
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    doc = decode_error(encode_error(first))
    assert doc.cause is not None
    assert doc.cause.cause is None


def test_a_long_traceback_keeps_its_head_and_its_tail():
    doc = decode_error(encode_error(ValueError(), "HEAD" + "é" * 100_000 + "TAIL", max_traceback_bytes=2000))
    assert doc.traceback.startswith("HEAD")
    assert doc.traceback.endswith("TAIL")
    assert "198,072 bytes left out" in doc.traceback
    assert len(doc.traceback.encode()) < 2100


def test_an_argument_without_a_json_form_is_kept_as_its_repr():
    doc = decode_error(encode_error(AppError({1, 2}, object, "\udcff", 3)))
    assert doc.args == ["{1, 2}", "<class 'object'>", "'\\udcff'", 3]


@pytest.mark.parametrize(
    "exc", [ValueError("x" * 1_000_000), ValueError(*range(100_000)), ValueError(["x" * 10_000] * 100)]
)
def test_a_document_is_bounded(exc):
    assert len(encode_error(exc, "t" * 1_000_000, max_traceback_bytes=10_000)) < 50_000


class Hostile(Exception):
    """Everything that can be asked of it raises."""

    def __str__(self):
        raise RuntimeError

    __repr__ = __str__
    __bool__ = __len__ = __str__
    args = property(__str__)


def test_a_failure_is_recorded_whatever_the_exception_does():
    doc = decode_error(encode_error(Hostile(), "tb"))
    assert (doc.type, doc.traceback) == ("Hostile", "tb")
    assert "cannot be printed" in doc.message
    outer = ValueError()
    outer.__cause__ = Hostile()
    assert decode_error(encode_error(outer)).cause is not None
    assert decode_error(encode_error(ValueError(Hostile()))).args == ["<Hostile that cannot be printed>"]
    assert decode_error(encode_error(SystemExit(3))).type == "SystemExit"


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda v: orjson.dumps(v, default=str, option=0) if not _surrogates(v) else b""
    )
)
def test_any_bytes_can_be_read_as_an_error(data):
    assert isinstance(rebuild(decode_error(data)), Exception)


def _surrogates(value) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False


class Told(Exception):
    """Its constructor takes other arguments than it keeps, and its text is an attribute."""

    def __init__(self, status, *, reason):
        self.status = status
        self.told = f"{status}: {reason}"
        super().__init__(self.told)

    def __str__(self):
        return f"told {self.told}"


def test_a_class_whose_text_is_an_attribute_comes_back_with_its_attributes():
    back = raised_of(document_of(Told(429, reason="slowly"), 1000))
    assert (type(back), str(back), back.status) == (Told, "told 429: slowly", 429)


@pytest.mark.parametrize("exc", [RemoteError("\udcff", type_name="a.B"), RemoteError("x", type_name="a.\udcff")])
def test_a_remote_error_of_any_text_is_recorded(exc):
    doc = decode_error(encode_error(exc))
    assert r"\udcff" in doc.message + doc.type


def test_a_remote_error_is_no_longer_than_others():
    doc = decode_error(encode_error(RemoteError("x" * 10_000, type_name="a.B"), max_traceback_bytes=1_000))
    assert len(doc.message) <= 1_000
