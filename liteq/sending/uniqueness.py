"""The unique key of a call, made of its arguments by what its task, or the call, asks for (liteq/policy/unique.py)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING, Any

import orjson

from liteq.message import Exclusion, Flag
from liteq.policy.keys import LATER, KeyNotYet, compile_key
from liteq.policy.unique import By, Debounce, Exclusive, Throttle, Unique, of_document, unique_of
from liteq.sending.keys import whole_arguments
from liteq.serialization import encode
from liteq.serialization.tags import register_type
from liteq.storage.sending.unique import THROTTLE
from liteq.utils.misspelt import meant
from liteq.utils.names import checked_key

if TYPE_CHECKING:
    from liteq.serialization.sealing import Vault

__all__ = ["THROTTLE", "Uniqueness", "exclude", "hidden_key", "uniqueness"]

LONGEST = 255  # characters of a key
DIGITS = 64  # of a fingerprint
SHORT = 200  # of its task's name, where it is longer
WHOLE = ""  # the key of the task as a whole

Dump = Callable[[Sequence[Any], Mapping[str, Any]], tuple[list[Any], dict[str, Any]]]
KeyOf = Callable[[Sequence[Any], Mapping[str, Any]], str | None]

for _kind in (Unique, Debounce, Throttle):
    register_type(_kind, f"liteq.{_kind.KIND}", Exclusive.document, of_document)


class Uniqueness:
    """The rule of one task: makes keys, and says what else goes into the rows."""

    __slots__ = ("_hidden", "_key", "_task", "countdown", "flags", "rule")

    def __init__(self, task: str, asked: Exclusive, key: KeyOf, *, hidden: bool) -> None:
        self._task, self._key, self._hidden = task, key, hidden
        self.countdown: float | None = None
        self.flags = Flag.UNSTARTED
        self.rule: Exclusion | None = None
        match asked:
            case Debounce():
                self.countdown = asked.wait
                self.rule = Exclusion("postpone", max_wait_ms=asked.max_wait_ms)
            case Throttle():
                on_conflict = "replace" if asked.trailing else "keep"
                self.rule = Exclusion(on_conflict, every_ms=asked.every_ms, trailing=asked.trailing)
            case Unique(states=states, on_conflict=on_conflict, within_ms=within_ms):
                self.flags = Flag.UNSTARTED if states == "unstarted" else 0
                if on_conflict != "keep" or within_ms is not None:
                    self.rule = Exclusion(on_conflict, within_ms=within_ms)

    def key(self, args: Sequence[Any], kwargs: Mapping[str, Any], vault: Vault | None = None) -> str | None:
        """The key of a call; None for one that excludes nothing. `vault`: its values are not to be read in the key.

        So does a call with an argument that is LATER, where its key needs that. Raises NotSerializable, and what `by`
        raises.
        """
        try:
            text = self._key(args, kwargs)
        except KeyNotYet:
            return None
        if text is None:
            return None
        if text != WHOLE and (self._hidden or vault is not None):
            text = hidden_key(text, vault)
        key = f"{self._task}({text})"
        return key if len(key) <= LONGEST else f"{self._task[:SHORT]}({_digest(key.encode('utf-8', 'surrogatepass'))})"


def uniqueness(asked: Any, name: str, task: Any) -> Uniqueness | None:
    """The meaning of `asked`, a value of the option `unique`, for the task `name`; None: its calls exclude nothing.

    `task`: None where this process does not know it; then arguments are told apart as they are given. Raises TypeError,
    ValueError, which tell the nearest parameter for a name that is none.
    """
    what = f"task {name!r}: unique"
    found = unique_of(asked, what)
    if found is None:
        return None
    signature: inspect.Signature | None = None if task is None else task.parameters.signature
    dump: Dump | None = None if task is None else task.dump_models
    key = _key_of(found, found.by, signature, dump, what)
    return Uniqueness(name, found, key, hidden=bool(task is not None and task.sensitive))


def hidden_key(text: str, vault: Vault | None) -> str:
    """A digest that stands for a key of the user's values: keyed, where a codec makes fingerprints."""
    digest = None if vault is None else vault.fingerprint(text)
    return _digest(text.encode("utf-8", "surrogatepass")) if digest is None else "#" + digest[:DIGITS]


