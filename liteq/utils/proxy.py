"""A stand-in that looks its object up on every use: `current_app`, `current_task`, shared tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from liteq.exceptions import ImproperlyConfigured

__all__ = ["Proxy", "maybe_evaluate"]


class Proxy:
    """Behaves as whatever `lookup()` returns at that moment, `isinstance` included; without an app it is a Proxy."""

    __slots__ = ("__weakref__", "_proxy_lookup", "_proxy_name")

    def __init__(self, lookup: Callable[[], Any], *, name: str = "proxy") -> None:
        object.__setattr__(self, "_proxy_lookup", lookup)
        object.__setattr__(self, "_proxy_name", name)

    def _get_current_object(self) -> Any:
        """The object itself."""
        return object.__getattribute__(self, "_proxy_lookup")()

    @property
    def __class__(self) -> Any:
        try:
            return self._get_current_object().__class__
        except ImproperlyConfigured:  # a tool that walks over all objects asks for the class before there is an app
            return Proxy

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise AttributeError("a proxy's class is that of its object")

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return self._get_current_object().__doc__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._get_current_object()(*args, **kwargs)

    def __repr__(self) -> str:
        try:
            return repr(self._get_current_object())
        except Exception:
            return f"<unbound {object.__getattribute__(self, '_proxy_name')}>"

    def __str__(self) -> str:
        return repr(self)

    def __dir__(self) -> list[str]:
        return dir(self._get_current_object())

    def __bool__(self) -> bool:
        return bool(self._get_current_object())

    def __eq__(self, other: object) -> bool:
        return bool(self._get_current_object() == maybe_evaluate(other))

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __getitem__(self, key: Any) -> Any:
        return self._get_current_object()[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._get_current_object()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._get_current_object())

    def __len__(self) -> int:
        return len(self._get_current_object())

    def __or__(self, other: Any) -> Any:
        return self._get_current_object() | other

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()


def maybe_evaluate(value: Any) -> Any:
    """`value`, or the object that it stands in for."""
    return value._get_current_object() if issubclass(type(value), Proxy) else value
