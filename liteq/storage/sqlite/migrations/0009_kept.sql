-- What a task keeps beside its message: the cursor that it goes on at, the lines of its log, its tags (liteq_run_tags).
-- A plain task has none of them, and pays nothing for them.

CREATE TABLE liteq_cursors (                 -- how far tasks have come that have not succeeded yet
    run         INTEGER PRIMARY KEY,         -- liteq_messages.seq
    cursor      BLOB    NOT NULL             -- JSON
);

CREATE TABLE liteq_logs (                    -- tasks whose log is kept; its lines are a stream of theirs
    run         INTEGER PRIMARY KEY,         -- liteq_messages.seq
    keep_ms     INTEGER NOT NULL,            -- after the end of the task
    look_ms     INTEGER NOT NULL             -- they stay until then at least, and are looked at then
);

CREATE INDEX liteq_logs_look ON liteq_logs (look_ms);

CREATE TABLE liteq_batches (                 -- messages that were executed together
    last        INTEGER PRIMARY KEY,         -- the highest of their tokens
    began_ms    INTEGER NOT NULL,
    members     BLOB    NOT NULL             -- JSON object: the tokens by the ids
);

CREATE INDEX liteq_batches_began ON liteq_batches (began_ms);

-- As before, and for these: one trigger, as each that a row meets when it leaves costs it a test.
DROP TRIGGER liteq_production_leave;

CREATE TRIGGER liteq_production_leave AFTER DELETE ON liteq_messages
WHEN OLD.flags & 3993426232082432 <> 0       -- Flag.PLACED | Flag.EMITS | Flag.CURSOR | Flag.LOGS | Flag.TAGGED
  OR (OLD.unique_key IS NOT NULL AND OLD.finished_ms IS NULL AND OLD.state <> 'leased') -- it has not run
BEGIN
    DELETE FROM liteq_slots WHERE seq = OLD.seq;
    DELETE FROM liteq_stream WHERE run = OLD.seq;
    DELETE FROM liteq_cursors WHERE run = OLD.seq;
    DELETE FROM liteq_logs WHERE run = OLD.seq;
    DELETE FROM liteq_run_tags WHERE run = OLD.seq;
    DELETE FROM liteq_unique WHERE key = OLD.unique_key AND id = OLD.id AND OLD.state <> 'leased';
END;
