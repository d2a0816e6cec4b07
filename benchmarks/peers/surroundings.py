"""The facts that the tool gives an adapter, by the environment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("BENCH_FOLDER", "."))
DURABILITY = os.environ.get("BENCH_DURABILITY", "relaxed")
REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379")  # without the number of the database
POSTGRESQL = os.environ.get("BENCH_POSTGRESQL", "")  # empty for a contestant that asks for no server
OPTIONS: dict[str, Any] = json.loads(os.environ.get("BENCH_OPTIONS", "{}"))
