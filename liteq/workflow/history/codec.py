"""Values of workflows as bytes and back, by the annotation of the parameter or of the return.

Annotations of plain JSON, of the tagged types (datetime, Decimal, UUID, bytes, ...) and missing ones take the way of
every task's values. All others (models, dataclasses, enums, tuples, sets, unions of these) are pydantic's, which is
imported when the first of them is met. A body gets what was decoded, on its first run too: so it is the same in replay.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import decimal
import inspect
import sys
import types
import typing
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from struct import Struct
from typing import Any
from zlib import crc32

import orjson

from liteq.exceptions import NotSerializable, PayloadTooLarge
from liteq.policy.arguments import Parameters
from liteq.serialization import decode, encode
from liteq.serialization.secret import Secret
from liteq.serialization.tags import registered, tag

__all__ = ["Codec", "Form", "form_of", "hash_of", "hashes_under"]

SCALARS = frozenset({int, str, bool, type(None)})
PLAIN = frozenset(
    {Any, object, None, inspect.Parameter.empty, int, str, float, bool, type(None), dict, list, bytes}
    | {dt.datetime, dt.date, dt.time, decimal.Decimal, uuid.UUID, Secret, typing.NoReturn, typing.Never}
)
ANYTHING = frozenset({Any, object, None, inspect.Parameter.empty})
OF_PLAIN = frozenset(
    {list, dict, typing.Union, types.UnionType, collections.abc.Sequence, collections.abc.Mapping}
    | {collections.abc.Iterable, collections.abc.MutableMapping, collections.abc.MutableSequence}
)
HASHING = orjson.OPT_NON_STR_KEYS
HASH = Struct(">II").pack  # the length and the checksum of the JSON
DUMPING: dict[str, Any] = {"by_alias": True, "round_trip": True, "warnings": False}
LIMIT = "max_step_bytes"
ADVICE = "; or annotate it with a type that pydantic can restore"


def is_plain(annotation: Any) -> bool:
    """Whether values of `annotation` come back as they were without a look at it."""
    try:
        if annotation in PLAIN:
            return True
    except TypeError:  # unhashable metadata
        return False
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return all(type(one) in SCALARS for one in typing.get_args(annotation))
    if origin in OF_PLAIN:
        return all(is_plain(one) for one in typing.get_args(annotation))
    return isinstance(annotation, typing.TypeVar)


class Form:
    """How values of one annotation are written and read. `what` names them in errors ("the result of step 'x'").

    `checked`: they come from people and other programs, so a plain annotation is looked at as well.
    """

    __slots__ = ("_adapter", "_annotation", "what")

    def __init__(self, annotation: Any, what: str, *, checked: bool = False) -> None:
        self.what = what
        plain = is_plain(annotation) and (not checked or annotation in ANYTHING)
        self._annotation = None if plain else annotation
        self._adapter: Any = None

    @property
    def is_plain(self) -> bool:
        return self._annotation is None

    @property
    def adapter(self) -> Any:
        """Pydantic's view of the annotation. Raises NotSerializable for one that it knows nothing of."""
        if self._adapter is None:
            from pydantic import PydanticUserError, TypeAdapter

            kind: Any = self._annotation
            try:
                self._adapter = TypeAdapter(kind)
            except PydanticUserError as exc:
                raise NotSerializable(
                    f"{self.what}: values of {self._annotation!r} cannot be kept: {str(exc).splitlines()[0]}"
                ) from None
        return self._adapter

    def encode(self, value: Any, limit: int | None = None, setting: str = LIMIT) -> bytes:
        """`value` as JSON. Raises NotSerializable for what would not come back; PayloadTooLarge, naming `setting`."""
        if self._annotation is None:
            if type(value) in SCALARS:
                try:
                    data = orjson.dumps(value)
                    if limit is None or len(data) <= limit:
                        return data
                except TypeError:
                    pass
            return self._plain(value, limit, setting)
        written: bytes = self._guarded(value, lambda: self.adapter.dump_json(value, **DUMPING))
        if limit is not None and len(written) > limit:
            raise PayloadTooLarge(self.what, len(written), limit, setting)
        return written

    def _plain(self, value: Any, limit: int | None, setting: str) -> bytes:
        try:
            return encode(value, what=self.what, limit=limit, setting=setting)
        except NotSerializable as exc:
            raise NotSerializable(f"{exc}{ADVICE}") from None

    def dump(self, value: Any) -> Any:
        """`value` as plain data, to be a part of a message's arguments."""
        if self._annotation is None:
            return value
        return self._guarded(value, lambda: self.adapter.dump_python(value, mode="json", **DUMPING))

    def decode(self, data: bytes) -> Any:
        """The value that `encode` was given. Raises NotSerializable for what does not fit the annotation."""
        if self._annotation is None:
            return decode(data)
        return self._guarded(None, lambda: self.adapter.validate_json(data))

    def received(self, data: bytes) -> Any:
        """The value of JSON that was written without a look at the annotation: there may be tagged values in it."""
        value = decode(data)
        return self.decode(data) if value == orjson.loads(data) else self.load(value)

    def load(self, value: Any) -> Any:
        """The value that `dump` was given."""
        return value if self._annotation is None else self._guarded(None, lambda: self.adapter.validate_python(value))

    def kept(self, value: Any, limit: int | None, setting: str = LIMIT) -> tuple[bytes, Any]:
        """`value` as JSON, and as history will give it back: what the body gets now, too."""
        if self._annotation is None and type(value) in SCALARS:
            return self.encode(value, limit, setting), value
        data = self.encode(value, limit, setting)
        back = self.decode(data)
        if self._annotation is not None and type(back) is not type(value) and not _equal(back, value):
            raise NotSerializable(
                f"{self.what}: value is a {type(value).__qualname__}, and comes back as a {type(back).__qualname__} by "
                f"its annotation {_name(self._annotation)}: correct the annotation"
            )
        return data, back

    def _guarded(self, value: Any, call: Callable[[], Any]) -> Any:
        from pydantic import ValidationError
        from pydantic_core import PydanticSerializationError

        try:
            return call()
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
            path = "value" + "".join(f"[{part!r}]" for part in first["loc"])
            raise NotSerializable(
                f"{self.what}: {path} does not fit its annotation {_name(self._annotation)}: {first['msg']}"
            ) from None
        except (PydanticSerializationError, AttributeError, TypeError, ValueError, RecursionError) as exc:
            path = _path_of_stranger(value)
            raise NotSerializable(f"{self.what}: {path} cannot be kept as {_name(self._annotation)}: {exc}") from None


