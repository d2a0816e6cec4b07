"""Sphinx: `tox -e docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from liteq._version import __version__

sys.path.insert(0, str(Path(__file__).parent / "generate"))  # plain_docstrings

project = "liteq"
author = "The liteq developers"
project_copyright = "The liteq developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "plain_docstrings"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]
suppress_warnings = ["ref.python"]  # Celery's aliases: one class under two names is no ambiguity

# The API reference. Public names only; a member without a docstring is left out.
autodoc_member_order = "groupwise"
autodoc_inherit_docstrings = False  # an `__iter__` needs no copy of what dict says of it
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True  # `clock=SYSTEM` and not the repr of an object
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"liteq {version}"
