"""The root of the tree."""

from __future__ import annotations


class LiteqError(Exception):
    """Base of every error that liteq raises on purpose."""


CeleryError = LiteqError
