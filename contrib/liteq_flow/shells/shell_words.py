"""The words of one simple command: which of them a program would read as code."""

from __future__ import annotations

import re
from collections.abc import Sequence

from liteq_flow.shells.shell_pieces import Pieces, ShellRefused, Slot

__all__ = ["Command"]

# Their text, or the word after their flag, is a program of theirs.
FLAGS_OF_CODE = {
    **dict.fromkeys(
        ("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "su", "fish"), re.compile(r"-[a-zA-Z]*c[a-zA-Z]*")
    ),
    **dict.fromkeys(("python", "pypy"), re.compile(r"-[a-zA-Z]*c")),
    **dict.fromkeys(("perl", "ruby"), re.compile(r"-[a-zA-Z]*[eE]")),
    **dict.fromkeys(("node", "bun"), re.compile(r"--eval=?|--print=?|-[a-zA-Z]*[ep]")),
    "php": re.compile(r"-r"),
    "flock": re.compile(r"-c|--command=?"),
}
READERS = FLAGS_OF_CODE.keys() - {"flock"}  # they read a program from their input, too
SCRIPTED = READERS - {"su"}  # behind the file of a script, what looks like a flag is an argument of it
VERSION = re.compile(r"(?<=[a-z])[0-9.]+\Z")
VALUED = frozenset({"-o", "+o", "-O", "+O", "-W", "-X", "-I", "-r", "--require"})  # the word after them is theirs
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
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

    def __init__(self, pieces: Pieces, *, fed: bool = False) -> None:
        self.pieces = pieces
        self.around = fed  # likewise, of what is around it: a subshell's commands read what it reads
        self.words: list[str] = []
        self.text = ""
        self.started = False
        self.redirects = ""  # what stands before the word to come, which is a file's, or with <<< a text
        self.filled = False  # whether a word of it has references
        self.fed = fed  # whether one of the command before it has, whose output it reads
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

    @property
    def may_compute(self) -> bool:
        """Whether `((` here would be arithmetic: as a command, or behind `for`."""
        return self.at_start or (not self.started and self.words[-1:] == ["for"])

    def end_word(self) -> str:
        """Close the word that was being read, and return it. Raises ShellRefused where its references are code."""
        if not self.started:
            return ""
        word, slots = self.text, self.slots
        self.text, self.started, self.slots = "", False, []
        self.filled = self.filled or bool(slots)
        if self.redirects:
            if self.redirects == "<<<" and slots and (name := self.reads_code()):
                raise ShellRefused(f"{slots[0].reference.text} would be code of `{name}`")
            self.redirects = ""
            return ""
        is_assignment = ASSIGNMENT.match(word)
        if slots:
            self._check(word, slots, bool(is_assignment))
        if is_assignment and "\0" not in is_assignment[0]:
            self._flows(is_assignment[1], word[is_assignment.end() :], slots)
        elif len(self.words) > 2 and self.words[0] == "for":  # for NAME in WORD
            self._flows(self.words[1], word, slots)
        if self.words and self._computes():
            self.pieces.evaluated.update(NAME.findall(word))
        self.words.append(word)
        return word

    def _flows(self, variable: str, text: str, slots: Sequence[Slot]) -> None:
        """Note what a variable of the script's own gets: of other variables, and of references."""
        self.pieces.assigned.setdefault(variable, []).extend(slots)
        self.pieces.flows.setdefault(variable, set()).update(NAME.findall(text))

    def _computes(self) -> bool:
        """Whether the shell evaluates the words of this command."""
        program = self.program
        return program == "let" or (program in DECLARING and "i" in self._flags())

    def _flags(self) -> str:
        return "".join(one[1:] for one in self.words if one.startswith("-"))

    def drop_number(self, before: str) -> None:
        """A number right before a redirection is no word of the command."""
        if before.isdigit() and self.words and self.words[-1].isdigit():
            self.words.pop()

    def end(self, *, pipe: bool = False) -> None:
        """Close the command; `pipe`: the next one reads what it writes."""
        self.end_word()
        if self.fed and (name := self.reads_code()):
            raise ShellRefused(f"a reference would be code of `{name}`, which reads what is written to it")
        if self.words or pipe:  # else it has not begun: a line may end after `|`
            self.fed = self.around or (pipe and (self.filled or self.fed))
        self.words = []
        self.redirects, self.filled = "", False

    def _check(self, word: str, slots: Sequence[Slot], is_assignment: bool) -> None:
        program = self.program
        last = self.words[-1] if self.words else ""
        at = slots[0].reference.text
        if program in EVALUATING:
            raise ShellRefused(f"{at} would be code of `{program}`")
        if program in NAMING and not is_assignment:
            raise ShellRefused(f"{at} would be a variable's name for `{program}`, and its subscript is evaluated")
        if program in DECLARING:
            flags = self._flags()
            if "n" in flags:
                raise ShellRefused(f"{at} would be a variable's name for `{program} -n`")
            if "i" in flags:
                for slot in slots:
                    slot.number = True
        if last in {"-v", "-R", "-p"} and program in {"printf", "test", "[", "wait"}:
            raise ShellRefused(f"{at} would be a variable's name for `{program} {last}`")
        for index, earlier in enumerate(self.words):
            flag = FLAGS_OF_CODE.get(_interpreter(earlier))
            if flag is not None and (given := _code_of(flag, self.words[index:], word)):
                raise ShellRefused(
                    f"{at} would be code of `{earlier} {given}`; put it into `env:` and read it from there as a "
                    "variable"
                )

    @property
    def program(self) -> str:
        """The name of the command, without its folder; "" before it is read."""
        for word in self.words:
            if word not in BEFORE_A_COMMAND and not ASSIGNMENT.match(word):
                return word.rpartition("/")[2]
        return ""

    def reads_code(self) -> str:
        """The interpreter that would read its input as its program; "" where none does: it has a file for that."""
        names = [word.rpartition("/")[2] for word in self.words]
        known = [name for name in names if _interpreter(name) in READERS]
        if self.program in {".", "source"} and "/dev/stdin" in self.words:
            return self.program
        if known and not {"-", "-s"}.isdisjoint(self.words):
            return known[-1]
        files = [name for name, word in zip(names, self.words, strict=True) if not word.startswith("-")]
        return files[-1] if files and _interpreter(files[-1]) in READERS else ""


def _interpreter(word: str) -> str:
    """The name of a program without its folder and its version: `python3.11` reads code as `python` does."""
    return VERSION.sub("", word.rpartition("/")[2])


def _code_of(flag: re.Pattern[str], words: Sequence[str], word: str) -> str:
    """The flag behind which `word` is code, or that it begins with; "" for none. `words`: from the interpreter on."""
    found, has_script = "", False
    for index, one in enumerate(words[1:]):
        if flag.fullmatch(one):
            found = one
        elif not one.startswith(("-", "+")) and words[index] not in VALUED:
            found, has_script = "", _interpreter(words[0]) in SCRIPTED  # else it was the code: arguments follow
    attached = None if has_script else flag.match(word)
    return found or (attached[0] if attached else "")
