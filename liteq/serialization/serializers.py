"""The serializers by name: json, pickle, yaml, msgpack, and those that an app registers as it would with kombu."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liteq.exceptions import ImproperlyConfigured, NotSerializable, closest
from liteq.utils.records import NamedTuple

__all__ = ["JSON", "PICKLE", "Serializer", "register", "serializer", "serializer_of_type", "unregister"]

JSON, PICKLE = "application/json", "application/x-python-serialize"
PICKLE_PROTOCOL = 4  # as kombu's: every Python that can run either end reads it


class Serializer(NamedTuple):
    """A way to write values. `encode` and `decode` are None where only the other direction was registered."""

    name: str
    content_type: str
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None
    is_text: bool = False
    """Whether `decode` takes str, as a serializer that was registered with the encoding utf-8 does in kombu."""


def _yaml_dumps(value: Any) -> bytes:
    yaml = _library("yaml", "PyYAML")

    class Plain(yaml.SafeDumper):  # type: ignore[misc,name-defined]
        def ignore_aliases(self, _data: Any) -> bool:
            return True

    written: bytes = yaml.dump(value, Dumper=Plain, encoding="utf-8", allow_unicode=True)
    return written


def _yaml_loads(data: bytes) -> Any:
    """Aliases are refused: a few hundred bytes of them stand for gigabytes once somebody walks through the value."""
    yaml = _library("yaml", "PyYAML")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader=yaml.SafeLoader)):
        raise ValueError("YAML aliases are not read")
    return yaml.safe_load(data)


def _msgpack_dumps(value: Any) -> bytes:
    written: bytes = _library("msgpack", "msgpack").packb(value, use_bin_type=True, datetime=False)
    return written


def _msgpack_loads(data: bytes) -> Any:
    return _library("msgpack", "msgpack").unpackb(data, raw=False, strict_map_key=False)


def _library(module: str, distribution: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)  # a constant of this module, never a name out of a message
    except ImportError:
        raise ImproperlyConfigured(
            f"the serializer {module} needs the library {distribution}: pip install {distribution}"
        ) from None


# Opt-in, and read only under a signature: see `content.py`. Imported when it is first used.
def _pickle_dumps(value: Any) -> bytes:
    import pickle

    return pickle.dumps(value, protocol=PICKLE_PROTOCOL)


def _pickle_loads(data: bytes) -> Any:
    import pickle

    return pickle.loads(data)  # noqa: S301 - its signature has been checked


# json is written and read by `codec.py`; it stands here for its name.
_BUILT_IN = (
    Serializer("json", JSON, None, None),
    Serializer("pickle", PICKLE, _pickle_dumps, _pickle_loads),
    Serializer("yaml", "application/x-yaml", _yaml_dumps, _yaml_loads),
    Serializer("msgpack", "application/x-msgpack", _msgpack_dumps, _msgpack_loads),
)
_by_name = {one.name: one for one in _BUILT_IN}
_by_type = {one.content_type: one for one in _BUILT_IN}


def serializer(name: str) -> Serializer:
    """The serializer called `name`, or of that content type. Raises ImproperlyConfigured when there is none."""
    found = (_by_type if "/" in name else _by_name).get(name)
    if found is None:
        raise ImproperlyConfigured(
            f"there is no serializer {name!r} (nearest: {closest(name, _by_name)}); "
            "liteq.serialization.register() adds one"
        )
    return found


def serializer_of_type(content_type: str) -> Serializer | None:
    """The serializer that wrote `content_type`; None when this process knows none."""
    return _by_type.get(content_type)


def register(
    name: str,
    encoder: Callable[[Any], Any] | None,
    decoder: Callable[[Any], Any] | None,
    content_type: str,
    content_encoding: str = "utf-8",
) -> None:
    """Add a serializer, by the arguments of `kombu.serialization.register`. Both ends must do so, beside the app.

    Messages in it are read where `accept_content` names it. `decoder` gets text when `content_encoding` is utf-8 and
    `encoder` returned text, else bytes. Raises ValueError for json and pickle, which are liteq's own.
    """
    if name in {"json", "pickle"} or content_type in {JSON, PICKLE}:
        raise ValueError(f"the serializer {name!r} ({content_type}) is liteq's own and cannot be replaced")
    if "\0" in content_type or ";" in content_type or not content_type.isascii():
        raise ValueError(f"{content_type!r} is no content type")
    unregister_quietly(name)
    made = Serializer(name, content_type, encoder, decoder, content_encoding.lower() in {"utf-8", "utf8", "us-ascii"})
    _by_name[name] = _by_type[content_type] = made


def unregister(name: str) -> None:
    """Take back `register`. Raises ImproperlyConfigured for an unknown name, ValueError for json and pickle."""
    if name in {"json", "pickle"}:
        raise ValueError(f"the serializer {name!r} is liteq's own and cannot be taken away")
    serializer(name)
    unregister_quietly(name)


def unregister_quietly(name: str) -> None:
    gone = _by_name.pop(name, None)
    if gone is not None:
        _by_type.pop(gone.content_type, None)


def encoder_of(name: str, what: str) -> Callable[[Any], Any]:
    """How `name` writes. Raises ImproperlyConfigured for an unknown one, NotSerializable for one that only reads."""
    found = serializer(name)
    if found.encode is None:
        raise NotSerializable(f"{what}: the serializer {name!r} was registered without an encoder")
    return found.encode
