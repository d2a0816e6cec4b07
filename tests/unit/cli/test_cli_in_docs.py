"""Each command that the documentation has typed: it is there, and so are the options that it is given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from liteq.cli import main

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("contrib/**/*.md"))]
TYPED = re.compile(r"^\$ (?:\w+=\S+ )*(?:sudo )?liteq ((?:.*\\\n)*.*)$", re.MULTILINE)
# What stands for the reader's own words, and of `liteq multi`, which hands its options on.
PLACEHOLDERS = {"...", "COMMAND", "-c:1"}
ENDS = ("|", "&", "&&", ">", "<", ";")


def commands() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        for found in TYPED.finditer(page.read_text(encoding="utf-8")):
            line = found[1].replace("\\\n", " ")
            yield str(page.relative_to(ROOT)), shlex.split(line, comments=True)


def options(command: click.Command, ctx: click.Context) -> dict[str, click.Parameter]:
    return {name: one for one in command.get_params(ctx) for name in (*one.opts, *one.secondary_opts)}


def wrong(words: list[str]) -> str:
    """The first word that `liteq` does not know; "" where it knows all."""
    ctx, command = click.Context(main, info_name="liteq"), main
    known = options(main, ctx)
    words = list(words)
    while words and not words[0].startswith(ENDS):
        word = words.pop(0)
        if word.startswith("-") and word not in ("-", "--"):
            name, has_value, _ = word.partition("=")
            option = known.get(name) or known.get(word[:2])  # -c4
            if option is None:
                return word
            takes_next = not has_value and (name in option.opts or name in option.secondary_opts)
            if takes_next and isinstance(option, click.Option) and not option.is_flag and not option.count:
                words = words[1:]
        elif isinstance(command, click.Group):
            found = command.get_command(ctx, word)
            if found is None:
                return word
            command = found  # type: ignore[assignment]
            known |= options(command, ctx)
            if command.ignore_unknown_options:  # `liteq multi` hands them on
                return ""
    return ""


def test_a_command_in_the_documentation_is_one() -> None:
    typed = list(commands())
    assert len(typed) > 100
    assert [(page, " ".join(words), word) for page, words in typed if (word := wrong(words))] == []


def test_a_command_in_a_sentence_is_one() -> None:
    fences = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
    odd = []
    for page in PAGES:
        for command in re.findall(r"`(liteq [^`]+)`", fences.sub("", page.read_text(encoding="utf-8"))):
            words = [word.partition("|")[0] for word in shlex.split(command)[1:] if word not in PLACEHOLDERS]
            odd += [(page.name, " ".join(words), word) for word in [wrong(words)] if word]
    assert odd == []


def test_a_word_that_is_none_is_found() -> None:
    assert wrong(["-A", "shop", "worker", "--concurency", "4"]) == "--concurency"
    assert wrong(["dead", "lst"]) == "lst"
    assert wrong(["-A", "shop", "dead", "list", "--json", "|", "jq", "--no-such"]) == ""
