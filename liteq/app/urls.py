"""Broker URLs: what the app says about those it cannot take, before the storage sees them."""

from __future__ import annotations

from liteq.exceptions import ImproperlyConfigured

__all__ = ["check_url"]

OTHER_BROKERS = frozenset(
    {"redis", "rediss", "sentinel", "amqp", "amqps", "pyamqp", "librabbitmq", "sqs", "memory", "filesystem", "mongodb"}
)


def check_url(url: str | None) -> str:
    """`url`, when it may be a file's. Raises ImproperlyConfigured, which says what to write."""
    if not url:
        raise ImproperlyConfigured(
            "where does the queue live? LiteQ('name', broker='sqlite:///tasks.db'), or the setting broker_url, or the "
            "environment variable LITEQ_BROKER_URL"
        )
    scheme = url.partition("://")[0].partition("+")[0].lower()
    if scheme in OTHER_BROKERS:
        raise ImproperlyConfigured(
            f"{scheme}:// is another broker's URL: liteq keeps its queue in one file, write "
            "broker='sqlite:///tasks.db' (four slashes for an absolute path)"
        )
    return url
