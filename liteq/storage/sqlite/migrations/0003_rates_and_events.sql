-- Rate limits. A message that its task's rate holds back is `held`: a state of its own, with an index of its own, so
-- that a million of them cost the claim of other tasks nothing.

CREATE INDEX liteq_messages_held ON liteq_messages (queue, task, priority DESC, due_ms) WHERE state = 'held';

-- A held message is as unfinished as a pending one.
DROP INDEX liteq_messages_unique;

CREATE UNIQUE INDEX liteq_messages_unique ON liteq_messages (unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('scheduled', 'blocked', 'pending', 'held', 'leased');

CREATE TABLE liteq_rates (                   -- what all workers together may start of a task
    task        TEXT    PRIMARY KEY,
    rate        TEXT    NOT NULL,            -- "100/m"; '' for no limit
    declared    TEXT,                        -- what the code says, as it was last seen; NULL: nothing
    full_us     INTEGER NOT NULL             -- microseconds since the epoch: the bucket is full again (GCRA)
) WITHOUT ROWID;

CREATE TABLE liteq_revoked_stamps (          -- messages with such a stamp are not to be run, should they come
    header      TEXT    NOT NULL,
    stamp       TEXT    NOT NULL,            -- JSON
    expires_ms  INTEGER NOT NULL,
    PRIMARY KEY (header, stamp)
) WITHOUT ROWID;

CREATE TABLE liteq_events (                  -- what became of tasks, where workers are told to tell (-E)
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- a reader has seen those up to one: never used again
    created_ms  INTEGER NOT NULL,
    event       BLOB    NOT NULL             -- JSON object: Celery's fields
);

-- A reader of before does not know the state `held`.
UPDATE liteq_meta SET value = 3 WHERE key IN ('min_reader', 'min_writer');
