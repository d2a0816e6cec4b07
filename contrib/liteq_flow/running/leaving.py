"""Outputs of a step, for those after it: of `output`, of `outputs`, of `stdout.outputs`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from liteq_flow.model import Captured, Declared
from liteq_flow.running.doing import Made, attempt_key, made_of
from liteq_flow.running.jobs import call_job
from liteq_flow.running.names import Names
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import StepFailed
from liteq_flow.values import decode, select, text_of

__all__ = ["keep"]


async def keep(plan: Plan, node: Node, names: Names, made: Made) -> dict[str, Any]:
    """The outputs of a step that has succeeded. Raises StepFailed for what cannot be decoded, or is not there."""
    step = node.step
    outputs = dict(made.outputs)
    if step.declared:
        outputs = {**outputs, **_declared(step.declared, made.outputs)}
    outputs |= await _captured(plan, node, names, step.captured, made)
    for stream in (step.stdout, step.stderr):
        found = await _captured(plan, node, names, stream.outputs, made)
        if stream.whole:
            document = _decoded(
                made.stdout if stream is step.stdout else made.stderr, stream.decode, None, "its output"
            )
            if not isinstance(document, dict):
                raise StepFailed("its output is no object of outputs")
            found |= document
        node.written |= found
        outputs |= found
    return outputs


def _declared(declared: Sequence[Declared], written: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for one in declared:
        if one.name not in written:
            raise StepFailed(f"it has not written the output {one.name!r} into $LITEQ_OUTPUT_FILE")
        value = written[one.name]
        found[one.name] = _decoded(value, "json", None, f"the output {one.name!r}") if one.type == "json" else value
    return found


async def _captured(
    plan: Plan, node: Node, names: Names, captured: Sequence[Captured], made: Made
) -> dict[str, Any]:  # fmt: skip
    found: dict[str, Any] = {}
    for one in captured:
        what = f"the output {one.name!r}"
        match one.source:
            case "value":
                found[one.name] = names.value(one.value)
            case "stdout":
                if made.artifact is not None:
                    raise StepFailed(f"{what}: there is more of it than a step's output may have; write it into a file")
                found[one.name] = _decoded(made.stdout, one.decode, one.select, what)
            case "stderr":
                found[one.name] = _decoded(made.stderr, one.decode, one.select, what)
            case "file":
                document = {"do": "file.read", "with": {"path": text_of(names.template(one.path or ""))}}
                key = attempt_key(node, f">{one.name}")
                read = made_of(await call_job(plan, node, names, document, key=key, memo=node.step.memo))
                found[one.name] = _decoded(read.stdout, one.decode, one.select, what)
    return found


def _decoded(text: str, how: str, path: str | None, what: str) -> Any:
    try:
        document = decode(text, how)
        return document if path is None else select(document, path)
    except (ValueError, json.JSONDecodeError) as exc:
        raise StepFailed(f"{what} cannot be read as {how}: {exc}") from None
