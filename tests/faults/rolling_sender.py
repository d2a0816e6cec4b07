"""The load of the rolling restart: a task each 5 ms, each fiftieth a long one, until there is a file `stop`.

A line on standard output means: the call that sent this had returned. The last line on standard error is how late this
process woke up at the worst, in milliseconds: as long as that the machine itself stood still.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rolling_app import long, short

PACE_S = 0.005
LONG_EACH = 50


def main() -> None:
    late_ns, n = 0, 0
    while not Path("stop").exists():
        task = long if n % LONG_EACH == 0 else short
        sent = task.delay(n, time.monotonic_ns())
        print(f"single {sent.id} {n}", flush=True)
        n += 1
        before = time.monotonic_ns()
        time.sleep(PACE_S)
        late_ns = max(late_ns, time.monotonic_ns() - before - int(PACE_S * 1e9))
    print(f"{late_ns / 1e6:.1f}", file=sys.stderr)


if __name__ == "__main__":
    main()
