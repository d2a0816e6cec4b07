"""A configuration of Litestream for one queue, as YAML, with the commands of a drill as comments."""

from __future__ import annotations

import json
import shlex
from urllib.parse import quote

from liteq.operating.litestream.source import PREFIX
from liteq.operating.litestream.tool import OLDEST_TEXT
from liteq.utils.records import NamedTuple

__all__ = ["INTERVAL_S", "Configuration"]

INTERVAL_S = 1  # between two looks at the log, and two uploads: with the loss of the machine so much is lost
SNAPSHOT_H = 1
RETENTION_H = 72


class Configuration(NamedTuple):
    """The queue `path` is copied to `replica`; `socket` takes commands, from users that `mode` lets in."""

    path: str
    replica: str
    socket: str
    mode: str = "600"

    def text(self) -> str:
        """The YAML."""
        return f"""\
# Litestream {OLDEST_TEXT} or newer, for the queue {self.path}
#
# Create the queue first (`liteq migrate`), then start Litestream, before the workers and beside them:
#   litestream replicate -config litestream.yml{self._expansion}
# Keys of the remote come from the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
# For calls with replicated=True, in the app: litestream_socket = {self.socket!r}
# After a restore, copy to another place: Litestream may take up an old replica without a new snapshot, and damage it.
#
# A drill, as often as you can: take the replica into use beside the queue, and look at it.
#   {self._liteq} restore {shlex.quote(PREFIX + self.replica)}
#   {self._liteq} doctor

socket:
  enabled: true
  path: {_quoted(self.socket)}
  permissions: 0{self.mode}

# A restore begins with a snapshot, and can go back as far as the retention.
snapshot:
  interval: {SNAPSHOT_H}h
  retention: {RETENTION_H}h

dbs:
  - path: {_quoted(self.path)}
    monitor-interval: {INTERVAL_S}s
    replica:
      url: {_quoted(self.replica)}
      sync-interval: {INTERVAL_S}s
"""

    @property
    def _liteq(self) -> str:
        return f"liteq -b {shlex.quote(f'sqlite:///{quote(self.path)}.drill')}"

    @property
    def _expansion(self) -> str:
        """Litestream puts variables of the environment in place of $NAME, unless it is told not to."""
        return " -no-expand-env" if "$" in self.path + self.replica + self.socket else ""


def _quoted(text: str) -> str:
    """A string of JSON is one of YAML."""
    return json.dumps(text, ensure_ascii=False)
