"""The address that a server of liteq listens at."""

from __future__ import annotations

import ipaddress
import socket

from liteq.exceptions import ImproperlyConfigured

__all__ = ["LOOPBACK", "authority", "is_loopback", "listen", "not_listened"]

LOOPBACK = "127.0.0.1"
BACKLOG = 128  # connections that wait to be taken


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ImproperlyConfigured where the port is taken, or the address is none."""
    try:
        kind = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), port), family=kind, backlog=BACKLOG)
    except OSError as exc:
        raise not_listened(host, port, exc) from None


def not_listened(host: str, port: int, exc: OSError) -> ImproperlyConfigured:
    """The error for an address that a server cannot have."""
    return ImproperlyConfigured(
        f"{authority(host, port)} cannot be listened at: {exc.strerror or exc}; use another --port or --host"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def authority(host: str, port: int) -> str:
    """Host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
