"""An application with a configuration, extensions, and a context that code reaches as `current_app`."""

from contextlib import contextmanager
from contextvars import ContextVar

_pushed = ContextVar("pushed")


class Flask:
    def __init__(self, name):
        self.name = name
        self.config = {}
        self.extensions = {}

    @contextmanager
    def app_context(self):
        token = _pushed.set(self)
        try:
            yield self
        finally:
            _pushed.reset(token)


def current_app():
    try:
        return _pushed.get()
    except LookupError:
        raise RuntimeError("working outside of the application context") from None
