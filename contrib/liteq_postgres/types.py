"""How values go to the server and come back: as SQLite has them, integers, texts, bytes and nothing.

A parameter is sent without a type: the server takes that of the column or expression it stands by, as it does where a
test prepares each statement of the verbs.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection, RawCursor
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format
from psycopg.types.numeric import NumericBinaryLoader, NumericLoader
from psycopg.types.string import BytesBinaryDumper, StrDumperUnknown

__all__ = ["adapt"]


class IntegerDumper(Dumper):
    """An integer, or one of an enumeration."""

    def dump(self, obj: int) -> bytes:
        return b"%d" % obj


class BooleanDumper(Dumper):
    """A truth as 1 or 0, which a column of integers takes and a boolean one too."""

    def dump(self, obj: bool) -> bytes:
        return b"1" if obj else b"0"


class FloatDumper(Dumper):
    """A float; one without a fraction as an integer, as SQLite's integer columns keep it."""

    def dump(self, obj: float) -> bytes:
        return b"%d" % obj if obj.is_integer() else repr(obj).encode()


class BooleanLoader(Loader):
    """A truth as 1 or 0, as SQLite has it."""

    format = Format.BINARY

    def load(self, data: Any) -> int:
        return bytes(data)[0]


class BooleanTextLoader(Loader):
    """As BooleanLoader."""

    def load(self, data: Any) -> int:
        return int(bytes(data) == b"t")


def _plain(value: Any) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


class PlainNumericLoader(NumericBinaryLoader):
    """A sum of integers as an integer: the server makes a decimal of it."""

    def load(self, data: Any) -> Any:
        return _plain(super().load(data))


class PlainNumericTextLoader(NumericLoader):
    """As PlainNumericLoader."""

    def load(self, data: Any) -> Any:
        return _plain(super().load(data))


def adapt(of: Connection[Any] | RawCursor[Any]) -> None:
    """Have a connection, or a cursor alone, take and give values as said above."""
    adapters = of.adapters
    adapters.register_dumper(int, IntegerDumper)
    adapters.register_dumper(bool, BooleanDumper)
    adapters.register_dumper(float, FloatDumper)
    adapters.register_dumper(str, StrDumperUnknown)
    adapters.register_dumper(bytes, BytesBinaryDumper)
    adapters.register_loader("bool", BooleanLoader)
    adapters.register_loader("bool", BooleanTextLoader)
    adapters.register_loader("numeric", PlainNumericLoader)
    adapters.register_loader("numeric", PlainNumericTextLoader)
