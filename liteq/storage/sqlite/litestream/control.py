"""Litestream's control socket: HTTP over a socket of the file system, by which a sync is asked for and waited for."""

from __future__ import annotations

import json
import os
import socket
from http.client import HTTPConnection, HTTPException
from math import ceil
from time import monotonic, sleep
from typing import Any

from liteq.exceptions import ImproperlyConfigured, NotReplicated, StorageUnavailable

__all__ = ["Control"]

ANSWER_S = 5.0  # for the list of files, which Litestream has in memory
AGAIN_S = 0.2  # until a sync that was refused is asked for again: the remote may be back
HOW = "start Litestream with what `liteq litestream` prints, or correct the setting litestream_socket"


class _OverSocket(HTTPConnection):
    """HTTP to a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("litestream", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise OSError("this system has no sockets in the file system")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Control:
    """A connection to the Litestream that copies `database`, an absolute path as its configuration has it.

    Raises StorageUnavailable where none answers at `path`, or it copies other files, ImproperlyConfigured without one.
    """

    def __init__(self, path: str | None, database: str) -> None:
        if not path:
            raise ImproperlyConfigured(
                "replicated=True needs the setting litestream_socket, the control socket of the Litestream that copies "
                "the queue, and nothing was sent: `liteq litestream --to REPLICA_URL` prints both sides"
            )
        self._path = os.path.expanduser(path)
        self._database = database
        self._http = _OverSocket(self._path)
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._http.close()

    def wait(self, within_s: float) -> None:
        """Return when all that is committed by now is at the remote. Raises NotReplicated after `within_s` seconds.

        A sync that the remote refuses, or that ends with Litestream itself, is asked for again until then.
        """
        end = monotonic() + within_s
        wanted, why = 0, "it has not answered"
        while (left := end - monotonic()) > 0:
            try:
                status, answer = self._ask("POST", "/sync", left, path=self._database, wait=True, timeout=ceil(left))
            except (OSError, HTTPException, ValueError) as exc:
                self.close()  # the next request connects anew
                why = str(exc) or type(exc).__name__
            else:
                if status == 200:
                    # The number of the first sync covers the commit. A later one would have to catch up with others.
                    wanted = wanted or int(answer.get("txid") or 0)
                    there = int(answer.get("replicated_txid") or 0)
                    if there >= wanted > 0:
                        return
                    why = f"the remote is at {there:,} of {wanted:,}"
                else:
                    why = str(answer.get("error") or f"status {status}")
            sleep(max(0.0, min(AGAIN_S, end - monotonic())))
        raise NotReplicated(self._database, within_s, why)

    def _check(self) -> None:
        try:
            status, answer = self._ask("GET", "/list", ANSWER_S)
            found = {str(one["path"]): str(one["status"]) for one in answer["databases"]} if status == 200 else None
        except OSError as exc:
            raise StorageUnavailable(
                f"no Litestream answers at {self._path} ({exc.strerror or exc}), and nothing was sent: {HOW}"
            ) from exc
        except (HTTPException, ValueError, KeyError, TypeError):
            found = None
        if found is None:
            raise StorageUnavailable(f"{self._path} is no control socket of Litestream, and nothing was sent: {HOW}")
        if self._database not in found:
            others = ", ".join(sorted(found)) or "no file"
            raise StorageUnavailable(
                f"Litestream at {self._path} copies {others}, not {self._database}, and nothing was sent: {HOW}"
            )
        if found[self._database] == "stopped":
            raise StorageUnavailable(
                f"Litestream at {self._path} has stopped to copy {self._database}, and nothing was sent: "
                f"`litestream start -socket {self._path} {self._database}`"
            )

    def _ask(self, method: str, call: str, within_s: float, **document: Any) -> tuple[int, dict[str, Any]]:
        """The status and the document of an answer. Raises OSError, HTTPException, ValueError for what is none."""
        self._http.timeout = within_s
        if self._http.sock is not None:
            self._http.sock.settimeout(within_s)
        body = json.dumps(document) if document else None
        self._http.request(method, call, body, {"Content-Type": "application/json"} if body else {})
        response = self._http.getresponse()
        answer = json.loads(response.read())
        if not isinstance(answer, dict):
            raise ValueError(f"the answer is no object: {answer!r:.80}")
        return response.status, answer
