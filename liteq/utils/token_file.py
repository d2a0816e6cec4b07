"""Files of tokens, which are for their owner alone: a JSON object, an entry for each token.

    {"TOKEN": {"name": "ann", "rights": ["view"], "queues": ["mail*"], "tasks": ["shop.*"], "secret": "..."}}

The dashboard, `liteq mcp` and the gateway read the same files, each those of the fields and rights that it knows.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import orjson

from liteq.exceptions import ImproperlyConfigured
from liteq.utils.misspelt import nearest
from liteq.utils.records import NamedTuple

__all__ = ["FIELDS", "WORK", "Entry", "found_by", "hash_of", "read_token_file"]

FIELDS = ("name", "rights", "queues", "tasks", "secret")
LISTS = ("rights", "queues", "tasks")
WORK = "work"  # the right to lease messages, which only the gateway gives: no role has it

T = TypeVar("T")


class Entry(NamedTuple):
    """The token of one person or program. `where` names the entry in an error, without the token."""

    where: str
    token: str
    fields: Mapping[str, Any]


def read_token_file(path: Path, *, needed: Collection[str] = ("name",)) -> list[Entry]:
    """The entries of the file. Raises ImproperlyConfigured where others may read it, and for what is no such file.

    `needed`: the fields without which an entry is refused.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_bytes()
    except OSError as exc:
        raise ImproperlyConfigured(f"the file of tokens {path} cannot be read: {exc.strerror}") from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise ImproperlyConfigured(f"others may read the file of tokens {path}: chmod 600 {path}")
    try:
        found = orjson.loads(text)
    except ValueError as exc:
        raise ImproperlyConfigured(f"the file of tokens {path} is not JSON: {exc}") from None
    if not isinstance(found, dict) or not found:
        raise ImproperlyConfigured(
            f'the file of tokens {path} holds an object such as {{"TOKEN": {{"name": "ann", "rights": ["view"]}}}}'
        )
    return [_entry(path, n, token, fields, needed) for n, (token, fields) in enumerate(found.items(), 1)]


def _entry(path: Path, n: int, token: str, fields: object, needed: Collection[str]) -> Entry:
    where = f"entry {n} of the file of tokens {path}"  # never the token
    if not token.strip():
        raise ImproperlyConfigured(f"{where} has an empty token")
    if not isinstance(fields, dict) or not isinstance(fields.get("name"), str) or not fields.keys() >= set(needed):
        raise ImproperlyConfigured(f'{where} is not as {{"name": "ann", "rights": ["view"]}}')
    for field in fields.keys() - set(FIELDS):
        near = nearest(str(field), FIELDS)
        raise ImproperlyConfigured(f"{where} has an unknown field {field!r}; use {near or ', '.join(FIELDS)}")
    for field in LISTS:
        value = fields.get(field, [])
        if not (isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))):
            raise ImproperlyConfigured(f"{where}: {field} is a list of names")
    secret = fields.get("secret", "-")
    if not isinstance(secret, str) or not secret:
        raise ImproperlyConfigured(f"{where}: secret is a text that is not empty")
    return Entry(where, token, fields)


def hash_of(token: str) -> bytes:
    """The hash under which a token is kept in memory."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def found_by(token: str, known: Mapping[bytes, T]) -> T | None:
    """The value of `known`, by hashes, for `token`; takes the same time for any that is none."""
    given, found = hash_of(token), None
    for hashed, value in known.items():
        if hmac.compare_digest(given, hashed):
            found = value
    return found
