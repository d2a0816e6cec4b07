"""Beat: turns schedule rows into messages when they come due."""

from __future__ import annotations

from liteq.app.lazy_arguments import BeatLazyFunc
from liteq.beat.beat import Beat

__all__ = ["Beat", "BeatLazyFunc"]
