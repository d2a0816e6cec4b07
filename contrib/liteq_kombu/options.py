"""The options of the transport, `broker_transport_options`: those that are liteq's, checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from liteq.exceptions import ImproperlyConfigured
from liteq.utils.misspelt import LIKELY, nearest
from liteq.utils.records import dataclass, fields_of

__all__ = ["FORM", "TransportOptions", "options_of"]

logger = logging.getLogger("liteq.kombu")

FORM = "write liteq:////var/lib/shop/tasks.db (absolute) or liteq:///tasks.db (relative)"
DURABILITIES = ("durable", "strict", "relaxed")
ORDERS = ("higher-first", "lower-first")
# Of kombu's connections, whatever the transport: the retries of a publish, and what Celery adds by itself.
OF_ANY = frozenset(
    {"max_retries", "interval_start", "interval_step", "interval_max", "errback", "callback", "retry_errors"}
    | {"confirm_publish", "client_properties", "confirm_timeout"}
)  # fmt: skip
noted: set[str] = set()  # options of other transports that were told of


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """The options, times in seconds. `max_deliveries` counts how often a message was given back, or its child died."""

    visibility_timeout: float = 60.0
    max_deliveries: int = 20
    durability: str = "durable"
    priority_order: str = "higher-first"
    busy_timeout: float = 30.0
    polling_interval: float = 5.0

    @property
    def lower_first(self) -> bool:
        """Whether priority 0 goes first, as with Celery on Redis."""
        return self.priority_order == "lower-first"


NAMES = tuple(fields_of(TransportOptions))


def options_of(given: Mapping[str, Any] | None, setting: str = "broker_transport_options") -> TransportOptions:
    """The options in `given`, the value of `setting`.

    Those of other transports are told of once and left. Raises ImproperlyConfigured for a misspelt name, with the right
    one, and for a value that cannot be.
    """
    found: dict[str, Any] = {}
    for name, value in (given or {}).items():
        if name in NAMES:
            if value is not None:
                found[name] = _checked(f"{setting}[{name!r}]", name, value)
        elif name not in OF_ANY:
            _unknown(name, setting)
    return TransportOptions(**found)


def _unknown(name: str, setting: str) -> None:
    near = nearest(name, NAMES, LIKELY)
    if near is not None:
        raise ImproperlyConfigured(f"{setting}: there is no option {name!r}; did you mean {near!r}?")
    # A worker makes its first connection before it has a log: then the next one tells.
    if name not in noted and logger.isEnabledFor(logging.INFO):
        noted.add(name)
        logger.info("%s: %r is an option of another transport and has no effect on a liteq file", setting, name)


def _checked(what: str, name: str, value: Any) -> Any:
    match name:
        case "durability":
            return _one_of(what, value, DURABILITIES)
        case "priority_order":
            return _one_of(what, value, ORDERS)
        case "max_deliveries":
            return int(_number(what, value, 1))
        case "visibility_timeout":
            return _number(what, value, 1)
    return _number(what, value, 0)


def _one_of(what: str, value: Any, known: tuple[str, ...]) -> str:
    if value in known:
        return str(value)
    near = nearest(str(value), known)
    meant = f"; did you mean {near!r}?" if near else ""
    raise ImproperlyConfigured(f"{what} is one of {', '.join(known)}, not {value!r}{meant}")


def _number(what: str, value: Any, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise ImproperlyConfigured(f"{what} is a number, {least} at least, not {value!r}")
    return value
