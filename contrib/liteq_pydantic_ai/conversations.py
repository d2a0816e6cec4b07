"""`LiteQConversations`: a store of conversations beside the queue, in its file: each message once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)
from pydantic_ai.messages import ModelMessagesTypeAdapter

from liteq import LiteQ
from liteq.storage.kept.conversations import Entry, Record
from liteq.workflow import actx
from liteq_pydantic_ai import places

__all__ = ["LiteQConversations"]

_records: TypeAdapter[ConversationRecord] = TypeAdapter(ConversationRecord)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class LiteQConversations(ConversationStore):
    """Conversations in an app's file: `store = LiteQConversations(app)`.

    A message is stored once, also where conversations share it. A save of what another has changed since it was loaded
    raises ConversationConflict. A delete removes the messages that no other conversation leads to. In the body of a
    workflow each read and write is a step, so a replay sees what the first run saw.
    """

    def __init__(self, app: LiteQ | str) -> None:
        """app: the LiteQ app whose file, or database, has the conversations; or its URL."""
        self._app = LiteQ("conversations", broker=app, set_as_current=False) if isinstance(app, str) else app

    async def _call(self, what: str, about: object, call: Callable[[Any], Any]) -> Any:
        """Read or write: in a body as a step, elsewhere in a thread, since a file's lock may be waited for."""

        def called() -> Any:
            return call(self._app.storage.conversations)

        if places.in_body():
            places.body()
            return await actx.step(f"conversations.{what}", called, args=(about,))
        return await asyncio.to_thread(called)

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """The record for a conversation; None where there is none."""
        found = await self._call("read_record", conversation_id, lambda of: _document(of.find(conversation_id)))
        return None if found is None else _records.validate_json(found)

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """The records, those that were saved last first."""
        found = await self._call(
            "read_records", [scope, limit], lambda of: [_document(one) for one in of.list(scope=scope, limit=limit)]
        )
        return [_records.validate_json(one) for one in found]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store a record with its new entries, all or nothing. Raises ConversationConflict."""
        if places.in_body():
            _name_again(record, new_entries)
        row = Record(
            record.conversation_id, record.scope, record.revision, _records.dump_json(record),
            (record.updated_at - _EPOCH) // _MICROSECOND,
        )  # fmt: skip
        tips = [tip for tip in (record.head_id, *record.branches) if tip is not None]
        entries = [
            Entry(one.id, one.parent_id, ModelMessagesTypeAdapter.dump_json([one.message])) for one in new_entries
        ]
        if not await self._call(
            "write_record", record.conversation_id,
            lambda of: of.write(row, tips, entries, expected=expected_revision, head=record.head_id),
        ):  # fmt: skip
            raise ConversationConflict(record.conversation_id)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete a conversation. Raises ConversationConflict."""
        if not await self._call(
            "delete_record", conversation_id, lambda of: of.delete(conversation_id, expected=expected_revision)
        ):
            raise ConversationConflict(conversation_id)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """One entry. Raises KeyError."""
        found = await self._call("read_entry", entry_id, lambda of: _row(of.entry(entry_id)))
        if found is None:
            raise KeyError(entry_id)
        return _read(found)

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """The entries that lead to this one, the oldest first: one read. Raises KeyError."""
        if head_id is None or limit == 0:
            return []
        found = await self._call(
            "read_history", [head_id, limit], lambda of: [_row(one) for one in of.history(head_id, limit=limit)]
        )
        if not found:
            raise KeyError(head_id)
        return [_read(one) for one in found]


def _name_again(record: ConversationRecord, entries: Sequence[ConversationEntry]) -> None:
    """Give a save ids that are the same in each replay: the framework makes them at random, after the step was asked.

    So a save that was killed before its step was recorded is the same save when it is repeated.
    """
    renamed: dict[str | None, str] = {}
    for entry in entries:
        renamed[entry.id] = str(actx.uuid())
        object.__setattr__(entry, "parent_id", renamed.get(entry.parent_id, entry.parent_id))
        object.__setattr__(entry, "id", renamed[entry.id])
    record.head_id = renamed.get(record.head_id, record.head_id)
    record.revision = str(actx.uuid())


def _document(record: Record | None) -> str | None:
    return None if record is None else record.document.decode()


def _row(entry: Entry | None) -> list[str | None] | None:
    return None if entry is None else [entry.id, entry.parent, entry.message.decode()]


def _read(row: Sequence[Any]) -> ConversationEntry:
    id_, parent, message = row
    return ConversationEntry(id=id_, parent_id=parent, message=ModelMessagesTypeAdapter.validate_json(message)[0])
