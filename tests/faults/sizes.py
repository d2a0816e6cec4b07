"""How big the fault tests run: small in the default run, large in `tox -e faults`.

`LITEQ_TEST_NIGHTLY=1` chooses the large sizes; `LITEQ_TEST_<NAME>=n` sets one.
"""

from __future__ import annotations

import os

__all__ = ["NIGHTLY", "size"]

NIGHTLY = os.environ.get("LITEQ_TEST_NIGHTLY", "") not in {"", "0"}


def size(name: str, smoke: int, nightly: int) -> int:
    """The size of one test, by its name in the environment."""
    return int(os.environ.get(f"LITEQ_TEST_{name}", nightly if NIGHTLY else smoke))
