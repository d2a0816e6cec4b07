"""A mail server for tests: it takes every mail, and keeps what it was told."""

from __future__ import annotations

import socketserver
import threading

__all__ = ["Mailbox"]


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, Mailbox)
        self._say(220)
        in_mail = False
        for data in self.rfile:
            line = data.decode().rstrip("\r\n")
            server.lines.append(line)
            if in_mail and line != ".":
                continue
            in_mail = line.upper() == "DATA"
            self._say(354 if in_mail else 221 if line.upper() == "QUIT" else 250)

    def _say(self, code: int) -> None:
        self.wfile.write(b"%d well\r\n" % code)


class Mailbox(socketserver.ThreadingTCPServer):
    """`lines`: all that clients have said. Serves from its making until `close`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.lines: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """The setting `alert_smtp` for it."""
        return f"smtp://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()
