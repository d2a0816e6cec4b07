"""Messages to the server: any number of statements in one, by libpq's pipeline mode.

A message is sent whole, and all its answers are waited for. A statement of it that fails takes those behind it with it.
"""

from __future__ import annotations

import select
from collections.abc import Iterable, Sequence
from typing import Any, Final

from psycopg import Connection, DataError, OperationalError
from psycopg.adapt import Buffer, PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus
from psycopg.pq.abc import PGconn, PGresult

from liteq.storage.driver import Row

__all__ = ["Command", "Wire"]

Command = tuple[bytes, Sequence[object]]
"""A statement with the server's placeholders, and the values for them."""

Values = Sequence[Buffer | None]
Dumped = tuple[bytes, Values, Sequence[int] | None, Sequence[int]]
STATEMENTS_KEPT: Final = 500  # prepared ones of a connection: more than there are verbs' texts
FORGET: Final = b"DEALLOCATE ALL"
IN_ONE_PIECE: Final = 4_096  # bytes of values: with its statements still less than what libpq gathers before it sends


class Wire:
    """A connection as a way for messages. Not to be used by two threads at a time."""

    __slots__ = ("_adapter", "_count", "_encoding", "_names", "_pgconn", "_poll", "prepares", "refused")

    def __init__(self, connection: Connection[Any]) -> None:
        self._pgconn: PGconn = connection.pgconn
        self._adapter = Transformer(connection)
        self._encoding = connection.info.encoding
        self._names: dict[bytes, bytes] = {}
        self._count = 0  # of names that were ever given: one that was refused is not given again
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, select.POLLIN)
        self.prepares = False
        self.refused = False  # whether it is known that nothing of the last message was done

    def look(self) -> None:
        """Raise OperationalError where the server has closed the connection since its last answer; says nothing."""
        # Its message about the end comes first, then the end itself.
        while self._pgconn.status == ConnStatus.OK and self._poll.poll(0):
            self._pgconn.consume_input()
        if self._pgconn.status != ConnStatus.OK:
            raise OperationalError("the connection is lost")

    @property
    def quiet(self) -> bool:
        """Whether no answer is awaited."""
        return self._pgconn.pipeline_status == PipelineStatus.OFF

    def exchange(self, commands: Sequence[Command], afterwards: Sequence[Command] = ()) -> list[PGresult]:
        """Send `commands` and wait for their results; `afterwards`: sent along, done whatever becomes of the others.

        Raises psycopg.Error: the first one of `commands`; those of `afterwards` are not looked at.
        """
        pgconn = self._pgconn
        first, second = self._dumped(commands), self._dumped(afterwards)
        # One that goes in one piece is not there at all where the sending fails.
        self.refused = sum([len(value) for _, values, _, _ in first for value in values if value]) < IN_ONE_PIECE
        pgconn.enter_pipeline_mode()
        told: list[tuple[int, bytes, bytes]] = []  # names that the server gets to know now, by the place of its answer
        n = self._send(first, 0, told)
        pgconn.pipeline_sync()
        if second:
            self._send(second, n, told)
            pgconn.pipeline_sync()
        self.refused = False
        found = self._answers(2 if afterwards else 1)
        pgconn.exit_pipeline_mode()
        for place, sql, name in told:
            if name and found[place].status == ExecStatus.COMMAND_OK:
                self._names[sql] = name
        places = {place for place, _, _ in told}
        self._look_for_errors(found[:n])
        return [result for place, result in enumerate(found[:n]) if place not in places]

    def rows(self, result: PGresult) -> list[Row]:
        """The rows of a result, [] where it has none."""
        if not result.ntuples:
            return []
        self._adapter.set_pgresult(result)
        return self._adapter.load_rows(0, result.ntuples, tuple)

    def types_of(self, sql: bytes) -> list[int]:
        """The types, by their numbers, that the server takes the parameters of a statement for. Two messages."""
        for result in (self._pgconn.prepare(b"", sql), found := self._pgconn.describe_prepared(b"")):
            if result.status != ExecStatus.COMMAND_OK:
                raise error_from_result(result, self._encoding)
        return [found.param_type(n) for n in range(found.nparams)]

    # -- one way -----------------------------------------------------------------------------------------------------

    def _dumped(self, commands: Sequence[Command]) -> list[Dumped]:
        """`commands` with their values as the server reads them. Raises psycopg.Error, before anything is sent."""
        return [(sql, *self._values(values)) for sql, values in commands]

    def _values(self, values: Sequence[object]) -> tuple[Values, Sequence[int] | None, Sequence[int]]:
        """Values, their types, None where the server is to take those of where they stand, and their formats."""
        found: list[bytes | None] = []
        formats: list[int] = []
        for value in values:
            kind = type(value)
            if value is None:
                found.append(None)
            elif kind is str:
                found.append(self._text(value))  # type: ignore[arg-type]
            elif kind is int:
                found.append(b"%d" % value)  # type: ignore[str-format]
            elif kind is bytes:
                found.append(value)  # type: ignore[arg-type]
            else:
                plain = self._uncommon(value)
                if plain is None:  # a date, a list, what else a user's statement may have
                    adapter = self._adapter
                    dumped = adapter.dump_sequence(values, [PyFormat.AUTO] * len(values))
                    return dumped, adapter.types, adapter.formats or []
                found.append(plain)
            formats.append(1 if kind is bytes else 0)
        return found, None, formats

    def _uncommon(self, value: object) -> bytes | None:
        """A truth as 1 or 0, a float without a fraction as an integer, a member of an enumeration as its value."""
        if isinstance(value, bool):
            return b"1" if value else b"0"
        if isinstance(value, int):
            return b"%d" % value
        if isinstance(value, float):
            return b"%d" % value if value.is_integer() else repr(value).encode()
        return self._text(value) if isinstance(value, str) else None

    def _text(self, value: str) -> bytes:
        if "\0" in value:  # libpq would end it there
            raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return str.encode(value, self._encoding)

    def _send(self, commands: Iterable[Dumped], place: int, told: list[tuple[int, bytes, bytes]]) -> int:
        """Queue `commands`, whose answers begin at `place`; where the next one's will be."""
        pgconn = self._pgconn
        if len(self._names) > STATEMENTS_KEPT:
            self._names.clear()
            pgconn.send_query_params(FORGET, None)
            told.append((place, b"", b""))  # it has an answer that is nobody's
            place += 1
        new: dict[bytes, bytes] = {sql: name for _, sql, name in told}
        for sql, values, types, formats in commands:
            if types is not None or not self.prepares:
                pgconn.send_query_params(sql, values, types, formats, 1)
            else:
                name = self._names.get(sql) or new.get(sql)
                if name is None:
                    self._count += 1
                    name = new[sql] = b"_liteq_%d" % self._count
                    pgconn.send_prepare(name, sql)
                    told.append((place, sql, name))
                    place += 1
                pgconn.send_query_prepared(name, values, formats, 1)
            place += 1
        return place

    # -- the other ---------------------------------------------------------------------------------------------------

    def _answers(self, syncs: int) -> list[PGresult]:
        found: list[PGresult] = []
        try:
            self._flush()
            while syncs:
                result = self._answer()
                if result.status == ExecStatus.PIPELINE_SYNC:
                    syncs -= 1
                else:
                    found.append(result)
        except OperationalError:
            self._look_for_errors(found)  # the server has said why it goes
            raise
        return found

    def _look_for_errors(self, found: Sequence[PGresult]) -> None:
        for place, result in enumerate(found):
            if result.status == ExecStatus.FATAL_ERROR:
                self.refused = place == 0
                raise error_from_result(result, self._encoding)

    def _flush(self) -> None:
        """Send what is queued; reads meanwhile, as the server may wait for that."""
        pgconn = self._pgconn
        while pgconn.flush():
            both = select.poll()
            both.register(pgconn.socket, select.POLLIN | select.POLLOUT)
            if any(event & select.POLLIN for _, event in both.poll()):
                pgconn.consume_input()

    def _answer(self) -> PGresult:
        pgconn = self._pgconn
        while True:
            while pgconn.is_busy():
                self._poll.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is not None:
                return result
            if pgconn.status != ConnStatus.OK:
                raise OperationalError("the connection is lost")
