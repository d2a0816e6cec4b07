"""`Approvals`: a tool call that needs a person's consent is an approval of the run, which holds nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import (
    AgentDepsT,
    DeferredToolApprovalResult,
    DeferredToolRequests,
    DeferredToolResults,
    RunContext,
    ToolApproved,
    ToolDefinition,
    ToolDenied,
)

from liteq.utils.durations import Duration, limit_s
from liteq.utils.misspelt import suggesting
from liteq.workflow import Approval, actx
from liteq_pydantic_ai import places
from liteq_pydantic_ai.hashing import digest_of, plain

__all__ = ["Approvals"]

LONGEST = 200  # characters of an approval's title: it is how a person finds and decides it
DENIED = "The tool call was denied."
NOBODY = "The tool call was denied: nobody decided on it in time."


class Approvals(AbstractCapability[AgentDepsT]):
    """Asks a person for each tool call that requires approval, in the agent's own loop.

    All calls of one answer are asked for at once. Their titles are `tool: arguments (id)`; their details `tool`,
    `args`, `tool_call_id`. `data={"args": {...}}` approves with other arguments. The comment of a denial is what the
    tool returns to the model. Outside the body of a workflow it does nothing.
    """

    @suggesting
    def __init__(
        self, *, timeout: Duration | None = None, default: bool | None = False, remind: Duration | None = None
    ) -> None:
        """timeout, remind: as of `actx.approval`. default: the decision after the timeout; None: ApprovalTimeout.

        Raises TypeError, ValueError for what is none of these.
        """
        for what, span in (("timeout", timeout), ("remind", remind)):
            if span is not None:
                limit_s(span, f"the {what} of Approvals")
        if default not in (True, False, None):
            raise TypeError(f"default is True, False or None, not {default!r}")
        self.timeout = timeout
        self.default = default
        self.remind = remind
        self._validated: dict[str, dict[str, Any]] = {}

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """None: it is made by code alone."""
        return None

    async def for_run(self, ctx: RunContext[AgentDepsT]) -> AbstractCapability[AgentDepsT]:  # noqa: ARG002
        """One for each run, with the arguments of that run's calls."""
        return type(self)(timeout=self.timeout, default=self.default, remind=self.remind)

    async def after_tool_validate(
        self, ctx: RunContext[AgentDepsT], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any]
    ) -> dict[str, Any]:
        """Note the arguments as the tool will get them: those are what is decided on."""
        self._validated[call.tool_call_id] = plain(args)
        return await super().after_tool_validate(ctx, call=call, tool_def=tool_def, args=args)

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[AgentDepsT], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Ask for all of them, and wait; calls that are run elsewhere are left to others."""
        if not places.in_body() or not requests.approvals:
            return None
        if not places.is_durable(ctx.run_id):
            raise UserError(
                "in the body of a workflow Approvals needs LiteQDurability beside it; without that, each replay asks "
                "the model, and then a person, again: write capabilities=[LiteQDurability(), Approvals()]"
            )
        asked = [self._asked(ctx, call, requests.metadata.get(call.tool_call_id)) for call in requests.approvals]
        decisions = await asyncio.gather(*asked)
        approvals: dict[str, DeferredToolApprovalResult] = {}
        for call, decision in zip(requests.approvals, decisions, strict=True):
            approvals[call.tool_call_id] = _result(decision)
            if decision.ok and decision.comment:
                ctx.enqueue(f"The call of {call.tool_name} ({call.tool_call_id}) was approved: {decision.comment}")
        by = {
            call.tool_call_id: decision.by
            for call, decision in zip(requests.approvals, decisions, strict=True)
            if decision.by
        }
        return requests.build_results(approvals=approvals, answered_by=by)

    def _asked(self, ctx: RunContext[AgentDepsT], call: ToolCallPart, metadata: dict[str, Any] | None) -> Any:
        """One approval, bound to the arguments: with others it is another one."""
        args = self._validated.get(call.tool_call_id)
        if args is None:
            args = plain(call.args_as_dict())
        details = {"tool": call.tool_name, "args": args, "tool_call_id": call.tool_call_id}
        if metadata:
            details["metadata"] = plain(metadata)
        place = places.key(ctx.run_id, "approval", call.tool_call_id, digest_of(call.tool_name, args)[:12])
        return actx.approval(
            title_of(call.tool_name, args, call.tool_call_id), details=details, key=place,
            timeout=self.timeout, default=self.default, remind=self.remind,
        )  # fmt: skip


def title_of(tool: str, args: dict[str, Any], id_: str) -> str:
    """`tool: arguments (id)`, cut in the middle where it is long."""
    said = ", ".join(f"{name}={_short(value)}" for name, value in args.items())
    room = LONGEST - len(tool) - len(id_) - 5
    if len(said) > room:
        said = f"{said[: max(0, room - 1)]}…"
    return f"{tool}: {said} ({id_})"


def _short(value: Any) -> str:
    return value.replace("\0", "") if isinstance(value, str) else repr(value)


def _result(decision: Approval) -> DeferredToolApprovalResult:
    if decision.ok:
        other = decision.data.get("args") if isinstance(decision.data, dict) else None
        return ToolApproved(override_args=other)
    if decision.timed_out:
        return ToolDenied(NOBODY)
    return ToolDenied(decision.comment or DENIED)
