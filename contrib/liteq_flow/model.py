"""A flow as data: what a file says after its synonyms, defaults and references to steps are settled.

Everything here is immutable and knows nothing of YAML and nothing of runs. Texts are as they stand in the file: what
`${...}` stands for is found when a step begins (`liteq_flow.values`), in `run` by `liteq_flow.shells.shell`.
Times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "Action", "Approval", "Captured", "Condition", "ContinueOn", "Declared", "Do", "Event", "Flow", "FlowFile",
    "Foreach", "Nothing", "Ours", "Parallel", "Param", "Problem", "Repeat", "Retry", "Run", "Secret", "Step", "Stream",
]  # fmt: skip

Json = Any  # a document: None, bool, int, float, str, lists and dicts of these


@dataclass(frozen=True, slots=True)
class Problem:
    """A thing that is wrong in a file, with its place; or, among `FlowFile.notes`, one that has no effect."""

    file: str
    line: int
    """Counted from 1; 0 where no line can be named."""
    path: str
    """Where in the document: "steps[2].retry_policy.limit"; of a later document after its name, "child: steps[0]"."""
    what: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return f"{place}{self.path}: {self.what}" if self.path else f"{place}{self.what}"


# -- a step's work: one of these -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """`run`: a shell's commands, one after the other, or one script."""

    commands: tuple[str, ...]
    """Several were given as a list; each is a process of its own, and the first that fails ends the step."""
    script: bool
    """Whether the one text has several lines: then it goes to the shell as a file, with its own `#!` if it has one."""
    shell: tuple[str, ...] | None
    """`with.shell` and `with.shell_args` of this step, split into words; None: the flow's."""


@dataclass(frozen=True, slots=True)
class Action:
    """`action`: a name such as "http.request", with its arguments (values may hold references)."""

    name: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Ours:
    """`task:`, `workflow:` or `agent:`: a name that an app knows, or `module:name`."""

    kind: Literal["task", "workflow", "agent"]
    name: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Event:
    """`event: NAME`: waits for an event of the run, whose payload is the step's output "payload"."""

    name: str


@dataclass(frozen=True, slots=True)
class Foreach:
    """`foreach`: the steps below, once for each item."""

    items: Json
    """A list, or a text that stands for one."""
    as_name: str
    key: str | None
    """A text whose value names an item; None: its index, from 0."""
    max_concurrent: int
    steps: tuple[Step, ...]
    collect: Mapping[str, str]
    """Names and texts that are found after each item's steps; empty: nothing but `index` and `key`."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """`output` alone, or `noop`."""


Do = Run | Action | Ours | Event | Foreach | Nothing


# -- what may be said of a step --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Retry:
    """`retry_policy`, or `retry: 3`."""

    limit: int | str = 0
    """How often it is tried again; a text is a reference."""
    interval_s: float | str = 0.0
    backoff: float = 1.0
    """By what the interval grows with each try."""
    max_interval_s: float | None = None
    exit_codes: tuple[int, ...] = ()
    """After these alone; empty: after any failure."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """`repeat_policy`: the step again, though it did not fail."""

    mode: Literal["while", "until"]
    """`repeat: true` is "while" without a condition: it goes on until `limit`."""
    condition: str | None = None
    expected: str | None = None
    """None with a condition: the condition is a command, and holds if it exits with 0."""
    exit_codes: tuple[int, ...] = ()
    interval_s: float = 0.0
    backoff: float = 1.0
    max_interval_s: float | None = None
    limit: int | None = None
    """How often it runs in all."""


@dataclass(frozen=True, slots=True)
class ContinueOn:
    """`continue_on`: after which ends of this step those that depend on it begin all the same."""

    failed: bool = False
    skipped: bool = False
    exit_codes: tuple[int, ...] = ()
    output: tuple[str, ...] = ()
    """A line of its output that says so; `re:PATTERN` is searched for."""
    mark_success: bool = False
    """Then the step counts as succeeded."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One of `preconditions`."""

    condition: str
    expected: str | None = None
    """None: `condition` is a command that has to exit with 0. Else its value is compared, or `re:PATTERN` matched."""
    negate: bool = False


@dataclass(frozen=True, slots=True)
class Captured:
    """One entry of `output: {key: ...}`."""

    name: str
    source: Literal["value", "stdout", "stderr", "file"]
    value: Json = None
    """For "value": a document with references."""
    path: str | None = None
    """For "file": its name."""
    decode: Literal["text", "json", "yaml"] = "text"
    select: str | None = None
    """A path such as ".a.b[0]" into what was decoded."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One entry of `outputs`: read from the file that `$LITEQ_OUTPUT_FILE` names."""

    name: str
    type: Literal["string", "json"] = "string"


