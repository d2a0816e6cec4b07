"""Sphinx: `tox -e docs`."""

from __future__ import annotations

from liteq._version import __version__

project = "liteq"
author = "The liteq developers"
project_copyright = "The liteq developers"
version = release = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"liteq {version}"
