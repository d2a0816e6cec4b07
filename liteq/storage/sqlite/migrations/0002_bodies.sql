-- Large arguments and results stand beside their row: SQLite writes a row whole whenever one of its columns changes, and
-- a claim and an acknowledgement each change some. An empty payload or result, which no document is, says that it is
-- here. What an older liteq has written stays where it is, and is read from there.

CREATE TABLE liteq_bodies (
    ref  INTEGER PRIMARY KEY,                -- 2 * liteq_messages.seq, + 1 for the result
    body BLOB NOT NULL
);

-- A row's number may come again, and must not find another's documents.
CREATE TRIGGER liteq_bodies_leave AFTER DELETE ON liteq_messages
WHEN length(OLD.payload) = 0 OR length(OLD.result) = 0
BEGIN
    DELETE FROM liteq_bodies WHERE ref IN (2 * OLD.seq, 2 * OLD.seq + 1);
END;

-- Who does not know of them would run a task without its arguments.
UPDATE liteq_meta SET value = 2 WHERE key IN ('min_reader', 'min_writer');