@dataclass(frozen=True, slots=True)
class Stream:
    """`stdout` or `stderr`: where else it is written."""

    path: str | None = None
    """A file, from the working directory."""
    artifact: str | None = None
    """An artifact of the run by this name."""
    outputs: tuple[Captured, ...] = ()
    """`stdout.outputs.fields`: outputs of the run, as `outputs.write` writes them."""
    whole: bool = False
    """`stdout.outputs` without fields: the decoded output is an object of outputs."""
    decode: Literal["text", "json", "yaml"] = "json"


@dataclass(frozen=True, slots=True)
class Parallel:
    """`parallel`: the step once for each item, which is `${ITEM}`."""

    items: Json
    """A list, or a text that stands for one."""
    max_concurrent: int


@dataclass(frozen=True, slots=True)
class Approval:
    """`approval`: a person is asked after the step's work, before it counts as done."""

    prompt: str
    form: Mapping[str, Json]
    """A JSON Schema of an object; empty: nothing is asked but yes or no."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step, or a handler."""

    id: str
    """Unique in its flow (in a foreach: among its steps). Where a file gives a name alone, that name."""
    name: str
    """For people."""
    do: Do
    line: int
    named: bool = True
    """Whether the file gave an id, by which its outputs are found."""
    description: str = ""
    depends: tuple[str, ...] = ()
    """Ids; in a chain each step has the one before it."""
    env: tuple[tuple[str, str], ...] = ()
    """In order: a later one may stand on an earlier one."""
    working_dir: str | None = None
    timeout_s: float | None = None
    """Of each attempt; `timeout_sec: 0` is None."""
    retry: Retry = Retry()
    repeat: Repeat | None = None
    continue_on: ContinueOn = ContinueOn()
    preconditions: tuple[Condition, ...] = ()
    variable: str | None = None
    """`output: NAME`: the trimmed stdout, for later steps `$NAME`."""
    captured: tuple[Captured, ...] = ()
    """`output: {key: ...}`: outputs of the step."""
    declared: tuple[Declared, ...] = ()
    """`outputs: [...]`: outputs of the step."""
    stdout: Stream = Stream()
    stderr: Stream = Stream()
    parallel: Parallel | None = None
    approval: Approval | None = None
    queue: str | None = None
    priority: int | None = None
    memo: Json = None
    """As a step of a workflow has it: a duration, or true."""
    limits: tuple[str, ...] = ()
    doubt: Literal["repeat", "ask"] = "repeat"
    compensate: Step | None = None
    """The step that undoes it, if the flow fails after it. A bare name in the file is a task."""


# -- a flow ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Param:
    """One of `params`."""

    name: str
    default: Json = None
    """None: it has none."""
    required: bool = False
    type: Literal["string", "integer", "number", "boolean"] | None = None
    """None: what was given is taken as it is."""
    enum: tuple[Json, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """One of `secrets`: in the environment of commands as `name`."""

    name: str
    source: str
    """As `liteq.workflow.Secret` takes it: "env:NAME" or "file:/path"."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One document of a file."""

    name: str
    """Of the first document that has none: the file's, without its suffix."""
    steps: tuple[Step, ...]
    line: int
    description: str = ""
    type: Literal["graph", "chain"] = "graph"
    params: tuple[Param, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    """In order: a later one may stand on an earlier one."""
    dotenv: tuple[str, ...] = ()
    consts: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """With their references to earlier ones filled in."""
    secrets: tuple[Secret, ...] = ()
    working_dir: str | None = None
    """None: the folder of the file."""
    shell: tuple[str, ...] = ()
    """Split into words; empty: `sh`."""
    schedule: tuple[str, ...] = ()
    """Lines of crontab, each perhaps with CRON_TZ=ZONE before it."""
    catchup_window_s: float | None = None
    """None: what was missed is not made up for."""
    overlap_policy: Literal["skip", "all", "latest"] = "skip"
    queue: str | None = None
    max_active_steps: int | None = None
    max_active_runs: int | None = None
    timeout_s: float | None = None
    preconditions: tuple[Condition, ...] = ()
    handlers: Mapping[str, Step] = field(default_factory=dict)
    """By "init", "success", "failure", "abort", "exit", "wait"."""
    labels: tuple[str, ...] = ()
    """Words for the run's tags."""

    def step(self, id: str) -> Step:  # noqa: A002 - as in the file
        """The step of that id. Raises KeyError."""
        for step in self.steps:
            if step.id == id:
                return step
        raise KeyError(id)


@dataclass(frozen=True, slots=True)
class FlowFile:
    """A file: the flow that runs, and those after it, which its steps may run."""

    file: str
    flows: tuple[Flow, ...]
    notes: tuple[Problem, ...] = ()
    """Words that are accepted and have no effect."""

    @property
    def flow(self) -> Flow:
        """The first one."""
        return self.flows[0]

    def sub(self, name: str) -> Flow | None:
        """The later document of that name; None where there is none: then it is a file beside this one."""
        return next((flow for flow in self.flows[1:] if flow.name == name), None)
