"""The guard of a command: a process beside it that ends its process group when the worker is gone, or at its timeout.

A worker that is killed cannot clean up, and the next attempt of the step must not meet the last one's processes.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

__all__ = ["Guard"]

# It reads until the worker is gone, or writes in how many seconds what the command left behind has to end. dash takes
# no `--` before the number of a group.
SCRIPT = """
trap '' HUP INT TERM
left=0
if read -r left; then
  while [ "$left" -gt 0 ] && kill -0 "-$1" 2>/dev/null; do sleep 1; left=$((left - 1)); done
fi
kill -KILL "-$1" 2>/dev/null
"""

_left: list[subprocess.Popen[bytes]] = []  # guards that outlive their command: children, to be waited for


class Guard:
    """Guards the process group `group` as long as this process lives, and until `release`."""

    def __init__(self, group: int) -> None:
        _left[:] = [one for one in _left if one.poll() is None]
        self._group = group
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", SCRIPT, "sh", str(group)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def release(self, left_s: float | None) -> None:
        """The command has ended. Its leftovers end in `left_s` seconds; None: nothing says when."""
        process, stdin = self._process, self._process.stdin
        assert stdin is not None
        if left_s is not None and _lives(self._group):
            with suppress(BrokenPipeError):
                stdin.write(b"%d\n" % max(0, round(left_s)))
                stdin.close()
            _left.append(process)
            return
        process.kill()
        process.wait()
        stdin.close()


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user, by sudo
        return True
    return True
