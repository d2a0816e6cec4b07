"""Prompts: the ways through the tools that an operator or a developer asks for most."""

from __future__ import annotations

from typing import Final, NamedTuple

from mcp.types import GetPromptResult, Prompt, PromptArgument, PromptMessage, TextContent

from liteq_mcp.bounds import LONGEST_FIELD
from liteq_mcp.tools import Refused

__all__ = ["PROMPTS", "prompt", "prompts"]

GOAL: Final = "goal"  # the argument without which its prompts make no sense


class _Text(NamedTuple):
    description: str
    argument: str
    about: str
    text: str


PROMPTS: Final = {
    "post_mortem": _Text(
        "What failed, since when, why, and what it has cost.",
        "of",
        "a task's id, a cause, or a time such as 1h",
        "Write a post-mortem of {of}. Use `overview` and `failures` for what failed and since when, `task` of the "
        "sample for the traceback and the attempts, `search` (error:, since:) for how many were hit, and which "
        "releases and workers they share. Say: what happened, the cause, how many tasks, whether any were lost or "
        "done twice, what was done about it (the audit names it), and what would keep it from happening again. "
        "Name ids. Guess nothing.",
    ),
    "why_slow": _Text(
        "Why a queue or a task is slow, and what would help.",
        "of",
        "a queue, a task's name, or an id",
        "Find out why {of} is slow. Use `queues` (waiting, head_wait_s, in_s, out_s, slots, workers, paused), "
        "`overview` (rates, what runs longest), `task` of one that waits (`why` says it in a word) and the "
        "resource liteq://types/NAME for times. Tell apart: no worker, too few, a pause, a limit, one slow task "
        "that fills all slots, an outage behind it. Then say what you would do, and what it would cost. Change "
        "nothing yet.",
    ),
    "fix_stuck": _Text(
        "Why nothing runs, or a run is stuck, and how to repair it.",
        "of",
        "an id, a queue, or nothing for all",
        "Something does not go on: {of}. First `doctor` and `overview`; then `task` of one that waits, or "
        "`workflow` of a run: `why` has the reason. Repair it by the tools that you have: a paused queue by "
        "act_on_queue resume, dead tasks by `bulk` requeue (the preview first), a stuck run by act_on_run resume "
        "once its code is right. What needs a worker or a deploy only a person can do: say which command. "
        "Afterwards show that it goes on.",
    ),
    "write_workflow": _Text(
        "Write a workflow in Python.",
        GOAL,
        "what it is to do",
        "Write a liteq workflow that does this: {goal}. Read liteq://docs/workflows and "
        "liteq://docs/workflow-recipes first. Effects belong into steps (@app.step) or tasks, each with a retry "
        "rule of its own; the body takes no time, random number or file but by `ctx`; a person decides by "
        "`ctx.approval`. Write a test with WorkflowTest, which kills it between steps.",
    ),
    "write_flow": _Text(
        "Write a flow, a YAML file that `liteq flow run` runs.",
        GOAL,
        "what it is to do",
        "Write a liteq flow (YAML) that does this: {goal}. Read liteq://docs/flows where it is there; `liteq flow "
        "schema` is its JSON Schema. Give each step an id, `depends`, a `timeout` and a `retry`; values go into "
        "commands by references, which are quoted; secrets stand under `secrets`. Check it with `liteq flow "
        "validate FILE`. It is a file that you write: no tool here takes a flow's text.",
    ),
}


def prompts() -> list[Prompt]:
    """The prompts, each with its one argument."""
    return [
        Prompt(
            name=name,
            description=one.description,
            arguments=[PromptArgument(name=one.argument, description=one.about, required=one.argument == GOAL)],
        )
        for name, one in PROMPTS.items()
    ]


def prompt(name: str, given: dict[str, str]) -> GetPromptResult | None:
    """A prompt with its argument filled in; None where there is none of that name. Raises Refused without a goal."""
    one = PROMPTS.get(name)
    if one is None:
        return None
    value = given.get(one.argument, "").strip()[:LONGEST_FIELD]
    if not value and one.argument == GOAL:
        raise Refused(f"{GOAL}: it is required: {one.about}")
    value = value or "the whole queue"
    text = one.text.replace(f"{{{one.argument}}}", value)
    message = PromptMessage(role="user", content=TextContent(type="text", text=text))
    return GetPromptResult(description=one.description, messages=[message])