def exclude(
    unique: Uniqueness | None, name: str, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any],
    options: dict[str, Any], flags: int, vault: Vault | None = None,
) -> tuple[int, Exclusion | None]:  # fmt: skip
    """Add to the `options` and `flags` of a call what its uniqueness makes of it: its own, else its task's `unique`.

    The flags, and the rule of its key. `vault`: as of `Uniqueness.key`, for a key that the caller gives too. Raises
    ValueError beside other options that say the same, and as `uniqueness`.
    """
    if vault is not None and options.get("unique_key") is not None:
        options["unique_key"] = hidden_key(checked_key(options["unique_key"]) or "", vault)
    if options.get("unique") is not None:
        unique = uniqueness(options["unique"], name, task)
    if unique is None:
        return flags, None
    if options.get("unique_key") is not None:
        raise ValueError(
            f"task {name!r}: a call has unique= or unique_key=, not both; with unique=False the key alone counts"
        )
    if unique.countdown is not None:
        if not options.keys().isdisjoint({"countdown", "eta"}):
            raise ValueError(
                f"task {name!r}: a call that is debounced is due when its wait is over: leave out countdown and eta"
            )
        options["countdown"] = unique.countdown
    key = unique.key(whole_arguments(flags, args), kwargs, vault)
    if key is None:
        return flags, None
    options["unique_key"] = key
    if unique.rule is not None and unique.rule.every_ms is not None:
        options[THROTTLE] = [key, unique.rule.every_ms]
    return flags | unique.flags, unique.rule


def _key_of(asked: Exclusive, by: By, signature: inspect.Signature | None, dump: Dump | None, what: str) -> KeyOf:
    if by is None:
        return _Arguments(None, signature, dump, what) if isinstance(asked, Unique) else _whole
    if isinstance(by, str) and "{" not in by:
        by = (by,)
    if isinstance(by, tuple):
        _check_names(by, signature, what)
        return _Arguments(by, signature, dump, what)
    assert isinstance(by, str) or callable(by), "checked before"
    made = compile_key(by, signature, what=f"{what}: by")
    assert made is not None, "there is something to compile"
    return made


def _whole(_args: Sequence[Any], _kwargs: Mapping[str, Any]) -> str:
    return WHOLE


class _Arguments:
    """A key of all arguments (`names` None), or of some: a digest of their canonical form, defaults included."""

    def __init__(
        self, names: tuple[str, ...] | None, signature: inspect.Signature | None, dump: Dump | None, what: str
    ) -> None:
        self._names, self._signature, self._dump, self._what = names, signature, dump, what

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        later = _is_later(args)
        if self._dump is not None and not later:
            args, kwargs = self._dump(args, kwargs)
        given = self._given(args, kwargs)
        if self._names is not None:
            missing = [name for name in self._names if name not in given]
            if missing:
                raise TypeError(f"{self._what}: the call has no argument {missing[0]!r}, and its key is made of it")
            given = {name: given[name] for name in self._names}
        if any(value is LATER for value in given.values()):
            raise KeyNotYet(f"{self._what}: an argument is not there yet")
        if self._dump is not None and later:
            given = self._dump((), given)[1]
        return _digest(canonical(given, self._what))

    def _given(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by their names, however they were given."""
        if self._signature is None:
            return {"args": LATER if _is_later(args) else list(args), **kwargs}
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:  # of a task that does not check its arguments: the call will tell
            return {"args": LATER if _is_later(args) else list(args), **kwargs}
        bound.apply_defaults()
        found = dict(bound.arguments)
        for parameter in self._signature.parameters.values():
            if parameter.kind is Parameter.VAR_KEYWORD:
                found |= found.pop(parameter.name)
            elif parameter.kind is Parameter.VAR_POSITIONAL and _is_later(found.get(parameter.name, ())):
                found[parameter.name] = LATER
        return found


def _is_later(args: Sequence[Any]) -> bool:
    """Whether one of `args` is not there yet."""
    return any(value is LATER for value in args)


def canonical(value: Any, what: str) -> bytes:
    """`value` as JSON, the same for equal values in any process: the order of a mapping's keys says nothing.

    Raises NotSerializable for what has no form in JSON.
    """
    data = encode(value, what=f"{what}, which makes a key of the arguments")
    return orjson.dumps(orjson.loads(data), option=orjson.OPT_SORT_KEYS)


def _digest(data: bytes) -> str:
    from hashlib import blake2b  # its library is large, and only unique calls have use for it

    return "#" + blake2b(data, digest_size=16).hexdigest()


def _check_names(names: Sequence[str], signature: inspect.Signature | None, what: str) -> None:
    if signature is None:
        return
    known = signature.parameters
    if any(one.kind is Parameter.VAR_KEYWORD for one in known.values()):
        return
    for name in names:
        if name not in known:
            hint = meant(name, known, f"it has {', '.join(map(repr, known)) or 'none'}")
            raise ValueError(f"{what}: there is no parameter {name!r}{hint}")
