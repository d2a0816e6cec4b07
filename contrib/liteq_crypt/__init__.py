"""Encryption at rest: a payload codec of AES-256-GCM with keys by id.

    app = LiteQ("shop", broker="sqlite:///shop.db", payload_codec="liteq_crypt:Codec")

The keys are in the file that the environment variable `PAYLOAD_KEYS_FILE` names, lines of `ID:KEY`, or in
`PAYLOAD_KEYS`; `python -m liteq_crypt ID` prints one. Needs the extra `crypt`.
"""

from __future__ import annotations

try:
    import cryptography  # noqa: F401 - asked for, to say what is missing
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError("liteq_crypt needs cryptography (the extra `crypt`): install it", name=exc.name) from exc

from liteq_crypt.codec import Codec
from liteq_crypt.keys import Keys, UnknownKey, new_key

__all__ = ["Codec", "Keys", "UnknownKey", "new_key"]
