"""Remote control of a worker: the panel of commands, and the answers to `inspect`."""

from __future__ import annotations

from liteq.worker.control import commands as _commands  # noqa: F401 - registers its commands
from liteq.worker.control import inspect as _inspect  # noqa: F401 - registers its commands
from liteq.worker.control.panel import COMMANDS, META, CommandInfo, Panel, control_command, inspect_command

__all__ = ["COMMANDS", "META", "CommandInfo", "Panel", "control_command", "inspect_command"]
