"""Where alerts go: a URL gets JSON, an address gets a mail, a command gets JSON on stdin and its fields as variables.

Each is told by a process of its own. So neither a target that does not answer nor a name server holds up a worker's
loop, and no thread of it is there when a worker forks.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

from liteq.exceptions import ImproperlyConfigured
from liteq.sending.webhook import post
from liteq.utils.json_text import to_json
from liteq.utils.records import NamedTuple
from liteq.utils.text import printable

__all__ = ["TIMEOUT_S", "Target", "Teller", "deliver", "send_message"]

TIMEOUT_S = 30.0  # of one attempt
MAIL = "mailto:"
SECURE = 465
LONGEST_WORDS = 4_096  # of what a command says to stderr


class Target(NamedTuple):
    """One place that is told: `address` as it was given."""

    address: str

    @classmethod
    def of(cls, address: str) -> Target:
        """The target of this address. Raises ImproperlyConfigured for one that is none."""
        kind, is_url, _ = address.partition("://")
        if is_url and kind.isalnum() and kind.lower() not in {"http", "https"}:
            raise ImproperlyConfigured(f"an alert goes to http:// or https://, not to {kind}://: a command can do that")
        kind = address.partition(":")[0].lower()
        if not address.strip():
            raise ImproperlyConfigured("an alert goes to a URL, to mailto:ADDRESS, or to a command, not to ''")
        if kind == "mailto" and "@" not in address:
            raise ImproperlyConfigured(f"{address!r} has no address: write mailto:ops@example.com")
        return cls(address)

    @property
    def kind(self) -> str:
        """The way in which it is told: "url", "mail" or "command"."""
        if self.address.lower().startswith(("http://", "https://")):
            return "url"
        return "mail" if self.address.lower().startswith(MAIL) else "command"

    @property
    def digest(self) -> str:
        """Its name in the file: an address may hold a secret, and a copy of the file should not."""
        return hashlib.sha256(self.address.encode()).hexdigest()[:16]

    @property
    def shown(self) -> str:
        """Its name for a log: a URL without its path, which is a chat's secret."""
        parts = urlsplit(self.address) if self.kind == "url" else None
        if parts is None:
            return self.address if self.kind == "mail" else f"`{self.address.split()[0]}`"
        return f"{parts.scheme}://{parts.hostname}"


class Teller:
    """A process that tells `target` of `document`. Raises OSError where none can be started.

    Its input and its words are in files, not in pipes: neither side ever waits for the other.
    """

    def __init__(self, target: Target, document: dict[str, Any], mail: dict[str, Any]) -> None:
        is_command = target.kind == "command"
        given = document if is_command else {"address": target.address, "document": document, "mail": mail}
        named = {f"LITEQ_ALERT_{key.upper()}": "" if value is None else str(value) for key, value in document.items()}
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed when they are read
        self._said: str | None = None
        with tempfile.TemporaryFile() as body:
            body.write(to_json(given))
            body.seek(0)
            self._process = subprocess.Popen(
                target.address if is_command else [sys.executable, "-m", "liteq", "alert", "--deliver"],
                shell=is_command,
                stdin=body,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                env={**os.environ, **{name: value.replace("\0", "") for name, value in named.items()}},
                start_new_session=True,
            )

    def ended(self) -> int | None:
        """Its exit code, 0 where the target was told; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End it, with all that its command has started."""
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def words(self) -> str:
        """The last line that it wrote to stderr; it has ended."""
        if self._said is None:
            with self._words as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - LONGEST_WORDS))
                lines = file.read().decode(errors="replace").strip().splitlines()
            self._said = printable(lines[-1].removeprefix("liteq: error: ")) if lines else ""
        return self._said


def deliver(address: str, document: dict[str, Any], mail: dict[str, Any]) -> None:
    """Tell a URL or a mail address, here. Raises OSError where it does not answer, or refuses."""
    target = Target.of(address)
    if target.kind == "mail":
        _send_mail(target.address[len(MAIL) :], document, mail)
    else:
        post(address, document, key=str(document["id"]))


def _send_mail(to: str, document: dict[str, Any], mail: dict[str, Any]) -> None:
    message = EmailMessage()
    state = "" if document["event"] == "alert" else "well again: "
    message["Subject"] = f"[liteq {document['app']}] {state}{' '.join(str(document['text']).split())}"[:200]
    message["From"], message["To"] = mail["from"], unquote(to.partition("?")[0])
    message["Message-ID"] = f"<{document['id']}@liteq>"
    message.set_content("\n".join(f"{key}: {value}" for key, value in document.items()))
    send_message(message, mail["smtp"])


def send_message(message: EmailMessage, url: str) -> None:
    """Send a mail by the server of `url`, smtp:// or smtps://NAME:PASSWORD@HOST:PORT. Raises OSError."""
    import smtplib

    server = urlsplit(url)
    is_secure = server.scheme == "smtps"
    kind = smtplib.SMTP_SSL if is_secure else smtplib.SMTP
    with kind(server.hostname or "localhost", server.port or (SECURE if is_secure else 25), timeout=TIMEOUT_S) as smtp:
        if server.username:
            if not is_secure:
                smtp.starttls()
            smtp.login(unquote(server.username), unquote(server.password or ""))
        smtp.send_message(message)
