-- Limits by key, turns between the keys of a queue, uniqueness over time, streams of tasks. A plain task pays nothing for
-- them: its columns are NULL, the indexes are partial.

ALTER TABLE liteq_messages ADD COLUMN keys TEXT;     -- JSON array: the fair key or null, then the keys of its limits
ALTER TABLE liteq_messages ADD COLUMN held_by TEXT;  -- of one that is held: its line, liteq_lines.key; "own:TASK": a worker's own rate

-- Of one key in one queue, in the order in which they start. The index of all that are held is for those who look.
UPDATE liteq_messages SET held_by = 'own:' || task WHERE state = 'held';

CREATE INDEX liteq_messages_held_by ON liteq_messages (held_by, queue, priority DESC, due_ms) WHERE state = 'held';

-- With the state in it, those that did not succeed are counted without a look at their rows.
DROP INDEX liteq_messages_stopped;

CREATE INDEX liteq_messages_stopped ON liteq_messages (finished_ms, state)
    WHERE finished_ms IS NOT NULL AND state <> 'dead' AND state <> 'succeeded';

CREATE TABLE liteq_limits (
    key         TEXT    PRIMARY KEY,         -- "user:42", "task:NAME", "queue:NAME"; with * for each key that fits
    rate        TEXT,                        -- "100/m"; NULL: none
    concurrent  INTEGER,                     -- how many run at once; NULL: no limit
    declared    TEXT                         -- JSON [rate, concurrent]: what the code says, as it was last seen
) WITHOUT ROWID;

CREATE TABLE liteq_keys (                    -- keys whose bucket is not full, and keys that are paused
    key         TEXT    PRIMARY KEY,
    full_us     INTEGER NOT NULL DEFAULT 0,  -- microseconds since the epoch: the bucket is full again (GCRA)
    paused_ms   INTEGER,                     -- nothing of it starts before; ms since the epoch
    since_ms    INTEGER,                     -- when it was paused
    reason      TEXT    NOT NULL DEFAULT ''  -- of the pause
) WITHOUT ROWID;

CREATE INDEX liteq_keys_full ON liteq_keys (full_us);

CREATE TABLE liteq_slots (                   -- the places under a limit that are taken
    key         TEXT    NOT NULL,
    seq         INTEGER NOT NULL,            -- liteq_messages.seq
    token       INTEGER NOT NULL,            -- of the lease that has it
    since_ms    INTEGER NOT NULL,
    PRIMARY KEY (key, seq)
) WITHOUT ROWID;

CREATE INDEX liteq_slots_seq ON liteq_slots (seq);

CREATE TABLE liteq_lines (                   -- the messages that are held by one key, in one queue and priority
    key         TEXT    NOT NULL,            -- liteq_messages.held_by
    queue       TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    waits       TEXT,                        -- the key that its first one lacks; NULL: it may start (a fair key)
    turn        INTEGER NOT NULL,            -- lines with the least go first; one that was served goes up
    PRIMARY KEY (key, queue, priority)
) WITHOUT ROWID;

CREATE INDEX liteq_lines_waits ON liteq_lines (waits, queue, priority DESC, turn);

CREATE TABLE liteq_wakes (                   -- keys that lines of a queue wait for
    key         TEXT    NOT NULL,            -- liteq_lines.waits
    queue       TEXT    NOT NULL,
    at          INTEGER,                     -- when they are looked at, in ms; NULL: when a place is free
    PRIMARY KEY (key, queue)
) WITHOUT ROWID;

CREATE INDEX liteq_wakes_at ON liteq_wakes (queue, at) WHERE at IS NOT NULL;

INSERT INTO liteq_limits (key, rate, declared)
SELECT 'task:' || task, nullif(rate, ''),
       CASE WHEN declared IS NULL THEN NULL ELSE json_array(nullif(declared, ''), NULL) END
  FROM liteq_rates;

INSERT INTO liteq_keys (key, full_us) SELECT 'task:' || task, full_us FROM liteq_rates;

DROP TABLE liteq_rates;

INSERT INTO liteq_meta (key, value)          -- another number whenever what is limited has changed; 0: nothing is
VALUES ('limits', EXISTS (SELECT 1 FROM liteq_limits));

CREATE TABLE liteq_unique (                  -- unique calls that exclude others for a time, finished or not
    key         TEXT    PRIMARY KEY,
    id          TEXT    NOT NULL,            -- of the message
    until_ms    INTEGER NOT NULL,            -- ms since the epoch, which the wall clock may jump over
    boot        TEXT    NOT NULL,            -- the boot of the machine by whose monotonic clock
    until_up_ms INTEGER NOT NULL             -- ... it is this time then
) WITHOUT ROWID;

CREATE INDEX liteq_unique_until ON liteq_unique (until_ms);

CREATE TABLE liteq_sends (                   -- how far a named send_many has come
    name        TEXT    PRIMARY KEY,
    place       INTEGER NOT NULL,            -- elements that are sent
    updated_ms  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX liteq_sends_updated ON liteq_sends (updated_ms);

-- A row's number may come again, and must not find another's places and chunks.
CREATE TRIGGER liteq_production_leave AFTER DELETE ON liteq_messages
WHEN OLD.flags & 52776558133248 <> 0         -- Flag.PLACED | Flag.EMITS
  OR (OLD.unique_key IS NOT NULL AND OLD.finished_ms IS NULL AND OLD.state <> 'leased') -- it has not run
BEGIN
    DELETE FROM liteq_slots WHERE seq = OLD.seq;
    DELETE FROM liteq_stream WHERE run = OLD.seq;
    DELETE FROM liteq_unique WHERE key = OLD.unique_key AND id = OLD.id AND OLD.state <> 'leased';
END;

-- A writer of before knows of no keys: it would start what is over a limit. A reader of before looks for liteq_rates.
UPDATE liteq_meta SET value = 8 WHERE key IN ('min_reader', 'min_writer');
