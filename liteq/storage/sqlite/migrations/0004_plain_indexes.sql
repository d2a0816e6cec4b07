-- A partial index whose condition has an IN list costs each INSERT and UPDATE a temporary b-tree for that list: half of
-- an acknowledgement, a third of an INSERT. Whether a message has finished is told by its time as well as by its state.

DROP INDEX liteq_messages_finished;

CREATE INDEX liteq_messages_finished ON liteq_messages (finished_ms)
    WHERE finished_ms IS NOT NULL AND state <> 'dead';

DROP INDEX liteq_messages_unique;

CREATE UNIQUE INDEX liteq_messages_unique ON liteq_messages (unique_key)
    WHERE unique_key IS NOT NULL AND finished_ms IS NULL;

-- The same for what stands beside a row that is deleted.
DROP TRIGGER liteq_bodies_leave;

CREATE TRIGGER liteq_bodies_leave AFTER DELETE ON liteq_messages
WHEN length(OLD.payload) = 0 OR length(OLD.result) = 0
BEGIN
    DELETE FROM liteq_bodies WHERE ref >= 2 * OLD.seq AND ref <= 2 * OLD.seq + 1;
END;
