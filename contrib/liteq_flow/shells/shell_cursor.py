"""A place in a command's text, and what has been cut off before it."""

from __future__ import annotations

from liteq_flow.shells.shell_pieces import Form, Pieces, Slot
from liteq_flow.values import BRACED, reference

__all__ = ["Cursor"]


class Cursor:
    """A text and a place in it; what is taken goes to the pieces."""

    def __init__(self, text: str, pieces: Pieces, *, item: bool) -> None:
        self.text = text
        self.at = 0
        self.pieces = pieces
        self.item = item

    def take(self, count: int = 1) -> str:
        """The next characters, which stay as they are."""
        found = self.text[self.at : self.at + count]
        self.at += count
        self.pieces.parts.append(found)
        return found

    def next(self, text: str) -> bool:
        """Whether `text` is next."""
        return self.text.startswith(text, self.at)

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self.at >= len(self.text)

    def slot(self, form: Form, *, number: bool = False) -> Slot | None:
        """The reference that stands here, if one does."""
        match = BRACED.match(self.text, self.at)
        found = reference(match[1]) if match else None
        if match is None or found is None or found.root == "variable":
            return None
        if found.root == "ITEM" and not found.path and not self.item:
            return None  # a variable of the script's own
        slot = Slot(found, form, number)
        self.at = match.end()
        self.pieces.parts.append(slot)
        return slot

    def slashes(self) -> tuple[int, bool]:
        """How many backslashes are next, and whether they make text of a reference: an odd number of them does."""
        run = len(self.text) - self.at - len(self.text[self.at :].lstrip("\\"))
        return run, run % 2 == 1 and BRACED.match(self.text, self.at + run) is not None

    def has_reference(self, text: str) -> bool:
        """Whether there is one anywhere in `text`."""
        inner = Cursor(text, Pieces(), item=self.item)
        while not inner.ended:
            if inner.slot("bare"):
                return True
            inner.at += 1
        return False
