"""The key of a failure: the same for each of its kind, and made of an error document alone."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.exceptions import Reject, Retry, WorkerLostError
from liteq.serialization import encode_error
from liteq.serialization.causes import cause_of


def document(exc: BaseException) -> bytes:
    return encode_error(exc, "".join(traceback.format_exception(exc)))


def raised(text: str) -> bytes:
    try:
        raise ValueError(text)
    except ValueError as exc:
        return document(exc)


def cause(error: bytes, task="t"):
    found = cause_of(task, error)
    assert found is not None
    return found


def test_it_is_text_that_every_engine_takes() -> None:
    assert cause(raised("read \0 from the pipe")).message == r"read \0 from the pipe"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 17 is gone", "order 18 is gone"),
        ("no file 'a.txt'", "no file 'b.txt'"),
        ('key "x y" is odd', 'key "z" is odd'),
        ("at 0x7f3a of 12:30:01", "at 0x1 of 9:15"),
        ("id 01a222fc-e7a6-785f-a239-16be2720d3ab", "id 0198f3a2-0000-7000-8000-9c41aaaaaaaa"),
        ("took 1.5 s", "took -2,000.25 s"),
        ("the first line\nand 1", "the first line\nand another"),
    ],
)
def test_numbers_and_quoted_words_make_no_other_cause(one, other):
    assert cause(raised(one)) == cause(raised(other))


def test_other_words_and_other_classes_are_other_causes():
    ids = {cause(error).id for error in (raised("a"), raised("b"), document(KeyError("a")), document(OSError("a")))}
    assert len(ids) == 4
    assert cause(raised("a"), "t").id != cause(raised("a"), "u").id


def test_an_apostrophe_is_no_quotation_mark():
    assert cause(raised("it can't be, and won't")).message == "it can't be, and won't"


def test_the_frame_is_the_apps_own_where_a_package_raised():
    try:
        json.loads("{")
    except ValueError as exc:
        found = cause(document(exc))
    assert found.exception == "JSONDecodeError"
    assert found.frame.startswith(f"{Path(__file__).name}:") or f"/{Path(__file__).name}:" in found.frame
    assert found.frame.endswith(" test_the_frame_is_the_apps_own_where_a_package_raised")


def test_the_line_makes_no_other_cause():
    """It moves with each change of its file: a failure of before a deploy is not new after it."""
    error = json.loads(raised("no"))
    moved = dict(error, traceback=error["traceback"].replace("line ", "line 9"))
    assert cause(json.dumps(error).encode()).id == cause(json.dumps(moved).encode()).id


def test_without_a_traceback_there_is_no_frame():
    assert cause(encode_error(ValueError("no"))).frame == ""


def test_of_several_arguments_the_text_is_the_message():
    found = cause(encode_error(WorkerLostError("the process that ran t[7] ended with exit code 9", 9)))
    assert found.message == "the process that ran t[#] ended with exit code #"


def test_a_retry_that_was_asked_for_is_no_failure_and_a_rejection_is_one():
    assert cause_of("t", encode_error(Retry("later"))) is None
    assert cause(encode_error(Reject("no", requeue=False))).exception == "Reject"


@given(st.text(max_size=300))
def test_any_text_has_a_cause_that_is_short(text):
    found = cause(encode_error(ValueError(text)))
    assert len(found.message) <= 200
    assert "\n" not in found.message


def test_what_is_no_error_document_has_a_cause_too():
    assert cause(b"\xff").exception == "RemoteError"
