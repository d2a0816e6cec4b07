"""The part of the worker's surroundings that a run itself works with: looked at once for each step, and recorded.

A replay may be on another host, or behind a change of a `.env` file, and has to come to the same values.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from liteq.workflow import actx
from liteq_flow.jobs.environment import Environment, read_dotenv
from liteq_flow.reader.secrecy import variables_of
from liteq_flow.running.names import ARTIFACTS, Names, Seen
from liteq_flow.running.run import key_of
from liteq_flow.values import references, text_of

__all__ = ["observed"]

STEP = "liteq.flow.environment"
Pairs = Sequence[tuple[str, str]]


async def observed(names: Names, path: str, texts: Iterable[Any]) -> Names:
    """`names` that find in `texts` what the worker had when the step at `path` began. Raises OSError, ValueError."""
    given = list(texts)
    files, worker = _needed(names, given)
    artifacts = any(one.root == "context" and one.path == ARTIFACTS for one in references(given))
    if not files and not worker and not artifacts:
        return names

    def look() -> dict[str, Any]:
        return {**_found(names, files, worker), "artifacts": names.context["paths"]["artifacts_dir"]}

    found = await actx.step(STEP, look, key=key_of(f"{path}$"))
    paths: Any = {**names.context["paths"], "artifacts_dir": found["artifacts"]}
    return replace(names, seen=Seen(found["worker"], found["files"]), context={**names.context, "paths": paths})


def _needed(names: Names, texts: list[Any]) -> tuple[set[str], set[str]]:
    """The variables that `texts` need of the flow's `.env` files, and of the worker."""
    own = set(names.variables)
    known = own | set(names.params)  # in the texts of `env` these are filled in
    wanted = _named(texts, own)
    wanted = _before(names.step.env if names.step else (), wanted, known) - known
    files = wanted if names.flow.dotenv else set()
    return files, _before(names.flow.env, wanted, known) - names.told().keys()


def _named(texts: Any, known: set[str]) -> set[str]:
    """The variables that texts name; a bare name of `known` is none of them."""
    return {
        one.path[0]
        for one in references(texts)
        if one.root == "env" or (one.root == "variable" and one.path[0] not in known)
    }


def _before(pairs: Pairs, wanted: set[str], known: set[str]) -> set[str]:
    """The variables that have to be there before `pairs` are set, so that those of `wanted` are behind them."""
    for name, text in reversed(pairs):
        if name in wanted:
            wanted = (wanted - {name}) | _named(text, known)
    return wanted


def _found(names: Names, files: set[str], worker: set[str]) -> dict[str, Any]:
    """Those variables as they are here and now; without secrets, as it is kept."""
    secret = {name for one in names.flow.secrets for name in variables_of(one)}
    env = Environment({name: value for name, value in os.environ.items() if name not in secret})
    found = {"worker": _some(env.values, worker), "files": {}}
    env.add(names.pairs(names.flow.env))
    written: dict[str, str] = {}
    for file in names.flow.dotenv if files else ():
        more = read_dotenv(names.folder / env.expand(text_of(names.template(file))))
        env.values |= more
        written |= more
    found["files"] = _some(written, files - secret)
    return found


def _some(values: dict[str, str], wanted: set[str]) -> dict[str, str]:
    """The wanted ones of `values`, as text that can be kept."""
    return {
        name: values[name].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for name in sorted(wanted)
        if name in values
    }
