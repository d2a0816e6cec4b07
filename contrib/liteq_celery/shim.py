"""Importing this module installs the shim; importing it again does nothing."""

from __future__ import annotations

from liteq_celery.finder import install, uninstall

__all__ = ["install", "uninstall"]

install()
