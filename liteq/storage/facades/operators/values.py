"""The values in a queue that a payload codec seals: under which keys they stand, and writing them anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from liteq.exceptions import CodecError
from liteq.serialization.sealing import Vault
from liteq.storage.facades.base import Facade
from liteq.storage.housekeeping import reseal as _reseal
from liteq.storage.sealed import vault_of

__all__ = ["Values"]


class Values(Facade):
    """Each method but `key_of` raises CodecError where this process has no codec."""

    @property
    def vault(self) -> Vault:
        """The vault of this process."""
        vault = vault_of(self._driver)
        if vault is None or vault.is_blind:
            raise CodecError("there is no codec here: set `payload_codec`, or name the app that has it with -A")
        return vault

    def count(self) -> Mapping[str, _reseal.Standing]:
        """How the values of each column stand, by "table.column". Reads all of them."""
        head = self.vault.head
        with self._driver.read() as tx:
            return _reseal.count(tx, head)

    def key_of(self, id_: str) -> str | None:
        """The id of the key under which the arguments of a message are sealed; None where they are not, or are gone."""
        with self._driver.read() as tx:
            return _reseal.key_of_message(tx, id_)

    def reseal(self) -> Iterator[_reseal.Resealed]:
        """Write all values anew that are not under the present key, a few rows a step; what is done after each."""
        return _reseal.reseal(self._driver, self.vault.head)
