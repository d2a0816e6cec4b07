"""The entries of a batch of SQS, of which each succeeds or fails by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from liteq.edge.http import Problem
from liteq.edge.sqs.errors import Refused, answer_of
from liteq.exceptions import LiteqError, StorageError

__all__ = ["Document", "each", "entries_of", "failed"]

MOST_ENTRIES: Final = 10  # of a batch, as SQS has it

Document = Mapping[str, Any]


def entries_of(asked: Document) -> Sequence[Mapping[str, Any]]:
    """The entries of a batch, each with an Id of its own. Raises Refused."""
    entries = asked.get("Entries")
    if not isinstance(entries, list) or not entries:
        raise Refused("EmptyBatchRequest", "Entries is a list of one to ten")
    if len(entries) > MOST_ENTRIES:
        raise Refused("TooManyEntriesInBatchRequest", f"{len(entries)} entries in one batch, and ten are taken")
    ids = [entry.get("Id") if isinstance(entry, dict) else None for entry in entries]
    if not all(isinstance(id_, str) and id_ for id_ in ids):
        raise Refused("MissingParameter", "each entry has an Id")
    if len(set(ids)) < len(ids):
        raise Refused("BatchEntryIdsNotDistinct", "each entry has another Id")
    return entries


def each(asked: Document, act: Callable[[Document], None]) -> Document:
    """Do `act` with each entry; the answer, in which an entry's error is its own."""
    good, bad = list[dict[str, Any]](), list[dict[str, Any]]()
    for entry in entries_of(asked):
        try:
            act(entry)
        except (Refused, Problem, LiteqError) as error:
            bad.append(failed(entry, error))
        else:
            good.append({"Id": entry["Id"]})
    return {"Successful": good, "Failed": bad}


def failed(entry: Document, error: Exception) -> dict[str, Any]:
    """An entry as the answer shows it, and whether its sender is to blame: an SDK sends what nobody is to again."""
    if isinstance(error, StorageError):
        return {"Id": entry["Id"], "Code": "ServiceUnavailable", "Message": str(error), "SenderFault": False}
    if isinstance(error, LiteqError):
        error = Refused("InvalidMessageContents", str(error))
    if not isinstance(error, (Refused, Problem)):
        error = Refused("InvalidParameterValue", f"the entry cannot be read: {error}")
    document = answer_of(error).document
    code = document["__type"].partition("#")[2]
    return {"Id": entry["Id"], "Code": code, "Message": document["message"], "SenderFault": True}
