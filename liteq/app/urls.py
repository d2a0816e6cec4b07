"""Broker URLs: errors for those that the app cannot take, before the storage sees them."""

from __future__ import annotations

from liteq.exceptions import ImproperlyConfigured
from liteq.settings.schemes import is_ours

__all__ = ["check_url", "is_of_other_broker"]

OTHER_BROKERS = frozenset(
    {"redis", "rediss", "sentinel", "amqp", "amqps", "pyamqp", "librabbitmq", "sqs", "memory", "filesystem", "mongodb"}
)


def is_of_other_broker(url: str) -> bool:
    """Whether `url` is one of a broker that Celery knows: redis://, amqp://, memory://, ..."""
    return url.partition("://")[0].partition("+")[0].lower() in OTHER_BROKERS


def check_url(url: str | None) -> str:
    """`url`, when it may be a file's. Raises ImproperlyConfigured, which says what to write."""
    if not url:
        raise ImproperlyConfigured(
            "where does the queue live? LiteQ('name', broker='sqlite:///tasks.db'), or the setting broker_url, or the "
            "environment variable LITEQ_BROKER_URL"
        )
    if is_of_other_broker(url) and not is_ours(url):
        scheme = url.partition("://")[0]
        raise ImproperlyConfigured(
            f"{scheme}:// is another broker's URL: liteq keeps its queue in one file, write "
            "broker='sqlite:///tasks.db' (four slashes for an absolute path)"
        )
    return url
