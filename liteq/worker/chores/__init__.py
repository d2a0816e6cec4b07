"""The work of a worker beside claiming and settling, each part in its turn of the loop."""

from __future__ import annotations
