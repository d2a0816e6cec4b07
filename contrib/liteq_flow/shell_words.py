"""The words of one simple command: which of them a program would read as code."""

from __future__ import annotations

import re
from collections.abc import Sequence

from liteq_flow.shell_pieces import Pieces, ShellRefused, Slot

__all__ = ["Command"]

# Their text, or the word after their flag, is a program of theirs.
FLAGS_OF_CODE = {
    **dict.fromkeys(("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "su", "fish"), re.compile(r"-[a-zA-Z]*c")),
    **dict.fromkeys(("python", "python3", "python2", "pypy3"), re.compile(r"-[a-zA-Z]*c")),
    **dict.fromkeys(("perl", "ruby"), re.compile(r"-[a-zA-Z]*[eE]")),
    **dict.fromkeys(("node", "bun"), re.compile(r"-e|--eval|-p|--print")),
    "php": re.compile(r"-r"),
}
EVALUATING = frozenset({"eval", "trap", "alias", "let"})
DECLARING = frozenset({"export", "declare", "typeset", "local", "readonly"})
NAMING = frozenset({"unset", "read", "mapfile", "readarray", "getopts", *DECLARING})
BEFORE_A_COMMAND = frozenset(
    {"if", "then", "elif", "else", "while", "until", "do", "{", "!", "time", "exec", "command", "builtin", "env"}
    | {"sudo", "nohup", "nice"}
)
ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=")
SUBSCRIPT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[[^\]]*\Z")
ARITHMETIC = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"})


class Command:
    """One simple command as it is read: the words so far, without their quotes."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.words: list[str] = []
        self.text = ""
        self.started = False
        self.redirects = False  # the word to come is a file's
        self.slots: list[Slot] = []

    def add(self, text: str) -> None:
        """More text of the word that is being read."""
        self.text += text
        self.started = True

    def put(self, slot: Slot) -> None:
        """A reference in the word that is being read."""
        if SUBSCRIPT.match(self.text):
            slot.number = True
        self.slots.append(slot)
        self.add("\0")

    @property
    def at_start(self) -> bool:
        """Whether a word that begins here would be the command's name."""
        return not self.started and all(word in BEFORE_A_COMMAND or ASSIGNMENT.match(word) for word in self.words)

    def end_word(self) -> str:
        """Close the word that was being read, and return it. Raises ShellRefused where its references are code."""
        if not self.started:
            return ""
        word, slots = self.text, self.slots
        self.text, self.started, self.slots = "", False, []
        if self.redirects:
            self.redirects = False
            return ""
        is_assignment = ASSIGNMENT.match(word)
        if slots:
            if is_assignment and "\0" not in is_assignment[0]:
                self.pieces.assigned.setdefault(is_assignment[1], []).extend(slots)
            self._check(slots, bool(is_assignment))
        self.words.append(word)
        return word

    def drop_number(self, before: str) -> None:
        """A number right before a redirection is no word of the command."""
        if before.isdigit() and self.words and self.words[-1].isdigit():
            self.words.pop()

    def end(self) -> None:
        """Close the command."""
        self.end_word()
        self.words = []
        self.redirects = False

    def _check(self, slots: Sequence[Slot], is_assignment: bool) -> None:
        program = self.program
        last = self.words[-1] if self.words else ""
        at = slots[0].reference.text
        if program in EVALUATING:
            raise ShellRefused(f"{at} would be code of `{program}`")
        if program in NAMING and not is_assignment:
            raise ShellRefused(f"{at} would be a variable's name for `{program}`, and its subscript is evaluated")
        if program in DECLARING:
            flags = "".join(one[1:] for one in self.words if one.startswith("-"))
            if "n" in flags:
                raise ShellRefused(f"{at} would be a variable's name for `{program} -n`")
            if "i" in flags:
                for slot in slots:
                    slot.number = True
        if last in {"-v", "-R", "-p"} and program in {"printf", "test", "[", "wait"}:
            raise ShellRefused(f"{at} would be a variable's name for `{program} {last}`")
        for index, earlier in enumerate(self.words):
            flag = FLAGS_OF_CODE.get(earlier.rpartition("/")[2])
            if flag is not None and len(self.words) > index + 1 and flag.fullmatch(last):
                raise ShellRefused(
                    f"{at} would be code of `{earlier} {last}`; put it into `env:` and read it from there as a variable"
                )

    @property
    def program(self) -> str:
        """The name of the command, without its folder; "" before it is read."""
        for word in self.words:
            if word not in BEFORE_A_COMMAND and not ASSIGNMENT.match(word):
                return word.rpartition("/")[2]
        return ""

    def reads_code(self) -> str:
        """The interpreter that would read a here-document as its program; "" where none does."""
        for word in self.words:
            if (name := word.rpartition("/")[2]) in FLAGS_OF_CODE:
                return name
        return ""
