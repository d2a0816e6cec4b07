"""Broker URLs of the PostgreSQL engine: libpq's form, with three options of liteq's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from liteq.exceptions import ImproperlyConfigured
from liteq.utils.misspelt import LIKELY, nearest

__all__ = ["Location", "parse"]

OURS = ("schema", "listen", "mode")
OF_LIBPQ = """
host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout client_encoding options
application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count
tcp_user_timeout replication gssencmode sslmode sslnegotiation sslcompression sslcert sslkey sslkeylogfile sslpassword
sslcertmode sslrootcert sslcrl sslcrldir sslsni requiressl requirepeer ssl_min_protocol_version
ssl_max_protocol_version min_protocol_version max_protocol_version krbsrvname gsslib gssdelegation scram_client_key
scram_server_key service servicefile target_session_attrs load_balance_hosts
"""
LIBPQ = frozenset(OF_LIBPQ.split())
DEFAULT_SCHEMA = "liteq"
LONGEST_NAME = 63  # bytes: NAMEDATALEN - 1 of the server
EXAMPLE = "write postgresql://user@host/database, or postgresql://user@/database?host=/var/run/postgresql for a socket"
MODES = ("rw", "ro")
UNESCAPED = (
    "in the name of the user and in the password write @ as %40, / as %2F, [ as %5B, ] as %5D, % as %25 and a space as "
    "%20"
)
ESCAPED = re.compile(r"(?:[^%\s]|%(?!00)[0-9A-Fa-f]{2})*")  # as libpq takes it


@dataclass(frozen=True, slots=True)
class Location:
    """A URL's facts. `conninfo`: for libpq, with the password, if it has one; never shown. `listen`: host and port."""

    conninfo: str
    hosts: str
    database: str
    schema: str = DEFAULT_SCHEMA
    listen: tuple[str, str] | None = None
    read_only: bool = False

    def where(self) -> str:
        """The place for people and JSON: hosts, database and schema; no user and no password."""
        return f"{self.hosts}/{self.database}?schema={quote(self.schema, safe='')}"


def parse(url: str) -> Location:
    """Read `url`. Raises ImproperlyConfigured, without the password in its text."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme
    except ValueError:  # its text has a part of the URL, which may be that of a password
        raise ImproperlyConfigured(f"the broker URL cannot be read: {UNESCAPED}; {EXAMPLE}") from None
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg", "postgres+psycopg"):
        raise ImproperlyConfigured(f"broker URL: the scheme {scheme!r} is none of PostgreSQL's: {EXAMPLE}")
    if parts.fragment:
        raise ImproperlyConfigured("broker URL: write # as %23, also in a password")
    _refuse_unescaped(parts)
    # A + stands for itself, as libpq takes it: in a password, say.
    options = dict(parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True))
    ours = {name: options.pop(name) for name in OURS if name in options}
    _refuse_misspelt(options)
    hosts = parts.netloc.rpartition("@")[2] or options.get("host", "")
    database = unquote(parts.path.removeprefix("/")) or options.get("dbname", "")
    if not database:
        raise ImproperlyConfigured(f"broker URL names no database: {EXAMPLE}")
    conninfo = f"postgresql://{parts.netloc}{parts.path}"
    if options:
        conninfo += f"?{urlencode(options, quote_via=quote)}"
    return Location(
        conninfo, hosts or "local", database, _schema(ours.get("schema", DEFAULT_SCHEMA)), _listen(ours.get("listen")),
        _read_only(ours.get("mode", "rw")),
    )  # fmt: skip


def _refuse_unescaped(parts: SplitResult) -> None:
    """Refuse a user or password of which a part would be taken for another, and shown with it, or by libpq's error."""
    who, _, _ = parts.netloc.rpartition("@")
    if "@" in who or "@" in parts.path or not ESCAPED.fullmatch(who):
        raise ImproperlyConfigured(f"broker URL: {UNESCAPED}")


def _refuse_misspelt(options: dict[str, str]) -> None:
    """Refuse a name that is nearly one of ours or libpq's. One that is near to none may be of a newer libpq."""
    for name in options.keys() - LIBPQ:
        near = nearest(name, LIBPQ, cutoff=LIKELY) or nearest(name, OURS)
        if near:
            raise ImproperlyConfigured(f"broker URL: unknown option {name!r}, did you mean {near}=?")


def _schema(name: str) -> str:
    # In a search path "$user" stands for another name, also where it is quoted: the tables would be in another schema.
    if not 0 < len(name.encode()) <= LONGEST_NAME or "\0" in name or re.match(r"pg_|\$user\Z", name, re.IGNORECASE):
        raise ImproperlyConfigured(
            f"broker URL: schema={name!r} cannot be used: take a name of 1 to {LONGEST_NAME} bytes that does not begin "
            "with pg_ and is not $user"
        )
    return name


def _listen(address: str | None) -> tuple[str, str] | None:
    if address is None:
        return None
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise ImproperlyConfigured(f"broker URL: listen= is host:port of the server itself, not {address!r}")
    return host.strip("[]"), port


def _read_only(mode: str) -> bool:
    if mode not in MODES:
        raise ImproperlyConfigured(f"broker URL: mode= is one of {', '.join(MODES)}, not {mode!r}")
    return mode == "ro"
