"""These need prometheus-client and Textual: `tox -e dashboard`."""

from __future__ import annotations

import importlib.util

NEEDS = {
    "prometheus_client": ["test_families.py", "test_metrics.py"],
    "textual": ["test_top_screen.py"],
}
collect_ignore = [file for package, files in NEEDS.items() if not importlib.util.find_spec(package) for file in files]
