"""The relay: carries what was sent here to a gateway, each message once. See `docs/howto/relay.md`."""

from __future__ import annotations

from liteq.edge.relaying.relay import Relay

__all__ = ["Relay"]
