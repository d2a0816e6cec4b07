"""References in commands: each becomes a variable, quoted for the place in which it stands. A value is never code.

    script = Script.read('echo "day: ${params.day}" >> ${params.file}', shell=("bash",))
    text, variables = script.fill(scope)     # 'echo "day: ${LITEQ_V1}" >> "${LITEQ_V2}"', {"LITEQ_V1": ..., ...}

The text goes to the shell with these variables added to its environment.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from liteq_flow.jobs.environment import LONGEST
from liteq_flow.shells.shell_pieces import Pieces, ShellRefused, Slot
from liteq_flow.shells.shell_reading import cut
from liteq_flow.values import Lookup, Reference, references, text_of

__all__ = ["Script", "ShellRefused", "interpreter_of"]

LIKE_BASH = frozenset({"bash", "ksh", "mksh", "zsh", "rbash"})
LIKE_SH = frozenset({"sh", "dash", "ash", "busybox"})
NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


def interpreter_of(text: str, shell: Sequence[str], *, own_shell: bool) -> tuple[str, ...]:
    """The words of the interpreter of a script: its `#!`, unless the step says its own shell; else `shell`, or sh."""
    if text.startswith("#!") and not own_shell:
        try:
            words = tuple(shlex.split(text.partition("\n")[0][2:]))
        except ValueError as exc:
            raise ShellRefused(f"the line {text.partition(chr(10))[0]!r} cannot be read: {exc}") from None
        if not words:
            raise ShellRefused("the line `#!` names no interpreter")
        return words
    return tuple(shell) or ("sh",)


@dataclass(frozen=True, slots=True)
class Script:
    """A command, or a script, with the places of its references known."""

    text: str
    pieces: Pieces | None
    """None: there is no reference in it, and the text stays as it is."""

    @classmethod
    def read(cls, text: str, *, shell: Sequence[str] = (), item: bool = False) -> Script:
        """Read `text` as the interpreter `shell` would. `item`: it is a step with `parallel`.

        Raises ShellRefused where a value would be code; in an interpreter that is no shell, for any reference.
        """
        name = _name_of(shell)
        if name not in LIKE_BASH | LIKE_SH:
            found = [one for one in references(text) if one.root != "variable" and (item or one.root != "ITEM")]
            if found:
                raise ShellRefused(
                    f"{found[0].text} in a script of `{name}`: how it quotes is not known here; put it into `env:` and "
                    "read it from there as a variable"
                )
            return cls(text, None)
        pieces = cut(text, item=item, plain_sh=name in LIKE_SH)
        return cls(text, pieces)

    @property
    def references(self) -> tuple[Reference, ...]:
        """Those that it has, in their order."""
        return tuple(slot.reference for slot in self.pieces.slots()) if self.pieces else ()

    def fill(self, lookup: Lookup, given: Mapping[str, str] | None = None) -> tuple[str, dict[str, str]]:
        """The text for the shell, and the variables that its environment needs besides.

        given: variables whose values come from outside (params, outputs): where the script computes with one of them,
        it has to be a number. Raises ShellRefused where one is none, or is no text for an environment;
        UnknownReference.
        """
        if self.pieces is None:
            return self.text, {}
        for name in sorted(self.pieces.evaluated & (given or {}).keys()):
            if value := (given or {})[name]:
                _check_number(f"${name}", value)
        names: dict[str, str] = {}
        variables: dict[str, str] = {}
        parts: list[str] = []
        for part in self.pieces.parts:
            if isinstance(part, str):
                parts.append(part)
            elif isinstance(part, Slot):
                variable = names.setdefault(part.reference.text, f"LITEQ_V{len(names) + 1}")
                if variable not in variables:
                    variables[variable] = _value(part.reference, lookup)
                if part.number:
                    _check_number(part.reference.text, variables[variable])
                parts.append(part.written(variable))
            else:
                parts.append(part.written)
        return "".join(parts), variables


def _name_of(shell: Sequence[str]) -> str:
    words = [word.rpartition("/")[2] for word in shell]
    if words and words[0] == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return words[0] if words else "sh"


def _value(reference: Reference, lookup: Lookup) -> str:
    value = text_of(lookup(reference))
    if "\0" in value:
        raise ShellRefused(f"{reference.text} has a NUL character, which no command can be given")
    size = len(value.encode(errors="surrogateescape"))
    if size > LONGEST:
        raise ShellRefused(f"{reference.text} has {size:,} bytes; a command takes {LONGEST:,}: write it into a file")
    return value


def _check_number(what: str, value: str) -> None:
    if not NUMBER.fullmatch(value):
        raise ShellRefused(
            f"{what} stands where the shell computes, so it has to be a whole number, not {value[:80]!r}"
        )
