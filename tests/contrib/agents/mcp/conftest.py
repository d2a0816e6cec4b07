"""These need the SDK of the Model Context Protocol: `tox -e agents`."""

from __future__ import annotations

import importlib.util

INSTALLED = importlib.util.find_spec("mcp") is not None
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]
