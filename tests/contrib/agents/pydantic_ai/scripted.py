"""A model that says what a test has written down, and notes how often it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

__all__ = ["Script", "call", "results"]

Line = str | Sequence[ToolCallPart] | Exception | Callable[[list[ModelMessage]], Any]


def call(tool: str, id_: str | None = None, **args: Any) -> ToolCallPart:
    """A call of a tool."""
    return ToolCallPart(tool, args, tool_call_id=id_ or f"{tool}-{'-'.join(map(str, args.values()))}")


def results(messages: Sequence[ModelMessage]) -> dict[str, Any]:
    """The results of tools so far, by the id of their call."""
    return {
        part.tool_call_id: part.content
        for message in messages
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    }


class Script:
    """Lines by the number of answers that a conversation has. `asked`: how often the model was asked for each."""

    def __init__(self, *lines: Line, name: str = "script") -> None:
        self.lines = lines
        self.asked: list[int] = []
        self.seen: list[list[ModelMessage]] = []
        self.model = FunctionModel(self._whole, stream_function=self._streamed, model_name=name)

    def _line(self, messages: list[ModelMessage]) -> Any:
        number = sum(isinstance(message, ModelResponse) for message in messages)
        self.asked.append(number)
        self.seen.append(list(messages))
        line: Any = self.lines[min(number, len(self.lines) - 1)]
        found = line(messages) if callable(line) else line
        if isinstance(found, Exception):
            raise found
        return found

    def _whole(self, messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        line = self._line(messages)
        return ModelResponse(parts=[TextPart(line)] if isinstance(line, str) else list(line))

    async def _streamed(
        self, messages: list[ModelMessage], _: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        line = self._line(messages)
        if isinstance(line, str):
            for number, word in enumerate(line.split(" ")):
                yield f" {word}" if number else word
            return
        for number, one in enumerate(line):
            yield {number: DeltaToolCall(one.tool_name, one.args_as_json_str(), tool_call_id=one.tool_call_id)}
