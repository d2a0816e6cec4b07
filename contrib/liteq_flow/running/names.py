"""`Names`: what the references of a step find, in the body and in its jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from liteq_flow.jobs.environment import RUNNING, Environment, env_mark, is_mark, known, plain, unmarked
from liteq_flow.model import Flow, Step
from liteq_flow.shells.shell import Script
from liteq_flow.values import ABSENT, Reference, Scope, references, resolve, text_of

__all__ = ["ARTIFACTS", "Names", "Seen"]

Json = Any
ARTIFACTS = ("paths", "artifacts_dir")


@dataclass(frozen=True, slots=True)
class Seen:
    """Variables of the worker, and of the flow's `.env` files, as they were when a step began."""

    worker: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Names:
    """The values of one document in one run; of an item of a loop, with that item over them."""

    flow: Flow
    folder: Path
    params: Mapping[str, Json]
    context: Mapping[str, Json]
    outputs: dict[str, Json] = field(default_factory=dict)
    """By a step's id."""
    variables: dict[str, str] = field(default_factory=dict)
    """The text that `output: NAME` took."""
    foreach: Mapping[str, Json] = field(default_factory=dict)
    item: Json = ABSENT
    step: Step | None = None
    seen: Seen = Seen()

    def inner(self, foreach: Mapping[str, Json]) -> Names:
        """Those of an item of a foreach, over these."""
        return replace(self, outputs=dict(self.outputs), variables=dict(self.variables), foreach=foreach)

    def of(self, step: Step, item: Json = ABSENT) -> Names:
        """Those of one step; `item`: of `parallel`."""
        context = {**self.context, "step": {"id": step.id, "name": step.name}}
        return replace(self, step=step, context=context, item=item if item is not ABSENT else self.item)

    # -- in the body -------------------------------------------------------------------------------------------------

    def _scope(self, env: Mapping[str, str]) -> Scope:
        return Scope(
            self.params, env, self.flow.consts, self.outputs, self.variables, self.context, self.foreach, self.item
        )

    def value(self, document: Json) -> Json:
        """`document` with its references found. Raises UnknownReference."""
        return resolve(document, self._scope(self._environment().values))

    def text(self, document: Json) -> str:
        """`value` as a text."""
        return text_of(self.value(document))

    def _environment(self) -> Environment:
        """The environment for what the run itself works out: of the worker what was looked at (observing.py)."""
        env = Environment(self.seen.worker)
        env.values |= self.told()
        env.add(self.pairs(self.flow.env))
        env.values |= self.seen.files
        env.add((name, plain(text_of(value))) for name, value in self.params.items())
        env.add((name, plain(value)) for name, value in self.variables.items())
        env.add(self.pairs(self._own()))
        return env

    def _own(self) -> tuple[tuple[str, str], ...]:
        """The variables of the step; outside of an item of `parallel` those that have no item in them."""
        own = self.step.env if self.step else ()
        if self.item is not ABSENT:
            return own
        return tuple((name, text) for name, text in own if all(one.root != "ITEM" for one in references(text)))

    def told(self) -> dict[str, str]:
        """The variables that tell of the run itself."""
        flow, run = self.flow, self.context["run"]
        found = {
            "DAG_NAME": flow.name, "DAG_RUN_ID": run["id"], "LITEQ_RUN_ID": run["id"], "LITEQ_FLOW": flow.name,
            "DAG_RUN_STATUS": run["status"], "DAG_PARAMS_JSON": text_of(dict(self.params)),
        }  # fmt: skip
        if self.step is not None:
            found["DAG_RUN_STEP_NAME"] = found["LITEQ_STEP"] = self.step.name
        return found

    # -- for a job ---------------------------------------------------------------------------------------------------

    def template(self, document: Json) -> Json:
        """`document` for a job: what belongs to the run is filled in, variables of the worker are found there."""
        scope = self._scope({})

        def found(one: Reference) -> Json:
            if one.root == "env" and len(one.path) == 1:
                return env_mark(one.path[0])
            if one.root == "context" and one.path == ARTIFACTS:
                return env_mark("LITEQ_ARTIFACTS_DIR")
            value = scope(one)
            return plain(value) if isinstance(value, str) else _plain(value)

        return resolve(document, found)

    def pairs(self, pairs: tuple[tuple[str, str], ...]) -> list[list[str]]:
        """Variables with their templates, in their order."""
        return [[name, text_of(self.template(value))] for name, value in pairs]

    def job(self) -> dict[str, Json]:
        """The part of a job's document that says its environment."""
        flow, step, told = self.flow, self.step, self.told()
        if told["DAG_RUN_STATUS"] == RUNNING:  # a worker sets it: so older runs find the jobs that had it not
            del told["DAG_RUN_STATUS"]
        dirs = [flow.working_dir, step.working_dir if step else None]
        return {
            "run_id": self.context["run"]["id"],
            "folder": str(self.folder),
            "context": [[name, plain(value)] for name, value in told.items()],
            "env": self.pairs(flow.env),
            "dotenv": [self.template(name) for name in flow.dotenv],
            "params": [[name, plain(text_of(value))] for name, value in self.params.items()],
            "secrets": {one.name: one.source for one in flow.secrets},
            "outputs": [[name, plain(value)] for name, value in self.variables.items()],
            "own_env": self.pairs(self._own()),
            "dirs": [text_of(self.template(one)) for one in dirs if one is not None],
        }

    def script(self, text: str, shell: tuple[str, ...]) -> tuple[str, list[list[str]]]:
        """A command for the shell, and the variables that it needs besides. Raises ShellRefused, UnknownReference."""
        scope = self._scope(self._declared())

        def found(one: Reference) -> Json:
            if one.root == "env" and len(one.path) == 1 and one.path[0] not in scope.env:
                return env_mark(one.path[0])
            if one.root == "context" and one.path == ARTIFACTS:
                return env_mark("LITEQ_ARTIFACTS_DIR")
            return unmarked(text_of(scope(one)).replace("\0", ""))

        script = Script.read(text, shell=shell, item=self.item is not ABSENT)
        filled, variables = script.fill(found, self._from_outside())
        return filled, [[name, value if is_mark(value) else plain(value)] for name, value in variables.items()]

    def _from_outside(self) -> dict[str, str]:
        """The variables whose values, or parts of them, nobody wrote into the file: of params and of outputs."""
        given: dict[str, str] = {}

        def take(env: Iterable[tuple[str, str]]) -> None:
            for name, text in env:
                if "$" in text:
                    given[name] = known(text_of(self.template(text)), given)
                else:
                    given.pop(name, None)

        take(self.flow.env)
        given |= {name: text_of(value) for name, value in self.params.items()} | self.variables
        take(self._own())
        return given

    def _declared(self) -> dict[str, str]:
        """The variables of `env` whose values stand in the file itself."""
        own = self.step.env if self.step else ()
        found: dict[str, str] = {}
        for name, text in (*self.flow.env, *own):
            if "$" in text:
                found.pop(name, None)
            else:
                found[name] = text
        return found


def _plain(value: Json) -> Json:
    """A document of the run's, of which nothing is looked up."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
