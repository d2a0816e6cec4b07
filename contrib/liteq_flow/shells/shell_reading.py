"""Reads a command as a shell does, as far as it takes to know in which quotes each reference stands."""

from __future__ import annotations

import re

from liteq_flow.shells.shell_cursor import Cursor
from liteq_flow.shells.shell_documents import fill_quoted, read_body, read_delimiter
from liteq_flow.shells.shell_pieces import BREAKS, Delimiter, Form, Pieces, ShellRefused, Slot
from liteq_flow.shells.shell_words import ARITHMETIC, Command

__all__ = ["cut"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NAME_OF_EXPANSION = re.compile(r"[!#]?(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-])")
REDIRECTION = re.compile(r"<<<|&>>?|<>|>>|>\||[<>]&?")
INTEGERS = re.compile(r"\b(?:declare|typeset|local|integer)\s[^\n;]*-[A-Za-z]*i|\binteger\s")


def cut(text: str, *, item: bool, plain_sh: bool) -> Pieces:
    """Cut `text` at its references. `item`: `${ITEM}` is one. `plain_sh`: it may be any `sh`.

    Raises ShellRefused where a value would be read as code, or where shells read the text in different ways.
    """
    reader = Reader(text, Pieces(), item=item, plain_sh=plain_sh)
    reader.commands("")
    pieces = reader.pieces
    if reader.differs and pieces.slots():
        raise ShellRefused(f"{reader.differs} is not the same in every sh: say `shell: bash`")
    if INTEGERS.search(text):  # an assignment to such a variable is evaluated
        pieces.evaluated |= pieces.assigned.keys()
    pieces.settle()
    return pieces


class Reader(Cursor):
    """One pass over a text."""

    def __init__(self, text: str, pieces: Pieces, *, item: bool, plain_sh: bool) -> None:
        super().__init__(text, pieces, item=item)
        self.plain_sh = plain_sh
        self.differs = ""
        self.pending: list[tuple[Delimiter, str]] = []
        self.command = Command(pieces)

    # -- commands

    def commands(self, end: str) -> None:
        """Commands up to `end`: "" (the text's), ")" or "`"; the closing character is taken, too."""
        outer, self.command = self.command, Command(self.pieces, fed=self.command.fed)
        cases = 0
        condition = -1  # where `[[` began, in the parts
        while not self.ended:
            char = self.text[self.at]
            if char in BREAKS or char == end:
                word = self.command.end_word()
                first = bool(word) and self._is_keyword()
                cases += (word == "case" and first) - (word == "esac" and cases > 0)
                if word == "[[" and first:
                    condition = len(self.pieces.parts)
                elif word == "]]" and condition >= 0:
                    self._close_condition(condition)
                    condition = -1
                if char == end and not (end == ")" and cases):
                    self.take()
                    break
                self._break(char)
            elif char == "#" and not self.command.started:
                end_of_line = self.text.find("\n", self.at)
                self.take((len(self.text) if end_of_line < 0 else end_of_line) - self.at)
            else:
                self._part_of_word(char)
        self.command.end()
        self.command = outer

    def _is_keyword(self) -> bool:
        """Whether the word just read stands where a command's name would."""
        word = self.command.words.pop()
        at_start = self.command.at_start
        self.command.words.append(word)
        return at_start

    def _close_condition(self, start: int) -> None:
        """In `[[ ]]` with a comparison of numbers, both sides are evaluated."""
        parts = self.pieces.parts[start:]
        text = "".join(part if isinstance(part, str) else " " for part in parts)
        if ARITHMETIC.isdisjoint(text.split()):
            return
        self._computes(text, start)

    def _computes(self, text: str, start: int) -> None:
        """Note that the shell evaluates the variables in `text`, and the references from the part `start` on."""
        self.pieces.evaluated.update(NAME.findall(text))
        for part in self.pieces.parts[start:]:
            if isinstance(part, Slot):
                part.number = True

    def _break(self, char: str) -> None:
        """Read what stands between words."""
        if char == "\n":
            self.take()
            self.command.end()
            self._bodies()
        elif char == "<" and self.next("<<") and not self.next("<<<"):
            self.take(2)
            delimiter = read_delimiter(self)
            self.pending.append((delimiter, self.command.reads_code()))
        elif redirection := REDIRECTION.match(self.text, self.at):
            self.command.drop_number(self.text[self.at - 1 : self.at])
            self.take(len(redirection[0]))
            self.command.redirects = "" if self.next("(") else redirection[0]
        elif char == "(":
            if self.command.may_compute and self.next("((") and self._double_parenthesis(2):
                return
            self.take()
            self.commands(")")
            self.command.end()
        else:
            pipe = char == "|" and not self.next("||") and self.text[self.at - 1 : self.at] != "|"
            self.take()
            if char not in " \t":
                self.command.end(pipe=pipe)

    def _part_of_word(self, char: str) -> None:
        if char == "\\":
            self.command.add(self.take(2)[1:])
        elif char == "'":
            self.take()
            self._single("'", "single")
        elif char == '"':
            self.take()
            self._double()
        elif char == "`":
            self._backticks(inside="")
        elif char == "$":
            self._dollar("bare")
        else:
            self.command.add(self.take())

    # -- quotes

    def _single(self, end: str, form: Form) -> None:
        """Up to the closing quote. A backslash before a reference makes it text, as in any other field."""
        self.command.add("")
        while not self.ended:
            if self.next(end):
                self.take()
                return
            if form == "ansi" and self.next("\\"):
                if self.next("\\'") and self.plain_sh:
                    self.differs = "$'...\\'...'"
                self.command.add(self.take(2))
            elif self.next("\\"):
                self._slashes()
            elif self.next("${") and (slot := self.slot(form)):
                self.command.put(slot)
            else:
                self.command.add(self.take())

    def _slashes(self) -> None:
        """Backslashes in '': the last one before a reference is the flow's, and goes."""
        run, escapes = self.slashes()
        self.command.add(self.take(run - escapes))
        if escapes:
            self.at += 1
            self.command.add(self.take(2))

    def _double(self) -> None:
        """Up to the closing quote."""
        self.command.add("")
        while not self.ended:
            if self.next('"'):
                self.take()
                return
            self._in_double()

    def _in_double(self) -> None:
        """One thing inside of "" or of a here-document."""
        if self.next("\\"):
            self.command.add(self.take(2))
        elif self.next("`"):
            self._backticks(inside='""')
        elif self.next("$"):
            self._dollar("double")
        else:
            self.command.add(self.take())

    def _backticks(self, inside: str) -> None:
        """`...`: what is inside is read twice by the shell."""
        close = self.at + 1
        while close < len(self.text) and self.text[close] != "`":
            close += 2 if self.text[close] == "\\" else 1
        body = self.text[self.at : close]
        if (inside or "\\" in body) and self.has_reference(body):
            raise ShellRefused("a reference in backticks among quotes or backslashes; write $(...)")
        self.command.add("`")
        if inside or "\\" in body:
            self.take(close + 1 - self.at)
            return
        self.take()
        self.commands("`")

    # -- $

    def _dollar(self, form: Form) -> None:
        if slot := self.slot(form):
            self.command.put(slot)
        elif self.next("$((") and self._double_parenthesis(3):
            self.command.add("$")
        elif self.next("$("):
            self.take(2)
            self.commands(")")
            self.command.add("$")
        elif self.next("$["):
            self.take(2)
            self._arithmetic("]")
        elif self.next("${"):
            self._expansion(form)
        elif form == "bare" and self.next("$'"):
            self.take(2)
            self._single("'", "ansi")
        else:
            self.command.add(self.take())

    def _double_parenthesis(self, count: int) -> bool:
        """`$((` or `((`: whether it was arithmetic, which is read then; else nothing is."""
        if count == 2 and self.plain_sh:
            self.differs = "(("
        at, parts = self.at, len(self.pieces.parts)
        self.take(count)
        if self._arithmetic("))"):
            return True
        self.at = at  # commands in parentheses, the second of which is one of theirs
        del self.pieces.parts[parts:]
        return False

    def _arithmetic(self, end: str) -> bool:
        """Up to `end`; False where a parenthesis ends sooner."""
        depth = 0
        while not self.ended:
            if depth == 0 and self.next(end):
                self.take(len(end))
                return True
            char = self.text[self.at]
            if char in ")}" and depth == 0:
                return False
            depth += (char in "([") - (char in ")]" and depth > 0)
            if name := NAME.match(self.text, self.at):
                self.pieces.evaluated.add(name[0])
                self.take(len(name[0]))
            elif char != "$" or not self.slot("double", number=True):
                self._in_arithmetic(char)
        return False

    def _in_arithmetic(self, char: str) -> None:
        if char == "\\":
            self.take(2)
        elif self.next("${"):
            at, parts = self.at, len(self.pieces.parts)
            self._dollar("double")
            self._computes(self.text[at : self.at], parts)
        elif self.next("$("):
            self._dollar("double")
        elif char == "`":
            self._backticks(inside='""')
        else:
            self.take()

    def _expansion(self, form: Form) -> None:
        """`${name...}` of the shell's own."""
        self.command.add(self.take(2))
        if self.next("$") and self.slot("bare"):
            raise ShellRefused("a reference would be a variable's name; its subscript is evaluated")
        name = NAME_OF_EXPANSION.match(self.text, self.at)
        if name is None:
            return
        if name[0].startswith("!") and len(name[0]) > 1:
            self.pieces.evaluated.add(name[0][1:])
        self.take(len(name[0]))
        if self.next("["):
            self.take()
            self._arithmetic("]")
        if self.next(":") and not re.match(r":[-+=?]", self.text[self.at :]):
            self.take()
            self._arithmetic("}")
            return
        self._word_of_expansion(form, pattern=not re.match(r":?[-+=?]", self.text[self.at :]))

    def _word_of_expansion(self, form: Form, *, pattern: bool) -> None:
        """`${name:-word}` and its like, up to the brace."""
        while not self.ended:
            if self.next("}"):
                self.command.add(self.take())
                return
            if self.next('"'):
                self.take()
                self._double()
            elif self.next("'") and (form == "bare" or pattern):
                self.take()
                self._single("'", "single")
            else:
                self._bare_in_expansion(form)

    def _bare_in_expansion(self, form: Form) -> None:
        if self.next("\\"):
            self.command.add(self.take(2))
        elif self.next("`"):
            self._backticks(inside="${}")
        elif self.next("$"):
            self._dollar(form)
        else:
            self.command.add(self.take())

    # -- here-documents

    def _bodies(self) -> None:
        """The here-documents whose bodies begin here."""
        pending, self.pending = self.pending, []
        for delimiter, interpreter in pending:
            body, last = read_body(self, delimiter)
            if not self.has_reference(body):
                self.pieces.parts.append(body)
            elif interpreter:
                raise ShellRefused(
                    f"a reference in a here-document that is code of `{interpreter}`; put it into `env:` and read it "
                    "from there as a variable"
                )
            elif delimiter.quoted:
                fill_quoted(Cursor(body, self.pieces, item=self.item), delimiter)
            else:
                inner = Reader(body, self.pieces, item=self.item, plain_sh=self.plain_sh)
                while not inner.ended:
                    inner._in_double()
                self.differs = self.differs or inner.differs
            self.pieces.parts.append(last)
