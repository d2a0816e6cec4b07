"""Transactional steps in other databases: Django's, or one of the user's own.

The result is written there, in the table `liteq_tx`, with the step's rows: a kill between that commit and the
checkpoint repeats nothing, since the next attempt finds it. Django's queue, in the same database, needs no such row.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from liteq.exceptions import WorkflowError
from liteq.workflow.stepping.alarm import limited

if TYPE_CHECKING:
    from liteq.workflow.stepping.call import StepCall

__all__ = ["in_a_database"]

CREATE = (
    "CREATE TABLE IF NOT EXISTS liteq_tx (run VARCHAR(255) NOT NULL, gen INTEGER NOT NULL, scope VARCHAR(255) "
    "NOT NULL, pos INTEGER NOT NULL, output TEXT NOT NULL, PRIMARY KEY (run, gen, scope, pos))"
)
WIDEST = 255  # characters of these columns
LOOK = "SELECT output FROM liteq_tx WHERE run = ? AND gen = ? AND scope = ? AND pos = ?"
WRITE = "INSERT INTO liteq_tx (run, gen, scope, pos, output) VALUES (?, ?, ?, ?, ?)"
MARKS = {"qmark": "?", "format": "%s", "pyformat": "%s"}


class Connection(Protocol):
    """The part of a DB-API connection that is used."""

    def cursor(self) -> Any: ...


def in_a_database(call: StepCall) -> Any:
    """One attempt of a step whose rows are in another database, with its result there."""
    step, machine = call.step, call.machine
    if isinstance(step.tx, str):
        if getattr(machine.app.storage.driver, "using", None) == step.tx:
            return _in_djangos_queue(call, step.tx)
        opened = partial(_django, step.tx)
    elif callable(step.tx):
        opened = partial(_own, step.tx)
    else:
        raise WorkflowError(f"{step.what}: tx is True, the alias of a Django database, or a function: {step.tx!r}")
    with _opened(opened) as (connection, mark):
        data = _stored(call, connection, mark)
        if data is None:
            data = _executed(call, connection, mark)
    value = step.form.decode(data)
    return call.returned(value)


@contextmanager
def _opened(opened: Callable[[], AbstractContextManager[tuple[Any, str]]]) -> Iterator[tuple[Any, str]]:
    """A transaction in which the table is there.

    Of two that make it at once PostgreSQL refuses the later one, when the earlier one has committed: it finds it then.
    """
    with ExitStack() as stack:
        try:
            with ExitStack() as first:
                connection, mark = first.enter_context(opened())
                _run(connection, mark, CREATE, ())
                stack.push(first.pop_all())
        except Exception:  # noqa: BLE001 - of any database's module; what lasts is raised by the next attempt
            connection, mark = stack.enter_context(opened())
            _run(connection, mark, CREATE, ())
        yield connection, mark


def _executed(call: StepCall, connection: Connection, mark: str) -> bytes:
    step, machine = call.step, call.machine
    call.transaction = connection
    try:
        with limited(machine, step.timeout_s):
            value = call.function()(*call.args, **call.kwargs)
    finally:
        call.transaction = None
    data: bytes = step.form.kept(value, machine.max_bytes)[0]
    _run(connection, mark, WRITE, (*_place(call), data.decode()))
    return data


def _stored(call: StepCall, connection: Connection, mark: str) -> bytes | None:
    rows = _run(connection, mark, LOOK, _place(call), fetch=True)
    return str(rows[0][0]).encode() if rows else None


def _place(call: StepCall) -> tuple[str, int, str, int]:
    """Where the result of a step stands: of this run among all that have had its id, since it was last rewound."""
    machine = call.machine
    scope, pos = call.place
    again = f".{machine.rewound}" if machine.rewound else ""
    return _fitted(f"{machine.run_id}.{machine.hold.run:x}{again}"), machine.hold.gen, _fitted(scope), pos


def _fitted(text: str) -> str:
    """`text`, or where it is wider than its column what stands for it: a key may have any length."""
    return text if len(text) <= WIDEST else f"sha256:{sha256(text.encode()).hexdigest()}"


def _run(connection: Connection, mark: str, sql: str, params: Any, *, fetch: bool = False) -> Any:
    cursor = connection.cursor()
    try:
        cursor.execute(sql.replace("?", mark), params)
        return cursor.fetchall() if fetch else None
    finally:
        cursor.close()


@contextmanager
def _own(opened: Any) -> Iterator[tuple[Any, str]]:
    """A connection of the user's: committed where the block returns, rolled back else, and closed."""
    connection = opened()
    try:
        mark = MARKS.get(_paramstyle_of(connection))
        if mark is None:
            raise WorkflowError(f"parameters of the style {_paramstyle_of(connection)!r} are not known here")
        if getattr(connection, "autocommit", None) is True:
            raise WorkflowError(
                f"{type(connection)!r} is in autocommit mode, so the step's rows and its result would be no single "
                "commit: open the connection without autocommit=True"
            )
        if getattr(connection, "in_transaction", None) is False:
            connection.execute("BEGIN IMMEDIATE")  # sqlite3 begins by itself before some statements only
        yield connection, mark
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        connection.close()


def _paramstyle_of(connection: Any) -> str:
    """How parameters are written for a DB-API connection. Raises WorkflowError where its module does not say."""
    module = type(connection).__module__
    while module:
        style = getattr(sys.modules.get(module), "paramstyle", None)
        if isinstance(style, str):
            return style
        module = module.rpartition(".")[0]
    raise WorkflowError(f"{type(connection)!r} is not a DB-API connection: its module has no `paramstyle`")


@contextmanager
def _django(alias: str) -> Iterator[tuple[Any, str]]:
    from django.db import connections, transaction

    with transaction.atomic(using=alias):
        yield connections[alias], "%s"


def _in_djangos_queue(call: StepCall, alias: str) -> Any:
    """The queue is in the same database: the checkpoint is a part of the step's transaction."""
    from django.db import connections, transaction

    machine, step = call.machine, call.step
    strict, machine.is_strict = machine.is_strict, False  # the body is left behind the commit, not before it
    undo: Callable[[], None] | None = None
    try:
        with transaction.atomic(using=alias):
            call.transaction = connections[alias]
            try:
                with limited(machine, step.timeout_s):
                    value = call.function()(*call.args, **call.kwargs)
            finally:
                call.transaction = None
            undo = call.untaken()
            value = call.returned(value)
    except Exception:
        if undo is not None:  # by a constraint that is checked at the commit
            undo()
        raise
    finally:
        machine.is_strict = strict
    if strict:
        machine.replay(call.row(ended_ms=machine.now_ms()))
    return value
