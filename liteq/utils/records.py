"""`dataclass` and `NamedTuple` as in the standard library, made in a tenth of the time.

A worker makes sixty such classes before its first task. The standard library writes and compiles up to six functions
for each: a fifth of the time to the first task. Here the methods of all classes are the same functions, but for the one
that makes an instance: that is compiled when the first instance is made, and is as fast as theirs.
Only what liteq needs is here. `field`, `replace`, `asdict` and `fields` are those of `dataclasses`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["NamedTuple", "dataclass", "fields_of"]

if TYPE_CHECKING:
    from dataclasses import dataclass
    from typing import NamedTuple
else:
    import dataclasses
    import inspect  # dataclasses has loaded it
    import sys
    from collections import _tuplegetter

    _tuple_of = tuple.__new__
    NOT_GIVEN = dataclasses.MISSING
    _NO_FIELD = TypeError if sys.version_info >= (3, 13) else ValueError

    def _maker(cls, length):
        """`cls._make`: a function of the class's own, since a worker calls it for each task."""

        def _make(values):
            made = _tuple_of(cls, values)
            if len(made) != length:
                raise TypeError(f"{cls.__name__} has {length} fields, not {len(made)}")
            return made

        return _make

    class _NamedTuples(type):
        """The class of the classes: makes their annotations fields."""

        def __new__(mcs, name, bases, body):
            body["__slots__"] = ()
            if not any(base.__dict__.get("_fields") for base in bases):
                names = tuple(body.get("__annotations__", ()))
                defaults = {one: body.pop(one) for one in names if one in body}
                body |= {one: _tuplegetter(at, None) for at, one in enumerate(names)}
                body |= {"__match_args__": names, "_fields": names, "_field_defaults": defaults}
            made = super().__new__(mcs, name, bases, body)
            if hasattr(made, "_fields"):
                made._make = staticmethod(_maker(made, len(made._fields)))
            return made

    class NamedTuple(tuple, metaclass=_NamedTuples):  # noqa: SLOT001 - the metaclass brings them
        """As `typing.NamedTuple`."""

        def __new__(cls, *args, **kwargs):
            """Make the first instance of a class, and the function that makes the others."""
            source = f"def __new__(cls{_parameters(cls._fields, cls._field_defaults)}):\n    return tuple_of(cls, ("
            source += "".join(f"{one}, " for one in cls._fields) + "))"
            cls.__new__ = staticmethod(_compiled(source, {"tuple_of": _tuple_of, "default": cls._field_defaults}))
            return cls.__new__(cls, *args, **kwargs)

        def _replace(self, **changes):
            made = _tuple_of(type(self), [changes.pop(*pair) for pair in zip(self._fields, self, strict=True)])
            if changes:
                raise _NO_FIELD(f"{type(self).__name__} has no field {', '.join(changes)}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

    def dataclass(cls=None, /, *, slots=False, frozen=False, eq=True):
        """As `dataclasses.dataclass`, for a class without bases of that kind, and without `__post_init__`."""

        def made(cls):
            kinds = inspect.get_annotations(cls)
            fields = {
                name: _field(cls.__dict__.get(name, NOT_GIVEN)) for name in kinds if "ClassVar" not in kinds[name]
            }
            body = {
                "__init__": _first_init(fields, frozen=frozen), "__repr__": _data_repr, "__reduce__": _data_reduce,
                "__match_args__": tuple(fields), "__dataclass_fields__": _Fields(fields),
            } | (_EQUAL if eq else {}) | (_FROZEN if frozen else {})  # fmt: skip
            if slots:
                own = {
                    name: value for name, value in cls.__dict__.items() if name not in _NOT_WITH_SLOTS | fields.keys()
                }
                return type(cls)(cls.__name__, cls.__bases__, {**own, **body, "__slots__": tuple(fields)})
            for name, one in fields.items():
                if one.default is not NOT_GIVEN:
                    body[name] = one.default
                elif name in cls.__dict__:
                    delattr(cls, name)
            for name, value in body.items():
                setattr(cls, name, value)
            return cls

        return made if cls is None else made(cls)

    _NOT_WITH_SLOTS = {"__dict__", "__weakref__"}

    def _field(value):
        return value if isinstance(value, dataclasses.Field) else dataclasses.field(default=value)

    def _first_init(fields, *, frozen):
        """The `__init__` that makes a class's first instance, and then the one that makes the others."""

        def __init__(self, *args, **kwargs):  # noqa: N807 - becomes a method
            defaults, lines = {}, []
            for name, one in fields.items():
                value = name
                if one.default is not NOT_GIVEN:
                    defaults[name] = one.default
                elif one.default_factory is not NOT_GIVEN:
                    defaults[name] = NOT_GIVEN
                    value = f"factory[{name!r}]() if {name} is NOT_GIVEN else {name}"
                lines.append(f"    assign(self, {name!r}, {value})" if frozen else f"    self.{name} = {value}")
            source = "\n".join([f"def __init__(self{_parameters(fields, defaults)}):", *lines])
            factories = {name: one.default_factory for name, one in fields.items()}
            names = {"default": defaults, "factory": factories, "NOT_GIVEN": NOT_GIVEN, "assign": object.__setattr__}
            made = _compiled(source, names)
            for owner in type(self).__mro__:
                if owner.__dict__.get("__init__") is __init__:  # no more, where another thread was faster
                    owner.__init__ = made
            made(self, *args, **kwargs)

        return __init__

    def _parameters(names, defaults):
        return "".join(f", {name}=default[{name!r}]" if name in defaults else f", {name}" for name in names)

    def _compiled(source, names):
        found = {}
        exec(source, names, found)  # noqa: S102 - the names of fields, which stand in the source of liteq
        return next(iter(found.values()))

    class _Fields:
        """The fields as the functions of `dataclasses` ask for them: made when the first does, and kept."""

        def __init__(self, fields):
            self.by_name = fields
            self.made = {}

        def __get__(self, instance, owner):
            made = self.made.get(owner)
            if made is None:
                kinds = inspect.get_annotations(owner)
                fields = [(name, kinds[name], one) for name, one in self.by_name.items()]
                made = self.made[owner] = dataclasses.make_dataclass(owner.__name__, fields).__dataclass_fields__
            return made

    def _values(self):
        return tuple([getattr(self, name) for name in self.__match_args__])

    def _data_repr(self):
        shown = [f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr]
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _data_reduce(self):
        return type(self), _values(self)

    def _data_eq(self, other):
        return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented

    def _data_hash(self):
        return hash(_values(self))

    def _refuse(_self, name, *_value):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    _EQUAL = {"__eq__": _data_eq, "__hash__": None}
    _FROZEN = {"__hash__": _data_hash, "__setattr__": _refuse, "__delattr__": _refuse}


def fields_of(kind: type) -> dict[str, Any]:
    """The fields of a data class made here, by name, as `dataclasses.field` returns them; at no cost."""
    fields: dict[str, Any] = vars(kind)["__dataclass_fields__"].by_name
    return fields
