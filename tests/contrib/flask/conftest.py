"""These need Flask: `tox -e flask`."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("flask") else ["test_*.py"]
