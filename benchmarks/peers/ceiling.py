"""The ceiling of `benchmarks.ceiling`: a bare prefork pipeline over one file, in batches."""

from __future__ import annotations

from benchmarks import ceiling


def own_drain(tasks: int) -> dict[str, float]:
    return {"tasks_per_s": ceiling.main(tasks)}
