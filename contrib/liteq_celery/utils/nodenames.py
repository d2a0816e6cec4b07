"""`celery.utils.nodenames`: the names of workers, `name@host`."""

from __future__ import annotations

import os
from socket import gethostname

from liteq.routing.queues import Queue

__all__ = [
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "nodename",
    "nodesplit",
    "worker_direct",
]

NODENAME = "liteq"


def nodename(name: str, hostname: str) -> str:
    """`name@hostname`."""
    return f"{name}@{hostname}"


def nodesplit(name: str) -> tuple[str | None, str]:
    """(name, host) of `name@host`; (None, host) where it is a host alone."""
    before, at, host = name.partition("@")
    return (before, host) if at else (None, name)


def default_nodename(hostname: str | None) -> str:
    """The whole name of a worker, from a part of it."""
    name, host = nodesplit(hostname or "")
    return nodename(name or NODENAME, host or gethostname())


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """A name for this process, which is no worker."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def host_format(s: str, host: str | None = None, name: str | None = None) -> str:
    """`s` with %h the host, %n its first part or `name`, %d its domain, %% a percent sign."""
    host = host or gethostname()
    short, _, domain = host.partition(".")
    parts = {"%h": host, "%n": name or short, "%d": domain, "%%": "%"}
    found, rest = "", s
    while rest:
        here, size = (parts[rest[:2]], 2) if rest[:2] in parts else (rest[0], 1)
        found, rest = found + here, rest[size:]
    return found


def worker_direct(hostname: str | Queue) -> Queue:
    """The queue that one worker alone takes from, with the setting `worker_direct`."""
    return hostname if isinstance(hostname, Queue) else Queue(f"{hostname}.dq")
