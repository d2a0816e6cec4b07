"""Classes of named values: as the standard library's, by every question that liteq or a program asks of them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import typing
from collections import Counter
from typing import ClassVar

import pytest

from liteq.utils import records
from liteq.utils.records import fields_of


def classes(dataclass, named_tuple):
    """The same four classes, made by either library."""

    @dataclass(slots=True)
    class Slotted:
        a: int
        b: list[int] = dataclasses.field(default_factory=list)
        c: str | None = None

        def double(self):
            return 2 * self.a

    @dataclass(frozen=True, slots=True)
    class Frozen:
        a: int
        b: Counter[str] = dataclasses.field(default_factory=Counter, repr=False)
        c: str = "c"
        KNOWN: ClassVar[int] = 7

    @records.dataclass
    class Open:
        a: int
        b: object = None
        c: str = "c"

    class Named(named_tuple):
        """Named."""

        a: int
        b: object = None
        c: str = "c"

        @property
        def double(self):
            return 2 * self.a

    return {"slotted": Slotted, "frozen": Frozen, "open": Open, "named": Named}


OURS = classes(records.dataclass, records.NamedTuple)
THEIRS = classes(dataclasses.dataclass, typing.NamedTuple)
KINDS = pytest.mark.parametrize("kind", OURS)
DATA = pytest.mark.parametrize("kind", ["slotted", "frozen", "open"])

for cls in OURS.values():  # pickle finds a class by its name in its module
    cls.__qualname__ = cls.__name__
    globals()[cls.__name__] = cls


def outcome(call):
    """The value of `call()`, or the class of what it raises."""
    try:
        return call()
    except Exception as exc:
        return type(exc)


QUESTIONS = {
    "a field": lambda cls: cls(1).a,
    "defaults": lambda cls: (cls(1).b, cls(1).c),
    "a default of its own": lambda cls: cls(1).b is cls(1).b,
    "by name": lambda cls: cls(c="x", a=2).c,
    "too few": lambda cls: cls(),
    "too many": lambda cls: cls(1, [], "c", 4),
    "an unknown name": lambda cls: cls(1, d=4),
    "equal": lambda cls: cls(1) == cls(1),
    "not equal": lambda cls: (cls(1) == cls(2), cls(1) != cls(2)),
    "another class": lambda cls: cls(1) == object(),
    "its text": lambda cls: repr(cls(1, [2], "it's")).rpartition(".")[2],
    "patterns": lambda cls: cls.__match_args__,
    "its hash": lambda cls: hash(cls(1, None)) == hash(cls(1, None)),
    "an assignment": lambda cls: setattr(cls(1), "a", 2),
    "a new attribute": lambda cls: setattr(cls(1), "new", 2),
    "a deletion": lambda cls: delattr(cls(1), "a"),
    "its doc": lambda cls: cls.__doc__ if cls.__name__ == "Named" else None,
}


@pytest.mark.parametrize("question", QUESTIONS)
@KINDS
def test_the_answer_is_the_standard_library_s(kind, question):
    ask = QUESTIONS[question]
    ours, theirs = outcome(lambda: ask(OURS[kind])), outcome(lambda: ask(THEIRS[kind]))
    if question == "a new attribute" and kind == "frozen":
        theirs = dataclasses.FrozenInstanceError  # with slots the standard library raises TypeError by mistake
    assert ours == theirs


@KINDS
def test_copies_and_pickles(kind):
    one = OURS[kind](1, [2], "x")
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert (other, type(other)) == (one, type(one))


@DATA
def test_the_functions_of_dataclasses_take_them(kind):
    ours, theirs = OURS[kind], THEIRS[kind]
    assert dataclasses.replace(ours(1), c="z") == ours(1, c="z")
    assert dataclasses.asdict(ours(1)) == dataclasses.asdict(theirs(1))
    assert [(f.name, f.type, f.default) for f in dataclasses.fields(ours)] == [
        (f.name, f.type, f.default) for f in dataclasses.fields(theirs)
    ]
    assert list(fields_of(ours)) == ["a", "b", "c"]
    assert dataclasses.fields(ours)[0] is dataclasses.fields(ours)[0]  # made once: that takes half a millisecond


def test_of_threads_that_make_the_first_instance_together_each_gets_one():
    @records.dataclass
    class Point:
        x: int

    first = Point.__init__  # as the slower thread has found it
    Point(1)
    late = Point.__new__(Point)
    first(late, 2)
    assert late.x == 2


def test_what_named_tuples_have():
    ours, theirs = OURS["named"], THEIRS["named"]
    assert (ours._fields, ours._field_defaults) == (theirs._fields, theirs._field_defaults)
    assert ours(1)._asdict() == theirs(1)._asdict()
    assert ours._make([1, 2, 3]) == (1, 2, 3) == ours(1, 2, 3)
    assert ours(1)._replace(c="y") == theirs(1)._replace(c="y")
    assert ours(4).double == 8
    for wrong in (lambda cls: cls._make([1]), lambda cls: cls(1)._replace(d=1)):
        assert outcome(lambda: wrong(ours)) == outcome(lambda: wrong(theirs))


def test_a_class_derived_from_one_has_its_fields():
    class Wider(OURS["named"]):
        def triple(self):
            return 3 * self.a

    class Slower(OURS["slotted"]):
        pass

    assert Wider(2).triple() == 6
    assert Wider(2)._replace(a=3) == (3, None, "c")
    assert Slower(2).double() == 4
    assert OURS["slotted"](3).double() == 6
