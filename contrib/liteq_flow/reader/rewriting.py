"""`liteq flow import`: a file with its synonyms replaced; nothing else of its text is touched."""

from __future__ import annotations

from collections.abc import Iterator

from liteq_flow.model import Problem
from liteq_flow.reader.reading import spots
from liteq_flow.reader.synonyms import settle
from liteq_flow.reader.yaml_places import NOWHERE, Spot, walk

__all__ = ["rewritten"]


def rewritten(text: str, file: str) -> tuple[str, list[Problem]]:
    """The text with one word for each thing, and what has to be changed by hand. Raises FlowRefused."""
    roots = spots(text, file)
    by_hand: list[Problem] = []
    for root in roots:
        list(settle(root))
    lines = text.splitlines(keepends=True)
    done: set[tuple[int, int]] = set()  # each alias in the file leads to its keys once more
    for said, word, one in sorted(_renamed(roots), key=lambda found: found[2].key_at, reverse=True):
        (line, column) = one.key_at
        if one.key_at in done:
            continue
        done |= {one.key_at} - {NOWHERE}
        before, key = lines[line][:column], lines[line][column:]
        if one.key_at != NOWHERE and key.startswith(said):
            lines[line] = before + word + key[len(said) :]
        else:  # in quotes, or a form that has another shape here
            by_hand.append(Problem(file, one.key_line or one.line, "", f"write {word!r} for {said!r}"))
    return "".join(lines), sorted(by_hand, key=lambda one: one.line)


def _renamed(roots: list[Spot]) -> Iterator[tuple[str, str, Spot]]:
    """The words of the file that have another here: each with that one, and where it stands."""
    for root in roots:
        for spot in walk(root):
            for word, one in spot.value.items() if isinstance(spot.value, dict) else ():
                if one.said is not None:
                    yield one.said, word, one
