"""The store of a test in which several meet: they all need its URL, and another test has another store.

Such a test runs on a file and on a PostgreSQL server, where verbs meet halfway. `LITEQ_TEST_URL` names another engine:
then it runs there alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest

from liteq.clock import Clock
from liteq.storage.storage import Storage, open_storage

from .. import lasting, postgresql

__all__ = ["ENGINES", "Store", "store_of"]

GIVEN = os.environ.get("LITEQ_TEST_URL")
ENGINES = ["apsw", "postgresql"] if GIVEN is None else ["given"]


class Store:
    """A store with nothing in it but its tables. `server`: the PostgreSQL server of the tests that it is on."""

    def __init__(self, url: str, server: str | None = None) -> None:
        self.url, self.server = url, server
        if server is None:
            storage = open_storage(url)
            storage.migrate()
        else:
            storage = lasting.emptied(server)
        self.many_writers = not storage.driver.one_machine
        storage.close()

    def open(self, name: str, clock: Clock | None = None) -> Storage:
        """Open it; `name` tells those apart that are open at a time."""
        return open_storage(self.url, clock=clock) if self.server is None else lasting.lasting(self.server, name, clock)


def store_of(request: pytest.FixtureRequest, folder: Path) -> Store:
    """The store of a fixture with the parameters ENGINES; a file is in `folder`.

    "{name}" in `LITEQ_TEST_URL` is a name for each store, such as a schema's: `postgresql:///db?schema={name}`;
    "{folder}" is a folder of its own.
    """
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        return Store(postgresql.url(server), server)
    if GIVEN is None:
        return Store(f"sqlite:///{folder}/queue.db?driver=apsw")
    return Store(GIVEN.format(name=f"t{uuid4().hex[:12]}", folder=folder))
