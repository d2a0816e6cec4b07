"""The question to a person before something is done: a form with one yes or no, in either protocol."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from typing import Any, Final

from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from liteq.utils.text import printable
from liteq_mcp.tools import Call, Refused

__all__ = ["InputNeeded", "confirmed"]

KEY: Final = "confirm"
FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {KEY: {"type": "boolean", "title": "Do it", "default": False}},
    "required": [KEY],
}
LONGEST: Final = 1_000


class InputNeeded(Exception):
    """Raised where a call is answered by a question: the client asks its person, and calls once more."""

    def __init__(self, result: InputRequiredResult) -> None:
        super().__init__("a person is asked")
        self.result = result


async def confirmed(
    call: Call, action: str, text: str, command: Sequence[str], *, about: str | None = None
) -> None:  # fmt: skip
    """Return when a person has said yes to `text`, or where nobody is asked before `action`.

    about: the part of the question by which an answer is known to be one to it, where a number in `text` is another
    one each moment.

    Raises Refused when the answer is no, or where the client cannot ask: then with the `command` by which a person can
    do it. Raises InputNeeded where the client is to ask and call again.
    """
    if action in call.options.unasked:
        return
    text = printable(text)[:LONGEST]
    session = call.context.session
    known = session.client_capabilities
    asks = None if known is None else known.elicitation
    if asks is None or (asks.form is None and asks.url is not None):
        raise Refused(_by_hand(text, command))
    if session.protocol_version in MODERN_PROTOCOL_VERSIONS:
        answer = _answered(call, text, about or text)
    elif session.can_send_request:
        answer = await session.elicit_form(text, FORM, related_request_id=call.context.request_id)
    else:
        raise Refused(_by_hand(text, command))
    if answer.action != "accept" or (answer.content or {}).get(KEY) is not True:
        raise Refused(f"nothing was done: a person was asked, and did not agree ({answer.action}). Do not ask again.")


def _answered(call: Call, text: str, about: str) -> ElicitResult:
    """The answer that came with the call to this very question. Raises InputNeeded where none did."""
    # The server seals it, and opens it only for the same call: an answer to another question is none to this.
    state = hashlib.blake2b(about.encode(), digest_size=16).hexdigest()
    given = (call.params.input_responses or {}).get(KEY)
    if isinstance(given, ElicitResult) and call.params.request_state == state:
        return given
    question = ElicitRequest(params=ElicitRequestFormParams(message=text, requested_schema=FORM))
    raise InputNeeded(InputRequiredResult(input_requests={KEY: question}, request_state=state))


def _by_hand(text: str, command: Sequence[str]) -> str:
    by = shlex.join(["liteq", *command]) if command else ""
    return f"a person has to confirm this, and this client cannot ask one: {text} By hand: `{by}`"
