"""The prefork pool: a parent that forks, children that run tasks, and the pipe between them."""

from __future__ import annotations
