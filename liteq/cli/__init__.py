"""The command `liteq`: one command, one file, loaded when it is called for."""

from liteq.cli.group import main

__all__ = ["main"]
