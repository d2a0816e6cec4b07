"""The windows of `liteq top` over its tables: a text to read, a line to type, a question before an act."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

__all__ = ["Line", "Page"]


class Page(ModalScreen[None]):
    """A text to read; Escape, q and Enter close it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,enter", "dismiss", "close")]
    CSS = """
    Page { align: center middle; }
    Page > VerticalScroll { width: 90%; max-width: 110; height: 80%; border: round $primary; padding: 0 1; }
    """

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with VerticalScroll() as scroll:
            scroll.border_title = self._title
            yield Static(Text(self._text))


class Line(ModalScreen[str | None]):
    """A line to type; None where it was left with Escape."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "leave")]
    CSS = """
    Line { align: center bottom; }
    Line > Vertical { width: 100%; height: auto; border: round $primary; padding: 0 1; }
    """

    def __init__(self, question: str, value: str = "", placeholder: str = "") -> None:
        super().__init__()
        self._question, self._value, self._placeholder = question, value, placeholder

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(Text(self._question))
            yield Input(self._value, placeholder=self._placeholder)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Close it without an answer."""
        self.dismiss(None)
