"""`celery.platforms`: the few names that programs take from it; the rest are options of the worker."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "C_FORCE_ROOT", "EX_CANTCREAT", "EX_FAILURE", "EX_OK", "EX_UNAVAILABLE", "EX_USAGE", "IS_WINDOWS", "IS_macOS",
    "Signals", "signal_name", "signals",
]  # fmt: skip

C_FORCE_ROOT = bool(os.environ.get("C_FORCE_ROOT"))
"""Without effect: a worker that runs as root says so, and runs."""

EX_OK, EX_FAILURE = 0, 1
EX_USAGE = getattr(os, "EX_USAGE", 64)
EX_UNAVAILABLE = getattr(os, "EX_UNAVAILABLE", 69)
EX_CANTCREAT = getattr(os, "EX_CANTCREAT", 73)
IS_WINDOWS = sys.platform == "win32"
IS_macOS = sys.platform == "darwin"


def signal_name(signum: Any) -> str:
    """The name of a signal, without its SIG: "TERM"."""
    return signal.Signals(signals.signum(signum)).name.removeprefix("SIG")


class Signals:
    """Signal handlers by name: `signals["INT"] = handler`. A name that this system does not have is passed over."""

    ignored = signal.SIG_IGN
    default = signal.SIG_DFL

    def supported(self, name: Any) -> bool:
        """Whether this system has the signal."""
        return self._find(name) is not None

    def signum(self, name: Any) -> int:
        """The number of a signal. Raises AttributeError for one that this system does not have."""
        if (found := self._find(name)) is None:
            raise AttributeError(f"there is no signal {name!r} on this system")
        return found

    def ignore(self, *names: Any) -> None:
        """Have nothing happen on these."""
        self.update(dict.fromkeys(names, self.ignored))

    def reset(self, *names: Any) -> None:
        """Have Python's default happen on these."""
        self.update(dict.fromkeys(names, self.default))

    def __getitem__(self, name: Any) -> Any:
        return signal.getsignal(self.signum(name))

    def __setitem__(self, name: Any, handler: Callable[..., Any] | int | signal.Handlers) -> None:
        if (found := self._find(name)) is not None:
            signal.signal(found, handler)

    def update(self, handlers: Mapping[Any, Any] | None = None, **more: Any) -> None:
        """Set several handlers."""
        for name, handler in {**(handlers or {}), **more}.items():
            self[name] = handler

    @staticmethod
    def _find(name: Any) -> int | None:
        if isinstance(name, int):
            return int(name)
        text = str(name).upper()
        found = getattr(signal, text if text.startswith("SIG") else f"SIG{text}", None)
        return None if found is None else int(found)


signals = Signals()