def _equal(back: Any, value: Any) -> bool:
    return isinstance(back, (int, float, str)) and isinstance(value, (int, float, str)) and back == value


def _name(annotation: Any) -> str:
    return repr(annotation) if typing.get_origin(annotation) else getattr(annotation, "__qualname__", repr(annotation))


def _path_of_stranger(value: Any, path: str = "value", depth: int = 0) -> str:
    """The path to the first value of a class that nothing is known of."""
    if depth > 20:
        return path
    if isinstance(value, Mapping):
        parts = [(f"{path}[{key!r}]", one) for key, one in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = [(f"{path}[{i}]", one) for i, one in enumerate(value)]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(f"{path}.{one.name}", getattr(value, one.name, None)) for one in dataclasses.fields(value)]
    elif hasattr(value, "model_fields_set"):
        parts = [(f"{path}.{name}", one) for name, one in vars(value).items()]
    else:
        return path
    for where, one in parts:
        try:
            hash_of((one,), {})
        except NotSerializable:
            return _path_of_stranger(one, where, depth + 1)
    return path


# -- the arguments of a function -------------------------------------------------------------------------------------


class Codec:
    """The forms of one function's parameters and of its return. `what` names it in errors ("step 'app.charge'")."""

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        self.function = function
        self.what = what
        self.parameters = Parameters(what, function)

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """The annotations; looked up at the first use, when the module is there as a whole."""
        function = inspect.unwrap(self.function)
        try:
            return typing.get_type_hints(function, include_extras=True)
        except (NameError, AttributeError, TypeError):
            return self._one_by_one(function)

    def _one_by_one(self, function: Any) -> Mapping[str, Any]:
        """The annotations that can be made out: a name of a function's own scope is among those of its closure."""
        names = {**getattr(function, "__globals__", {})}
        frame: types.FrameType | None = sys._getframe()
        while frame is not None and "." in getattr(function, "__qualname__", ""):
            names = {**frame.f_locals, **names} if frame.f_globals is function.__globals__ else names
            frame = frame.f_back
        found = {}
        for name, said in getattr(function, "__annotations__", {}).items():
            try:
                found[name] = eval(said, names) if isinstance(said, str) else said  # noqa: S307 - the source's own text
            except Exception:  # noqa: BLE001, S112 - an import that only the type checker makes: as if not annotated
                continue
        return found

    @cached_property
    def result(self) -> Form:
        """The form of the return value."""
        return Form(self.hints.get("return"), f"the result of {self.what}")

    @cached_property
    def _forms(self) -> tuple[list[Form | None], Form | None, dict[str, Form], Form | None]:
        """(by position, of `*args`, by name, of `**kwargs`): the forms of parameters that are not plain; else None."""
        by_position: list[Form | None] = []
        by_name: dict[str, Form] = {}
        rest = named = None
        for p in self.parameters.signature.parameters.values():
            form: Form | None = Form(self.hints.get(p.name), f"the argument {p.name!r} of {self.what}")
            form = None if form is None or form.is_plain else form
            if p.kind is p.VAR_POSITIONAL:
                rest = form
            elif p.kind is p.VAR_KEYWORD:
                named = form
            else:
                if p.kind is not p.KEYWORD_ONLY:
                    by_position.append(form)
                if form is not None and p.kind is not p.POSITIONAL_ONLY:
                    by_name[p.name] = form
        return by_position, rest, by_name, named

    @cached_property
    def is_plain(self) -> bool:
        """Whether no parameter needs a look."""
        by_position, rest, by_name, named = self._forms
        return not any(by_position) and rest is None and not by_name and named is None

    def dump(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments as plain data, for a message."""
        return self._each(args, kwargs, Form.dump)

    def load(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments that `dump` was given."""
        return self._each(args, kwargs, Form.load)

    def _each(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], turn: Callable[[Form, Any], Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        if self.is_plain:
            return list(args), dict(kwargs)
        by_position, rest, by_name, named = self._forms
        taken = []
        for i, value in enumerate(args):
            form = by_position[i] if i < len(by_position) else rest
            taken.append(value if form is None else turn(form, value))
        by_key = {}
        for key, value in kwargs.items():
            form = by_name.get(key) or (None if key in self.parameters.signature.parameters else named)
            by_key[key] = value if form is None else turn(form, value)
        return taken, by_key


def form_of(function: Callable[..., Any], what: str) -> Form:
    """The form of what `function` returns."""
    return Codec(function, what).result


# -- the hash --------------------------------------------------------------------------------------------------------


def hash_of(args: Sequence[Any], kwargs: Mapping[str, Any], what: str = "a call") -> bytes | None:
    """Eight bytes that tell these arguments from others, the same in every process; None for no arguments.

    Raises NotSerializable, with the path, for a value of which nothing is known.
    """
    if not args and not kwargs:
        return None
    try:
        data = orjson.dumps((args, kwargs) if kwargs else args, _known, HASHING)
    except TypeError:
        data = _canonical_text(args, kwargs, what)
    return HASH(len(data) & 0xFFFFFFFF, crc32(data))


def hashes_under(ids: Iterable[str], own: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[bytes]:
    """`hash_of` of these arguments as they would be with each of `ids` in place of the id `own`, also inside a text."""
    if not args and not kwargs:
        return
    try:
        data = orjson.dumps((args, kwargs) if kwargs else args, _known, HASHING)
    except TypeError:
        data = _canonical_text(args, kwargs, "a call")
    own_text = orjson.dumps(own)[1:-1]
    for id_ in ids:
        other = data.replace(own_text, orjson.dumps(id_)[1:-1])
        yield HASH(len(other) & 0xFFFFFFFF, crc32(other))


def _canonical_text(args: Sequence[Any], kwargs: Mapping[str, Any], what: str) -> bytes:
    """Arguments with something that orjson does not know, as text."""
    plain = [_canonical(list(args)), _canonical(dict(kwargs))]
    return encode(plain, what=f"the arguments of {what}", setting="max_payload_bytes")


def _known(value: Any) -> Any:
    """The hook of orjson: something that is the same for the same value."""
    if isinstance(value, (set, frozenset)):
        return sorted(orjson.dumps(one, _known, HASHING).decode() for one in value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    for kind, (marker, to_json) in registered.items():
        if isinstance(value, kind):
            return [marker, to_json(value)]
    if isinstance(value, type) or inspect.isfunction(value):
        return f"{value.__module__}.{value.__qualname__}"
    return tag(value)


def _canonical(value: Any) -> Any:
    """`value` with what only the hash knows (sets, models, dataclasses, enums) in plain types."""
    if isinstance(value, dict):
        return {key: _canonical(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(one) for one in value]
    try:
        return orjson.loads(orjson.dumps(value, _known, HASHING))
    except TypeError:
        return value
