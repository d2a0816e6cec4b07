"""The tool that acts on many: first what it would find, with a token; then, by that token, the act."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Any, Final

import orjson

from liteq.exceptions import LiteqError
from liteq.monitor.operations import operation
from liteq.operating import Actor, Preview, preview, start
from liteq.operating.commands import operation_command
from liteq.utils.async_threads import looking, writing
from liteq.utils.text import printable
from liteq_dashboard.acts.hands import RIGHTS
from liteq_mcp.asking import confirmed
from liteq_mcp.schemas import ID, INTEGER, LIST, OBJECT, REASON, TEXT, gives, takes
from liteq_mcp.tools import Call, Refused, ToolOf

__all__ = ["AT_ONCE", "BULK"]

AT_ONCE: Final = 500  # messages that are done when the call returns
TOKEN_S: Final = 300
KEY: Final = secrets.token_bytes(32)  # of this process: a token of another one is looked up again
ACTIONS: Final = ("retry", "requeue", "revoke", "terminate", "delete", "move", "run_at", "cancel", "pause", "resume")
DESTROYS: Final = frozenset({"delete", "terminate"})
TAKES: Final = ("queue", "priority", "at")


async def on_many(call: Call) -> dict[str, Any]:
    """The preview; with its token the act. Raises Refused, and what `confirmed` raises."""
    action, q = call.arguments["action"].replace("_", "-"), call.arguments["q"]
    given = {name: call.arguments[name] for name in TAKES if call.get(name) is not None}
    see = call.viewer.sight
    try:
        seen = await looking(call.app, lambda: preview(call.app, action, q, see=see, **given))
    except (LiteqError, ValueError) as exc:
        raise Refused(str(exc)) from exc
    now_s = int(call.app.clock.now_ms() / 1000)
    token = call.get("token")
    if token is None:
        return {**_shown(seen), "token": _token(call, action, q, given, seen, now_s + TOKEN_S), "done": 0}
    _check(call, token, action, q, given, seen, now_s)
    if action in DESTROYS:
        await confirmed(call, action, *_question(action, q, given, seen))
    return await _do(call, action, q, given, seen)


def _shown(seen: Preview) -> dict[str, Any]:
    document = seen.document
    return {
        "found": document["found"], "eligible": document["eligible"], "not_eligible": document["ineligible"],
        "follows": document["follows"], "sample": document["sample"],
    }  # fmt: skip


def _question(action: str, q: str, given: dict[str, Any], seen: Preview) -> tuple[str, list[str]]:
    n = f"{seen.eligible:,}{'' if seen.exact else ' or more'}"
    follows = f" {seen.follows:,} more behind them are touched too." if seen.follows else ""
    text = f"{action} the {n} that `{q}` finds? It is not undone.{follows}"
    return text, ["operations", "start", action, "--where", q, *_flags(given)]


def _flags(given: dict[str, Any]) -> list[str]:
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


async def _do(call: Call, action: str, q: str, given: dict[str, Any], seen: Preview) -> dict[str, Any]:
    app, see = call.app, call.viewer.sight
    by = Actor(call.viewer.name, "mcp", printable(str(call.get("reason", "")))[:1_000])
    at_once = seen.exact and seen.eligible <= AT_ONCE
    try:
        id_ = await writing(app, lambda: start(app, action, q, by=by, see=see, wait=at_once, **given))
    except (LiteqError, ValueError) as exc:
        raise Refused(str(exc)) from exc
    found = await looking(app, operation, app, id_, see) or {}
    done, state = found.get("done", 0), found.get("state", "running")
    command = operation_command(action, q, given, "", by.reason)
    message = f"{done} done." if at_once else "It goes on in the background: `liteq operations list` shows how far."
    return {**_shown(seen), "id": id_, "done": done, "state": state, "message": message, "command": command}


# -- the token ---------------------------------------------------------------------------------------------------------


def _token(call: Call, action: str, q: str, given: dict[str, Any], seen: Preview, until_s: int) -> str:
    """Good until `until_s` for this action by this viewer on what this search finds now."""
    return f"{until_s}.{_signed(call, action, q, given, seen, until_s)}"


def _signed(call: Call, action: str, q: str, given: dict[str, Any], seen: Preview, until_s: int) -> str:
    found = seen.digest if seen.exact else ""
    said = orjson.dumps([call.viewer.name, action, q, sorted(given.items()), found, until_s])
    digest = hmac.new(KEY, said, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:18]).decode()


def _check(
    call: Call, token: str, action: str, q: str, given: dict[str, Any], seen: Preview, now_s: int
) -> None:  # fmt: skip
    until, _, signed = token.partition(".")
    until_s = int(until) if until.isdecimal() and len(until) < 16 else 0
    if until_s < now_s:
        raise Refused("token: it is over, or none; call without one for the preview and a new token")
    if not hmac.compare_digest(signed.encode(), _signed(call, action, q, given, seen, until_s).encode()):
        raise Refused(
            "token: it is of another action, of another search, or what is found has changed since; nothing was done: "
            "call without one, and look at the preview"
        )


BULK = ToolOf(
    "bulk",
    "Do one action to all that a search finds (words as in `search`; runs by workflow:NAME status:stuck). Without "
    "`token` nothing is done: it shows what would be found, and gives the token, good for 5 min.",
    on_many,
    takes("action", "q", action={}, q={"type": "string", "maxLength": 2000}, reason=REASON, token=ID, queue=TEXT,
          priority=INTEGER, at=TEXT),
    gives("found", "not_eligible", "sample", found=OBJECT, not_eligible=OBJECT, sample=LIST, token=TEXT, id=TEXT,
          done=INTEGER, state=TEXT),
    actions={name: RIGHTS[name.replace("_", "-")] for name in ACTIONS},
    destroys=True,
)  # fmt: skip
