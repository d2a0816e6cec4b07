-- The facts that an operator asks for: when a task ran, what failed and since when, what was done about it. A plain task
-- that succeeds writes none of them into a row of its own: the indexes are partial, the sums are a worker's in memory.

ALTER TABLE liteq_messages ADD COLUMN cause TEXT;  -- liteq_causes.id, of one that failed

CREATE INDEX liteq_messages_cause   ON liteq_messages (cause, finished_ms)  WHERE cause IS NOT NULL AND state = 'dead';
CREATE INDEX liteq_messages_root    ON liteq_messages (root_id, seq)        WHERE root_id IS NOT NULL;
CREATE INDEX liteq_messages_blocked ON liteq_messages (seq)                 WHERE state = 'blocked';
CREATE INDEX liteq_messages_stopped ON liteq_messages (finished_ms)
    WHERE finished_ms IS NOT NULL AND state <> 'dead' AND state <> 'succeeded';

CREATE TABLE liteq_attempts (                -- each attempt that did not succeed; and the one that did, after such
    message     INTEGER NOT NULL,            -- liteq_messages.seq
    n           INTEGER NOT NULL,            -- from 1
    worker      TEXT    NOT NULL,            -- its name, as shown
    started_ms  INTEGER,                     -- NULL: it never began
    ended_ms    INTEGER NOT NULL,
    outcome     TEXT    NOT NULL,            -- succeeded retried failed crashed reaped cancelled
    cause       TEXT,                        -- liteq_causes.id
    error       BLOB,                        -- JSON, as liteq_messages.error
    PRIMARY KEY (message, n)
) WITHOUT ROWID;

-- A row's number may come again, and must not find another's attempts. A row that failed keeps its cause, also when it is
-- requeued and its counters begin anew.
CREATE TRIGGER liteq_attempts_leave AFTER DELETE ON liteq_messages
WHEN OLD.retries > 0 OR OLD.crashes > 0 OR OLD.reaps > 0 OR OLD.cause IS NOT NULL
BEGIN
    DELETE FROM liteq_attempts WHERE message = OLD.seq;
END;

CREATE TABLE liteq_causes (                  -- failures that are one: same task, exception, line of code and words
    id          TEXT    PRIMARY KEY,         -- a hash of those
    task        TEXT    NOT NULL,
    queue       TEXT    NOT NULL,            -- where it was seen first
    exception   TEXT    NOT NULL,
    frame       TEXT    NOT NULL,            -- the last frame outside the installed packages: "app/pay.py:88 charge"
    message     TEXT    NOT NULL,            -- without numbers and quoted words
    first_ms    INTEGER NOT NULL,
    last_ms     INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    release     TEXT    NOT NULL,            -- of the worker that saw it first; '': not told
    sample      TEXT                         -- id of the newest message that failed so
);

CREATE INDEX liteq_causes_last ON liteq_causes (last_ms);

CREATE TABLE liteq_stats (                   -- sums by the minute, later by the hour; beside them the sum of all
    span        INTEGER NOT NULL,            -- minutes that the row is of: 1, 60; 0: all since the file was made
    minute      INTEGER NOT NULL,            -- its first minute since the epoch; 0 where span is 0
    task        TEXT    NOT NULL,
    queue       TEXT    NOT NULL,
    outcome     TEXT    NOT NULL,            -- sent succeeded failed retried cancelled expired crashed rejected reaped lost
    cause       TEXT    NOT NULL,            -- the exception's name; '': none
    n           INTEGER NOT NULL,
    run_us      INTEGER NOT NULL,            -- run times, summed
    wait_us     INTEGER NOT NULL,            -- from due to start, summed
    buckets     BLOB    NOT NULL,            -- JSON {"run": [...], "wait": [...]}: counts by storage/stats.py's bounds
    PRIMARY KEY (span, minute, task, queue, outcome, cause)
) WITHOUT ROWID;

