"""How fast tasks come to their ends, and which fail: sums of the last minutes, in all and by queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from liteq.context import App
from liteq.monitor.access.sight import ALL, Sight
from liteq.storage.statistics.stats import Number, Tally, quantile
from liteq.utils.records import NamedTuple

__all__ = ["Pace", "pace"]

MINUTES: Final = 5  # that are looked at for what fails; rates are of the last one and of the one that runs
ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "expired", "crashed", "rejected"})
FAILED: Final = frozenset({"failed", "crashed", "rejected"})
FEW: Final = 5  # failures that are no share worth a word
SHARE: Final = 0.02


class Pace(NamedTuple):
    """Ends and failures a second, percentiles in seconds (None: nothing ran), ends a second by queue, what fails most.

    `failing`: (task, share of its ends that failed), the worst first.
    """

    done_s: float
    failed_s: float
    wait_p95_s: float | None
    run_p95_s: float | None
    out_s: dict[str, float]
    failing: list[tuple[str, float]]

    def rates(self) -> dict[str, float | None]:
        """The numbers of all queues together, as a document."""
        return {
            "done_s": self.done_s, "failed_s": self.failed_s, "wait_p95_s": self.wait_p95_s,
            "run_p95_s": self.run_p95_s,
        }  # fmt: skip


def pace(app: App, see: Sight = ALL) -> Pace:
    """The pace of the last minute or two, within `see`."""
    fresh = [row for row in app.storage.stats.series(60) if see.sees(row.queue)]  # this minute, and the one before
    seconds = 60 + app.clock.now_ms() % 60_000 / 1000
    total = Tally()
    out = Counter[str]()
    for row in fresh:
        if row.outcome in ENDED:
            out[row.queue] += row.tally.n
        if row.outcome == "succeeded" or row.outcome in FAILED:
            total.add(row.tally)
    return Pace(
        done_s=sum(row.tally.n for row in fresh if row.outcome == "succeeded") / seconds,
        failed_s=sum(row.tally.n for row in fresh if row.outcome in FAILED) / seconds,
        wait_p95_s=quantile(total.wait, 0.95),
        run_p95_s=quantile(total.run, 0.95),
        out_s={queue: n / seconds for queue, n in out.items()},
        failing=_failing([one for one in app.storage.stats.counts(MINUTES * 60) if see.sees(one.queue)]),
    )


def _failing(rows: Sequence[Number]) -> list[tuple[str, float]]:
    ended, failed = Counter[str](), Counter[str]()
    for row in rows:
        if row.outcome in ENDED:
            ended[row.task] += row.n
        if row.outcome in FAILED:
            failed[row.task] += row.n
    shares = [(task, n / ended[task]) for task, n in failed.items() if n >= FEW and n >= SHARE * ended[task]]
    return sorted(shares, key=lambda one: -one[1])
