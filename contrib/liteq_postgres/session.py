"""One connection, as a transaction of the verbs sees it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

import psycopg
from psycopg import Connection, Cursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from liteq.exceptions import StorageError, StorageUnavailable
from liteq.storage.driver import Bell, Params, Row
from liteq_postgres.batch import arrays, at_once
from liteq_postgres.errors import translate
from liteq_postgres.fork import making
from liteq_postgres.names import advisory_key, channel, quoted
from liteq_postgres.translate import sought, statement, values
from liteq_postgres.types import adapt
from liteq_postgres.url import Location
from liteq_postgres.wire import Command, Wire

__all__ = ["TOKENS_EACH", "Session", "settings"]

TOKENS_EACH: Final = 2**16  # tokens of one step of the sequence: a claim takes its numbers in one go
LEAP: Final = 10_000_000  # steps: more than others can take while the sequence is moved
# Steps: more than can be taken before the server's log of them is on the disk. Each new connection leaves so many out.
SKIPPED: Final = 2**16
# Defaults, which a URL may change. The kernel notices a connection that is cut within half a minute: by its keepalives
# where nothing is sent meanwhile, by the other limit (ms) where an answer does not come.
DEFAULTS: Final[dict[str, Any]] = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}  # fmt: skip
# Whatever the encoding of the database and of the environment: names of queues and texts of errors have any characters.
# A pooler keeps this setting apart for each of its clients.
ALWAYS: Final[dict[str, Any]] = {"client_encoding": "UTF8"}
NOT_FOR_WRITES: Final = "25006"  # SQLSTATE: a standby, also where it was none before

NEXT_TOKENS = "SELECT nextval('liteq_tokens'), pg_backend_pid()"
NEXT_TOKEN: Final[Command] = (NEXT_TOKENS.encode(), ())
# The sequence jumps by LEAP at least. So nobody that takes numbers meanwhile comes near to where it is set.
MOVE_TOKENS = f"SELECT setval('liteq_tokens', greatest(?, pg_sequence_last_value('liteq_tokens') + {LEAP}))"
SKIP_TOKENS = f"SELECT setval('liteq_tokens', pg_sequence_last_value('liteq_tokens') + {SKIPPED})"
LOCK_NAME = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(?)) AS taken"
FACTS = "SELECT pg_backend_pid(), current_setting('search_path'), current_setting('synchronous_commit')"
TIME = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS double precision)"
COMMIT: Final[Command] = (b"COMMIT", ())
ROLLBACK: Final[Command] = (b"ROLLBACK", ())
# The server keeps a plan until it looks over the table, once a minute at most. One that was made for a few rows reads
# all that there are for a batch, and a queue may have a million of them by then.
PLAN_ANEW: Final[Command] = (b"DISCARD PLANS", ())
PLANS_LAST_S: Final = 1.0
# A machine that is cut off inside a transaction keeps its locks until the server ends it. A verb's statement finds its
# rows by an index: to plan it for its values, or to compile it, takes longer than to run it.
SETTINGS: Final = {
    "idle_in_transaction_session_timeout": "60s", "plan_cache_mode": "force_generic_plan", "jit": "off",
}  # fmt: skip
# In a transaction of its own: a NOTIFY takes a lock over the whole server, which it keeps until its commit.
NOTIFY: Final = b"SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')"
UNKNOWN: Final = (
    "it is not known whether the last transaction was committed: a task that is sent again under its own task_id, with "
    "idempotent=True, is there once"
)

TYPES: Final[dict[bytes, tuple[int, ...]]] = {}  # of the parameters of what was done at once, by its text


class Session:
    """`driver.Transaction` on one connection.

    What opens a transaction is sent with its first statement, and what nobody waits for with the next one.
    `own_settings`: those that each transaction needs, where a pooler may give it another connection.
    """

    __slots__ = (
        "__weakref__", "_alone", "_control", "_later", "_location", "_opening", "_other", "_plans_until", "_safe",
        "_token", "_unsafe", "_waited_s", "_where", "_wire", "connection", "looks", "own_settings", "pid", "pooled",
        "schema", "syncs", "unfit",
    )  # fmt: skip

    def __init__(self, location: Location, waited_s: float, **other: Any) -> None:
        """Connect. `waited_s`: how long a statement may wait for a row. `other`: of libpq, over the URL's.

        Raises StorageUnavailable.
        """
        self._where, self._waited_s, self.schema = location.where(), waited_s, location.schema
        self.pid = os.getpid()
        self.looks = False  # whether its transaction only reads; set by the driver
        self._location, self._other = location, other
        self._alone = False
        self._opening: Sequence[Command] = ()  # of a transaction in which nothing was done yet
        self._later: list[Command] = []  # statements that go with the next one
        self._token: tuple[int, int] | None = None  # a step of the sequence that has come along, and is not used yet
        MADE.add(self)
        self._connect()

    def _connect(self) -> None:
        self._plans_until = monotonic() + PLANS_LAST_S
        self._safe: set[int] = set()  # processes of the server, one without a pooler: their tokens were never given out
        self._unsafe: set[int] = set()  # the same as soon as this transaction is on the disk
        self.unfit = False  # whether it leads to a server that cannot be written: another may be there by now
        try:
            options = {**DEFAULTS, **conninfo_to_dict(self._location.conninfo), **self._other, **ALWAYS}
            with making():
                self.connection: Connection[Any] = Connection.connect(
                    autocommit=True, prepare_threshold=None, **options
                )
        except psycopg.Error as error:
            raise translate(error, self._where, self._waited_s) from error
        adapt(self.connection)
        self._control = Cursor(self.connection)
        self._wire = Wire(self.connection)
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
        self._wire.prepares = not self.pooled
        self.syncs = commit != "off"
        own = {"search_path": f"{quoted(self.schema)}, {path or quoted('')}"} | SETTINGS
        own["lock_timeout"] = str(max(int(self._waited_s * 1000), 1))
        self.own_settings = own if self.pooled else {}
        if not self.pooled:
            try:
                self._wire.exchange(settings(**own, is_local="false"))
            except psycopg.Error as error:
                self.connection.close()
                raise translate(error, self._where, self._waited_s) from error

    # -- the protocol of driver.py -----------------------------------------------------------------------------------

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        found = statement(sql)
        given = values(found.names, params)
        command = (found.look, sought(given)) if self.looks else (found.sql, given)
        if found.later:
            self._later.append(command)
            return []
        try:
            if found.tokens and self._token is None:
                *_, result, token = self._say([command, NEXT_TOKEN])
                ((step, backend),) = self._wire.rows(token)
                self._token = step, backend
            else:
                *_, result = self._say([command])
            return self._wire.rows(result)
        except psycopg.Error as error:
            raise self.error(error) from error

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        found = statement(sql)
        taken = [values(found.names, row) for row in rows]
        if not taken:
            return 0
        try:
            commands = self._at_once(found.sql, taken) if found.at_once and len(taken) > 1 else None
            if commands is None:
                commands = [(found.sql, row) for row in taken]
            if found.later:
                self._later += commands
                return 0
            results = self._say(commands)
        except psycopg.Error as error:
            raise self.error(error) from error
        return sum([result.command_tuples or 0 for result in results[-len(commands) :]])

    def _at_once(self, sql: bytes, rows: list[list[object]]) -> list[Command] | None:
        """One statement for all `rows`; None where it takes one for each."""
        if self._wire.prepares and monotonic() >= self._plans_until:
            self._plans_until = monotonic() + PLANS_LAST_S
            self._later.append(PLAN_ANEW)
        types = TYPES.get(sql)
        if types is None:
            self._say([])
            types = TYPES[sql] = tuple(self._wire.types_of(sql))
        text = at_once(sql, types)
        columns = None if text is None else arrays(types, rows)
        return None if text is None or columns is None else [(text, columns)]

    def _say(self, commands: Sequence[Command], afterwards: Sequence[Command] = ()) -> list[PGresult]:
        """Send what is to go before `commands`, and these: one message. The results, those of `commands` last."""
        opening, later, self._later = self._opening, self._later, []
        if not self._alone:
            self._opening = ()
        said = [*opening, *later, *commands]
        try:
            return self._wire.exchange(said, afterwards)
        except psycopg.Error as error:
            # A connection that went just now, before anything was done on it: its place is taken by a new one.
            if not opening or not went(error) or (said[-1] == COMMIT and not self._wire.refused):
                raise
        self.close()
        self._connect()
        return self._wire.exchange(said, afterwards)

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
        token, self._token = self._token, None
        if token is not None:
            return token
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

    def begin(self, *opening: Command, alone: bool = False) -> None:
        """Begin a transaction: by these statements, once there is something to be done in it.

        `alone`: each statement is a transaction by itself, and they go before each. Raises StorageUnavailable where the
        connection was closed since its last use; then nothing was said on it.
        """
        self._token = None
        self._alone, self._opening, self._later = alone, opening, []
        try:
            self._wire.look()
        except psycopg.Error as error:
            raise self.error(error) from error

    def commit(self, bell: Bell | None = None) -> None:
        """Commit what was begun, and ring `bell`. Raises StorageError; says so where it is not known whether it did."""
        if self._later or not self.idle:
            self._finish([], bell)
        elif bell is not None:
            self._opening = ()
            self.ring(bell)

    def change(self, sql: str, params: Params, bell: Bell | None = None) -> int:
        """The one statement of a transaction, with its commit and the ring of `bell`; the number of rows it changed."""
        found = statement(sql)
        return self._finish([(found.sql, values(found.names, params))], bell)

    def _finish(self, commands: list[Command], bell: Bell | None) -> int:
        """Do `commands` and commit; the number of rows that they changed."""
        ring: list[Command] = [] if bell is None else [(NOTIFY, (channel(self.schema, bell),))]
        together = not self.pooled  # a pooler may give the connection away behind the commit
        try:
            results = self._say([*commands, COMMIT], ring if together else ())
        except psycopg.Error as error:
            raised = self.error(error)
            if went(error):
                raised = StorageUnavailable(f"{raised}; {UNKNOWN}")
            raise raised from error
        if results[-1].command_status != b"COMMIT":
            raise StorageError(f"{self._where}: a statement has failed before: nothing of the transaction was written")
        self._safe |= self._unsafe  # what was promised to be on the disk then is there
        self._unsafe.clear()
        if bell is not None and not together:
            self.ring(bell)
        return sum([result.command_tuples or 0 for result in results[-1 - len(commands) : -1]])

    def roll_back(self) -> None:
        """End the transaction without what it has done. Raises StorageError."""
        self._opening, self._later = (), []
        self._unsafe.clear()
        if not self.idle:
            try:
                self._say([ROLLBACK])
            except psycopg.Error as error:
                raise self.error(error) from error

    def ring(self, bell: Bell) -> None:
        """Wake the listeners of `bell`, outside of any transaction. Raises StorageError."""
        try:
            self._say([(NOTIFY, (channel(self.schema, bell),))])
        except psycopg.Error as error:
            raise self.error(error) from error

    def control(self, sql: str) -> None:
        """Run statements without parameters, several at a time."""
        try:
            if self._opening or self._later:
                self._say([])
            self._control.execute(sql.encode(), prepare=False)
        except psycopg.Error as error:
            raise self.error(error) from error

    @property
    def broken(self) -> bool:
        """Whether the connection is lost, of no more use, or busy with a statement whose answer nobody waits for."""
        return self.unfit or not self._wire.quiet or self.connection.pgconn.transaction_status not in (
            TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR,
        )  # fmt: skip

    @property
    def idle(self) -> bool:
        """Whether it is in no transaction."""
        return self._wire.quiet and self.connection.pgconn.transaction_status == TransactionStatus.IDLE

    def error(self, error: psycopg.Error) -> StorageError:
        """The exception for `error`, which this connection has met."""
        self.unfit = self.unfit or (error.sqlstate == NOT_FOR_WRITES and not self._location.read_only)
        return translate(error, self._where, self._waited_s)

    def close(self) -> None:
        """Close the connection, which rolls back what is open. Never raises."""
        if self.pid == os.getpid():
            self.connection.close()

    def __del__(self) -> None:
        if hasattr(self, "connection"):  # psycopg would warn of an app that is forgotten without `close()`
            self.close()

    def _abandon(self) -> None:
        """In a forked child: let go of the parent's connection, without a word to the server."""
        if self.pid == os.getpid():
            return
        MADE.discard(self)
        if not hasattr(self, "connection"):  # nor has it a socket, but for one that has taken too long (fork.py)
            return
        ABANDONED.append(self)  # collecting it would close it
        self.connection._pool = None  # psycopg warns of one that nobody closed
        # The server ends a dead parent's transaction only when no child has the socket any more.
        with suppress(psycopg.Error, OSError):  # it was being closed
            os.close(self.connection.pgconn.socket)

    @staticmethod
    def abandon_all() -> None:
        """In a forked child: let go of each connection of the parent's."""
        for session in list(MADE):
            session._abandon()


@lru_cache(maxsize=64)
def settings(*, is_local: str = "true", **values: str | None) -> tuple[Command, ...]:
    """Statements that give each of these settings a value until the end of the transaction; None: leave it."""
    given = {name: value for name, value in values.items() if value is not None}
    calls = ", ".join(f"set_config('{name}', ${n}, {is_local})" for n, name in enumerate(given, 1))
    return ((f"SELECT {calls}".encode(), tuple(given.values())),) if given else ()


def went(error: psycopg.Error) -> bool:
    """Whether the connection is lost by `error`."""
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    )


MADE: Final[WeakSet[Session]] = WeakSet()
ABANDONED: list[Session] = []
