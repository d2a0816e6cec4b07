"""The waist at which a payload codec sits: what a verb binds is sealed, what it reads is opened.

Above it every value is plain, for verbs, workers and monitors alike; below it, in the file, its log and its copies, no
value of the user's is. A driver is given its vault before its first use; one that has none is not touched at all.

Sealed is each value of bytes, of every column: those of tables to come as well. SQL asks no more of them than whether
they are there and how long they are. A text is sealed where it is `Private`. So what is compared or ordered stays as it
is: ids, names, queues, keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from types import TracebackType
from typing import Any, cast

from liteq.exceptions import CodecError, ImproperlyConfigured
from liteq.serialization.sealing import TEXT, Private, Vault
from liteq.serialization.tags import SEAL
from liteq.storage.driver import Bell, Driver, Params, Promise, Row, Transaction
from liteq.storage.interrupts import managers

__all__ = ["SealedTransaction", "keep_sealed", "seal", "vault_of"]

# Figures of workers, and counts: read by those who have no key, `liteq status` for one, and of no user's values.
PLAIN = ("stats", "samples", "workers", "meta")
WRITES = re.compile(rf"\b(?:INTO|UPDATE)\s+liteq_(?!(?:{'|'.join(PLAIN)})\b)", re.IGNORECASE)


AS_IT_IS = frozenset({str, int, float, bool, type(None)})


@lru_cache(maxsize=1024)
def _writes_values(sql: str) -> bool:
    """Whether `sql` writes into a table of liteq's that has values of the user's; never for a user's own statement."""
    return WRITES.search(sql) is not None


class SealedTransaction:
    """`driver.Transaction` over another one, by a vault."""

    __slots__ = ("_tx", "_vault")

    def __init__(self, tx: Transaction, vault: Vault) -> None:
        self._tx = tx
        self._vault = vault

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        rows = self._tx.execute(sql, bound(self._vault, sql, params))
        return [self._opened(row) for row in rows]

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        return self._tx.executemany(sql, [bound(self._vault, sql, row) for row in rows])

    def tokens(self, n: int, above: int = 0) -> int:
        return self._tx.tokens(n, above)

    def uptime(self) -> tuple[str, int]:
        return self._tx.uptime()

    def in_turn(self, name: str) -> None:
        self._tx.in_turn(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)  # an engine's own code knows more of its sessions: migrations do

    def _opened(self, row: Row) -> Row:
        for value in row:
            if (type(value) is bytes and value.startswith(SEAL)) or (type(value) is str and value.startswith(TEXT)):
                return tuple(map(self._open, row))
        return row

    def _open(self, value: Any) -> Any:
        """`value` opened. What cannot be opened stays as it is: its reader raises, not the transaction of them all."""
        try:
            if type(value) is bytes:
                return self._vault.open(value)
            return self._vault.open_text(value) if type(value) is str else value
        except CodecError:
            return value


def bound(vault: Vault, sql: str, params: Params) -> Params:
    """`params` as they are written. Raises CodecError: then nothing is."""
    if not params or not _writes_values(sql):
        return params
    if type(params) is dict or isinstance(params, Mapping):
        return {name: value if type(value) in AS_IT_IS else _sealed(vault, value) for name, value in params.items()}
    return tuple([value if type(value) in AS_IT_IS else _sealed(vault, value) for value in params])


def _sealed(vault: Vault, value: object) -> object:
    if isinstance(value, bytes):
        return vault.seal(value) if value else value  # an empty one says that it stands elsewhere (payloads.py)
    if isinstance(value, (bytearray, memoryview)):
        return vault.seal(bytes(value))
    return vault.seal_text(value) if isinstance(value, Private) and value else value


class Block:
    """The context manager of a transaction, with a `SealedTransaction` for its own."""

    __slots__ = ("_block", "_vault")

    def __init__(self, block: AbstractContextManager[Transaction], vault: Vault) -> None:
        self._block = block
        self._vault = vault

    def __enter__(self) -> Transaction:
        return SealedTransaction(self._block.__enter__(), self._vault)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block.__exit__(kind, error, trace)

    def give_up(self) -> None:
        """As the manager inside, where that has something to give up (interrupts.py)."""
        drop: Callable[[], None] | None = getattr(self._block, "give_up", None)
        if drop is not None:
            drop()


managers.update({method.__code__: Block.give_up for method in (Block.__enter__, Block.__exit__)})


class _Sealed(Driver):
    """The methods of a driver that hand out transactions. Mixed into the class of a driver that is given a vault."""

    vault: Vault

    def write(
        self, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None
    ) -> AbstractContextManager[Transaction]:
        return Block(super().write(promise, bell), self.vault)  # type: ignore[safe-super]

    def change(self, sql: str, params: Params, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> int:
        # Sealed before the way to the gate: the codec's time is nobody else's here.
        return super().change(sql, bound(self.vault, sql, params), promise, bell)  # type: ignore[safe-super]

    def read(self, *, alone: bool = False, within_s: float | None = None) -> AbstractContextManager[Transaction]:
        return Block(super().read(alone=alone, within_s=within_s), self.vault)  # type: ignore[safe-super]


@lru_cache(maxsize=64)
def _sealed_kind(kind: type[Driver]) -> type[_Sealed]:
    return cast("type[_Sealed]", type(kind.__name__, (_Sealed, kind), {"__module__": kind.__module__}))


def seal(driver: Driver, vault: Vault) -> None:
    """Have `driver`, of any engine, seal and open by `vault` from now on. Once: a second call changes the vault.

    Its class becomes one with three methods over its own. So a driver without a vault pays nothing, not even a look.
    """
    if not isinstance(driver, _Sealed):
        driver.__class__ = _sealed_kind(type(driver))
    cast("_Sealed", driver).vault = vault


def vault_of(driver: Driver) -> Vault | None:
    """The vault that `driver` seals by; None where it does not."""
    return driver.vault if isinstance(driver, _Sealed) else None


NOTED = "SELECT value FROM liteq_meta WHERE key = 'sealed'"
NOTE = "INSERT INTO liteq_meta (key, value) VALUES ('sealed', 1) ON CONFLICT (key) DO NOTHING"


def keep_sealed(driver: Driver, *, works: bool = False) -> None:
    """Note in the queue that its values are sealed, where `driver` has a vault; where it has none, look whether so.

    Then it gets a blind one: it refuses to write a value that would stand there in the open, and a reader is told why a
    value cannot be shown. Raises ImproperlyConfigured for a process that `works`: it needs them all.
    """
    vault = vault_of(driver)
    with driver.read(alone=True) as tx:
        noted = bool(tx.execute(NOTED))
    if vault is None and noted:
        vault = Vault(None)
        seal(driver, vault)
    if vault is None:
        return
    if vault.is_blind and works:
        raise ImproperlyConfigured(
            f"the values in {driver.where()} are sealed by a payload codec: set `payload_codec` here, as the processes "
            "do that wrote them"
        )
    if not noted and not driver.read_only:
        with driver.write(Promise.ACCEPTED) as tx:
            tx.execute(NOTE)
