"""A Sphinx extension: liteq's docstrings are plain text, in which `code` and indented examples are marked up.

Sphinx reads docstrings as reStructuredText, where a lone `*` or an example that is only indented is an error. This
makes reStructuredText of them. Types that the reference does not describe stay plain text in descriptions of objects; a
name that a page mentions elsewhere must be described.
"""

from __future__ import annotations

import inspect
import re
from itertools import takewhile
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from liteq.signals import Signal

INDENTED = re.compile(r"^ {2,}\S")
LISTED = re.compile(r"^(- |\d+\. )")
CODE = re.compile(r"(`[^`]+`)")
SPECIAL = re.compile(r"([\\*_|])")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hooks."""
    app.connect("autodoc-process-docstring", mark_up)
    app.connect("autodoc-process-signature", name_parameters)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("missing-reference", leave_plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def mark_up(_app: Sphinx, what: str, _name: str, obj: Any, _options: Any, lines: list[str]) -> None:
    """Replace the plain text in `lines` by reStructuredText that looks the same."""
    if isinstance(obj, Signal):
        names = ", ".join(f"`{name}`" for name in sorted(obj.providing_args))
        lines[:] = [f"Receivers get {names}." if names else "Receivers get nothing more."]
    elif what in {"attribute", "data"} and "\n".join(lines).strip() == inspect.getdoc(type(obj)):
        lines.clear()  # the docstring of str says nothing of this constant
    marked: list[str] = []
    in_example = in_list = False
    before = ""
    for index, line in enumerate(lines):
        if not line.strip():
            marked.append("")
        elif in_example and line.startswith(" "):
            marked.append(line)
        elif not before.strip() and INDENTED.match(line) and not in_list:
            marked += [*_opening(lines[index:]), line]
            in_example = True
        else:
            in_example = False
            in_list = bool(LISTED.match(line)) or (in_list and line.startswith(" "))
            marked.append(_inline(line))
        before = line
    lines[:] = marked


def _opening(lines: list[str]) -> list[str]:
    """The directive above an example, with which `lines` begin: Python, unless it is a drawing."""
    example = "".join(takewhile(lambda line: not line or line.startswith(" "), lines))
    language = "python" if example.isascii() and "-->" not in example else "text"
    return [f".. code-block:: {language}", ""]


def _inline(line: str) -> str:
    parts = CODE.split(line)
    return "".join(f"`{part}`" if part.startswith("`") else SPECIAL.sub(r"\\\1", part) for part in parts)


def skip_fields(_app: Sphinx, _what: str, _name: str, obj: Any, _skip: bool, _options: Any) -> bool | None:
    """Leave out the fields of a named tuple: its signature has them."""
    return True if (inspect.getdoc(obj) or "").startswith("Alias for field number") else None


def name_parameters(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, args: str, returns: str) -> Any:
    """Write `P` where Python writes `~P` for a parameter specification or a type variable."""
    return tuple(text and re.sub(r"~(?=[A-Z]\b)", "", text) for text in (args, returns))


def leave_plain(_app: Sphinx, _env: Any, node: addnodes.pending_xref, contnode: nodes.TextElement) -> Any:
    """Keep a type that nothing describes as text, where autodoc found it: in a signature, or behind an alias."""
    return contnode if node.get("refdomain") == "py" and not node.get("refexplicit") and _in_description(node) else None


def _in_description(node: nodes.Node | None) -> bool:
    while node is not None:
        if isinstance(node, addnodes.desc):
            return True
        node = node.parent
    return False
