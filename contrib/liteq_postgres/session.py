"""One connection, as a transaction of the verbs sees it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final

import psycopg
from psycopg import Connection, Cursor, RawCursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from liteq.exceptions import StorageError
from liteq.storage.driver import Params, Row
from liteq_postgres.errors import translate
from liteq_postgres.names import advisory_key, quoted
from liteq_postgres.translate import statement, values
from liteq_postgres.types import adapt
from liteq_postgres.url import Location

__all__ = ["TOKENS_EACH", "Session"]

TOKENS_EACH: Final = 2**16  # tokens of one step of the sequence: a claim takes its numbers in one go
LEAP: Final = 10_000_000  # steps: more than others can take while the sequence is moved
# Steps: more than can be taken before the server's log of them is on the disk. Each new connection leaves so many out.
SKIPPED: Final = 2**16
# What a URL may say otherwise. The kernel notices a connection that is cut within half a minute: by its keepalives
# where nothing is sent meanwhile, by the other limit (ms) where an answer does not come.
DEFAULTS: Final[dict[str, Any]] = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}  # fmt: skip
NOT_FOR_WRITES: Final = "25006"  # SQLSTATE: a standby, also where it was none before
STATEMENTS_KEPT: Final = 500  # prepared ones of a connection: more than there are verbs' texts

NEXT_TOKENS = "SELECT nextval('liteq_tokens'), pg_backend_pid()"
# The sequence jumps by LEAP at least. So nobody that takes numbers meanwhile comes near to where it is set.
MOVE_TOKENS = f"SELECT setval('liteq_tokens', greatest(?, pg_sequence_last_value('liteq_tokens') + {LEAP}))"
SKIP_TOKENS = f"SELECT setval('liteq_tokens', pg_sequence_last_value('liteq_tokens') + {SKIPPED})"
LOCK_NAME = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(?)) AS taken"
FACTS = "SELECT pg_backend_pid(), current_setting('search_path'), current_setting('synchronous_commit')"
TIME = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS double precision)"


class Session:
    """`driver.Transaction` on one connection. It is in a transaction only between `begin` and `commit`."""

    __slots__ = (
        "_control", "_cursor", "_safe", "_unsafe", "_waited_s", "_where", "connection", "looks", "opening", "pid",
        "pooled", "schema", "syncs", "unfit",
    )  # fmt: skip

    def __init__(self, location: Location, waited_s: float, **other: Any) -> None:
        """Connect. `waited_s`: how long a statement may wait for a row. `other`: of libpq, over the URL's.

        Raises StorageUnavailable.
        """
        self._where, self._waited_s, self.schema = location.where(), waited_s, location.schema
        self.pid = os.getpid()
        self.looks = False  # whether its transaction only reads; set by the driver
        self._safe: set[int] = set()  # processes of the server, one without a pooler: their tokens were never given out
        self._unsafe: set[int] = set()  # the same as soon as this transaction is on the disk
        self.unfit = False  # whether it leads to a server that cannot be written: another may be there by now
        try:
            options = {**DEFAULTS, **conninfo_to_dict(location.conninfo), **other}
            self.connection: Connection[Any] = Connection.connect(autocommit=True, prepare_threshold=None, **options)
        except psycopg.Error as error:
            raise translate(error, self._where, waited_s) from error
        self.connection.prepared_max = STATEMENTS_KEPT
        adapt(self.connection)
        self._control = Cursor(self.connection)
        self._cursor = RawCursor(self.connection)
        self._cursor.format = 1  # type: ignore[assignment]
        self._look()

    def _look(self) -> None:
        try:
            ((pid, path, commit),) = self._control.execute(FACTS).fetchall()
        except psycopg.Error as error:
            self.connection.close()
            raise translate(error, self._where, self._waited_s) from error
        # A pooler answers with a number of its own. Behind it the next transaction may be on another connection, where
        # no statement of this one is prepared.
        self.pooled = pid != self.connection.info.backend_pid
        self.connection.prepare_threshold = None if self.pooled else 1
        self.opening = f"SET LOCAL search_path TO {quoted(self.schema)}, {path or quoted('')}"
        self.syncs = commit != "off"

    # -- the protocol of driver.py -----------------------------------------------------------------------------------

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        text, look, names = statement(sql)
        cursor = self._cursor
        try:
            cursor.execute(look if self.looks else text, values(names, params))
            return cursor.fetchall() if cursor.description is not None else []
        except psycopg.Error as error:
            raise self.error(error) from error

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        text, _, names = statement(sql)
        taken = [values(names, row) for row in rows]
        cursor = self._cursor
        try:
            if len(taken) == 1:
                cursor.execute(text, taken[0])
            elif taken:
                cursor.executemany(text, taken)
            else:
                return 0
            return max(cursor.rowcount, 0)
        except psycopg.Error as error:
            raise self.error(error) from error

    def tokens(self, n: int, above: int = 0) -> int:
        """As `driver.Transaction.tokens`: of a sequence, which no transaction holds and no rollback takes back.

        A crash of the server does: claims do not wait for the disk, so those of the last moment are forgotten, with the
        steps of the sequence. Their workers still have the tokens. So a new process of the server, as each is after a
        crash, leaves out more than can have been forgotten, and what it takes first is on the disk with its commit.
        """
        first, backend = self._next()
        if backend not in self._safe:
            self._unsafe.add(backend)
            self.control(f"SET LOCAL synchronous_commit TO {'DEFAULT' if self.syncs else 'on'}")
            self.execute(LOCK_NAME, (advisory_key(self.schema, "tokens"),))
            self.execute(SKIP_TOKENS)
            first, _ = self._next()
        if first * TOKENS_EACH < above:
            self.execute(LOCK_NAME, (advisory_key(self.schema, "tokens"),))
            if self._next()[0] * TOKENS_EACH < above:
                self.execute(MOVE_TOKENS, (above // TOKENS_EACH + 1,))
            first, _ = self._next()
        last = first
        while (last - first + 1) * TOKENS_EACH < n:  # a batch larger than a step: steps in a row
            found, _ = self._next()
            first, last = (first if found == last + 1 else found), found
        return first * TOKENS_EACH

    def _next(self) -> tuple[int, int]:
        """A step of the sequence, and the process of the server that has taken it."""
        ((found, backend),) = self.execute(NEXT_TOKENS)
        return int(found), int(backend)

    def uptime(self) -> tuple[str, int]:
        """As `driver.Transaction.uptime`: not known. The machines that share a server have no such clock in common."""
        return "", 0

    def in_turn(self, name: str) -> None:
        """As `driver.Transaction.in_turn`: by a lock that ends with the transaction."""
        self.execute(LOCK_NAME, (advisory_key(self.schema, name),))

    def time_ms(self) -> float:
        """The server's time, in ms since the epoch."""
        ((found,),) = self.execute(TIME)
        return float(found)

    # -- the transaction ---------------------------------------------------------------------------------------------

    def control(self, sql: str) -> None:
        """Run statements without parameters, several at a time, in one round trip."""
        try:
            self._control.execute(sql.encode(), prepare=False)
        except psycopg.Error as error:
            raise self.error(error) from error

    def commit(self) -> None:
        """End the transaction; what it promises to be on the disk then is there."""
        self.control("COMMIT")
        if self._unsafe:
            self._safe |= self._unsafe
            self._unsafe.clear()

    def roll_back(self) -> None:
        """End the transaction without what it has done."""
        self._unsafe.clear()
        self.control("ROLLBACK")

    @property
    def broken(self) -> bool:
        """Whether the connection is lost, of no more use, or busy with a statement whose answer nobody waits for."""
        return self.unfit or self.connection.pgconn.transaction_status not in (
            TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR,
        )  # fmt: skip

    @property
    def idle(self) -> bool:
        return self.connection.pgconn.transaction_status == TransactionStatus.IDLE

    def error(self, error: psycopg.Error) -> StorageError:
        """The exception for `error`, which this connection has met."""
        self.unfit = self.unfit or error.sqlstate == NOT_FOR_WRITES
        return translate(error, self._where, self._waited_s)

    def close(self) -> None:
        """Close the connection, which rolls back what is open. Never raises."""
        if self.pid == os.getpid():
            self.connection.close()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's connection, without a word to the server."""
        if self.pid != os.getpid():
            ABANDONED.append(self)  # collecting it would close it
            self.connection._pool = None  # psycopg warns of one that nobody closed
            descriptor = self.connection.pgconn.socket
            # The server ends a dead parent's transaction only when no child has the socket any more.
            os.close(descriptor)


ABANDONED: list[Session] = []