CREATE TABLE liteq_samples (                 -- measures over time, by one worker each minute
    minute      INTEGER NOT NULL,
    key         TEXT    NOT NULL,            -- "waiting", "waiting:mail", "head_wait_ms:mail", "file_bytes"
    value       INTEGER NOT NULL,
    PRIMARY KEY (key, minute)
) WITHOUT ROWID;

CREATE TABLE liteq_operations (              -- bulk actions: watched, stopped, continued after a crash
    id          TEXT    PRIMARY KEY,
    kind        TEXT    NOT NULL,            -- requeue revoke delete move resume rewind ...
    filter      TEXT    NOT NULL,            -- the search, as it was typed
    arguments   BLOB    NOT NULL,            -- JSON object: what the action takes beside
    queues      BLOB,                        -- JSON array of globs its actor may act on; NULL: all
    actor       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    source      TEXT    NOT NULL,            -- page cli tui api mcp
    cursor      BLOB,                        -- JSON: after which row it goes on; NULL: from the start
    until       INTEGER NOT NULL,            -- liteq_messages.seq: rows that came later are not its
    found       INTEGER NOT NULL,
    done        INTEGER NOT NULL,
    skipped     INTEGER NOT NULL,
    rate        TEXT    NOT NULL,            -- "50/s"; '' for no limit
    state       TEXT    NOT NULL,            -- running stopped done failed; interrupted is told by `owner` and `beat_ms`
    error       TEXT    NOT NULL,
    stop        INTEGER NOT NULL,            -- 1: it is asked to stop
    owner       TEXT,                        -- the process that does it
    beat_ms     INTEGER NOT NULL,            -- its last chunk
    created_ms  INTEGER NOT NULL,
    finished_ms INTEGER
) WITHOUT ROWID;

CREATE INDEX liteq_operations_created ON liteq_operations (created_ms);

CREATE TABLE liteq_audit (                   -- the actions of people and programs, and the reasons that they gave
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms       INTEGER NOT NULL,
    actor       TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    target      TEXT    NOT NULL,            -- an id, or a name
    queue       TEXT,                        -- NULL: no queue's
    n           INTEGER NOT NULL,            -- rows
    reason      TEXT    NOT NULL,
    source      TEXT    NOT NULL             -- page cli tui api mcp
);

CREATE INDEX liteq_audit_target ON liteq_audit (target, id);
CREATE INDEX liteq_audit_at     ON liteq_audit (at_ms);

CREATE TABLE liteq_marks (                   -- deploys and the like, as lines in charts
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms       INTEGER NOT NULL,
    label       TEXT    NOT NULL,
    release     INTEGER NOT NULL DEFAULT 0   -- 1: left by a worker that started with new code
);

CREATE INDEX liteq_marks_at ON liteq_marks (at_ms);

CREATE TABLE liteq_queues (                  -- queues that are paused
    queue       TEXT    PRIMARY KEY,
    paused_ms   INTEGER NOT NULL,
    until_ms    INTEGER,                     -- it goes on by itself; NULL: when it is told to
    actor       TEXT    NOT NULL,
    reason      TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TABLE liteq_alerts (                  -- what is wrong, for each target that is told of it
    target      TEXT    NOT NULL,            -- a hash: an address may hold a secret
    key         TEXT    NOT NULL,            -- the rule and its subject: "head_wait mail"
    text        TEXT    NOT NULL,
    since_ms    INTEGER NOT NULL,
    seen_ms     INTEGER NOT NULL,            -- when a look found it last
    told        INTEGER NOT NULL,            -- 0: its beginning is to be told; 1: that was told; 2: its end is to be told
    next_ms     INTEGER NOT NULL,            -- not to be told before: it is too new, or a process tells of it now
    tries       INTEGER NOT NULL,            -- in vain, since `told` changed
    PRIMARY KEY (target, key)
) WITHOUT ROWID;

-- A writer of before would claim from a queue that is paused.
UPDATE liteq_meta SET value = 7 WHERE key = 'min_writer';
