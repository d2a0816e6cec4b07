"""The packages of `contrib/`: those that are installed, else, in a bare checkout, the sources."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("liteq_celery") is None:
    sys.path.append(str(Path(__file__).resolve().parents[2] / "contrib"))
