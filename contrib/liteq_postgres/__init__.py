"""A queue on a PostgreSQL server: the same API, worker and guarantees, with workers on any number of machines.

    app = LiteQ("shop", broker="postgresql://user@host/database")

Only the URL differs. Needs the extra `postgres` (psycopg); a server of version 14 or newer.
"""

from liteq_postgres.engine import ENGINE, PostgresEngine

__all__ = ["ENGINE", "PostgresEngine"]
