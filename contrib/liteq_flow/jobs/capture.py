"""The output of a command: masked, line by line into the log of its message, and kept up to a size."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Callable, Iterable

__all__ = ["INLINE", "LARGEST", "Capture", "Masking"]

INLINE = 1 << 20  # bytes that a step's output may have; what is more is an artifact
LARGEST = 64 << 20  # bytes of an artifact
LONGEST_LINE = 16 * 1024  # characters, before a line is cut in two
MASK = "*******"
SHORTEST = 3  # characters of a secret that is looked for: a shorter one is in every other word

Log = Callable[[logging.LogRecord], None]


class Masking:
    """Hides secrets in a text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        lines = {line for secret in secrets for line in (secret, *secret.splitlines()) if len(line) >= SHORTEST}
        self._secrets = sorted(lines, key=len, reverse=True)  # one may be a part of another
        self.longest = max(map(len, self._secrets), default=0)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def cut(self, text: str) -> int:
        """How much of a text that goes on can be shown now: no secret begins before that and ends behind it."""
        found = max(0, len(text) - max(0, self.longest - 1))
        for secret in self._secrets:
            at = text.find(secret, max(0, found - len(secret) + 1))
            while 0 <= at < found:
                if at + len(secret) > found:
                    found = at
                    break
                at = text.find(secret, at + 1)
        return found


class Capture:
    """One stream of a command. `keep`: bytes of it that are kept; `log`: takes its lines."""

    def __init__(self, name: str, masking: Masking, log: Log, *, keep: int) -> None:
        self.name = name
        self.size = 0  # bytes that were written, masked
        self._masking, self._log, self._keep = masking, log, keep
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._kept: list[str] = []
        self._line = ""

    @property
    def text(self) -> str:
        """The part of it that is kept."""
        return "".join(self._kept)

    def add(self, data: bytes, *, last: bool = False) -> None:
        """Take a piece; `last`: and no more."""
        text = self._line + self._decoder.decode(data, last)
        end = text.rfind("\n") + 1
        for line in text[:end].splitlines():
            self._tell(line)
        self._keep_of(text[:end])
        rest = text[end:]
        while len(rest) > LONGEST_LINE + self._masking.longest:
            at = self._masking.cut(rest[: LONGEST_LINE + self._masking.longest]) or LONGEST_LINE
            self._tell(rest[:at])
            self._keep_of(rest[:at])
            rest = rest[at:]
        if last and rest:
            self._tell(rest)
            self._keep_of(rest)
            rest = ""
        self._line = rest

    def _keep_of(self, text: str) -> None:
        if not text:
            return
        text = self._masking(text)
        room = self._keep - self.size
        data = text.encode("utf-8", "replace")
        self.size += len(data)
        if room >= len(data):
            self._kept.append(text)
        elif room > 0:
            self._kept.append(data[:room].decode("utf-8", "ignore"))

    def _tell(self, line: str) -> None:
        level = logging.INFO if self.name == "stdout" else logging.WARNING
        self._log(logging.LogRecord(self.name, level, "", 0, self._masking(line).rstrip("\r"), None, None))
