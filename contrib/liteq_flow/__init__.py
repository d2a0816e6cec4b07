"""Flows: a YAML file is a run. `liteq flow run FILE`; the words are Dagu's where it has one.

    from liteq_flow import read
    read(text, "nightly.yaml").flow.steps    # or FlowRefused, with FILE:LINE of each thing that is wrong

Needs the extra `flow` (PyYAML).
"""

from __future__ import annotations

try:
    import yaml  # noqa: F401 - asked for, to say what is missing
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError("liteq_flow needs PyYAML (the extra `flow`): install it", name=exc.name) from exc

from liteq_flow.errors import FlowRefused, UnknownReference
from liteq_flow.model import Flow, FlowFile, Problem
from liteq_flow.reader.reading import read

__all__ = ["Flow", "FlowFile", "FlowRefused", "Problem", "UnknownReference", "read"]
