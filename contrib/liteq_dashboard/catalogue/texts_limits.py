"""The texts of limits, turns, unique calls, progress and streams: a part of the catalogue of texts.py."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["LIMITS"]

LIMITS: Mapping[str, str | Mapping[str, str]] = {
    "turns": "Keys that take turns",
    "turns_are": "Messages with a fair key wait in a line for each key, and the lines take turns.",
    "limits_are": "How many messages of a key may run at once, how often they may start, and how many wait for that.",
    "no_limits": "No limit is set, and no message is held back by a key.",
    "key": "Key",
    "allows_rate": "Starts",
    "allows_tokens": "Tokens",
    "allows": "At once",
    "waits_for": "Waits for",
    "of_pattern": "by {}",
    "next_token": "Next token",
    "in_code": "In the code",
    "not_in_code": "not in the code: it was set at run time",
    "no_limit": "none",
    "key_paused": "Paused until {}: {}",
    "limit_of_key": "Limit of a key",
    "declared_at_once": "{} at once",
    "declared_tokens": "{} tokens",
    "find_key": "Key",
    "open_key": "Open",
    "have_places": "Has a place",
    "nobody_has": "No message of this key runs.",
    "waits_by_queue": "Waits, by queue",
    "limit_actions": {"set": "Set the limit", "pause": "Pause", "resume": "Resume", "delete": "Delete"},
    "limit_fields": {
        "rate": "Starts in a period (10/s, 100/m, 5/h, 1000/d; empty: any number)",
        "concurrent": "How many run at once (empty: any number)",
        "tokens": "Tokens of models in a period (200k/m, 5M/d; empty: any number)",
        "seconds": "For how long (90s, 10m, 2h)",
    },
    "lacks": {"pause": "paused", "place": "no place is free", "token": "no token", "turn": "not its turn"},
    "has_place": "has a place since",
    "is_unique": "Unique",
    "duplicate_of": "A duplicate of",
    "batch_of": "In a batch of {}, with",
    "superseded_by": "Superseded by",
    "quiet": "quiet: it claims no more",
    "in_order": "in this order",
    "progress_is": "Progress",
    "left": "{} left",
    "streams": "Streams",
    "chunks": "{} chunks",
    "last_chunks": "the last {}",
}
