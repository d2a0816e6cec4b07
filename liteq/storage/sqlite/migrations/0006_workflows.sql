-- Durable workflows: a run is a message with a row in liteq_runs, its history are the rows beside it. `run` is the
-- message's seq. What an index holds is open: a step that ends leaves it, so a long history costs the next step nothing.

CREATE TABLE liteq_runs (
    run         INTEGER PRIMARY KEY,         -- liteq_messages.seq
    name        TEXT    NOT NULL,
    step        INTEGER NOT NULL,            -- 1: one step, sent by another run
    version     TEXT    NOT NULL,
    input       BLOB    NOT NULL,            -- hash of the workflow's name and the arguments of its start
    gen         INTEGER NOT NULL DEFAULT 0,  -- goes up with each continue_as_new
    swept       INTEGER NOT NULL DEFAULT 0,  -- the steps of the gens before this one are gone
    timeout_ms  INTEGER,
    started_ms  INTEGER,                     -- its first activation
    gen_ms      INTEGER,                     -- ... of this gen
    deadline_ms INTEGER,
    asked       TEXT,                        -- cancel, pause or timeout: not obeyed yet
    reason      TEXT    NOT NULL DEFAULT '',
    parked      TEXT,                        -- paused or stuck: no wake-up lets it go on
    fingerprint TEXT,                        -- of the code that parked it
    tried       BLOB,                        -- JSON array: fingerprints that could not go on since its last progress
    need        INTEGER,                     -- it wakes when so many more children have ended; NULL: waits for none
    fragile     INTEGER NOT NULL DEFAULT 0,  -- ... or one has failed
    ends        INTEGER NOT NULL DEFAULT 0,  -- what it waited for and has ended, in this gen
    fails       INTEGER NOT NULL DEFAULT 0,  -- ... without success
    news        INTEGER NOT NULL DEFAULT 0,  -- 1: an event or a decision has come since its claim
    spawned     INTEGER NOT NULL DEFAULT 0,  -- children sent, in this gen
    crash_mark  INTEGER NOT NULL DEFAULT 0,  -- the length of its history at the last crash
    compensated INTEGER NOT NULL DEFAULT 0,
    now         BLOB,                        -- JSON: what executes, as its worker says
    marks       BLOB,                        -- JSON array: patched() was true for these; others are in step rows
    forked_from TEXT,
    seed        TEXT                         -- the id that uuid() and random are derived from; NULL: its own
);

CREATE INDEX liteq_runs_listed ON liteq_runs (run)          WHERE step = 0;
CREATE INDEX liteq_runs_name   ON liteq_runs (name, run)    WHERE step = 0;
CREATE INDEX liteq_runs_old    ON liteq_runs (run)          WHERE gen > swept;
CREATE INDEX liteq_runs_parked ON liteq_runs (parked, run)  WHERE parked IS NOT NULL;

CREATE TABLE liteq_run_tags (
    tag         TEXT    NOT NULL,
    run         INTEGER NOT NULL,
    PRIMARY KEY (tag, run)
) WITHOUT ROWID;

CREATE INDEX liteq_run_tags_run ON liteq_run_tags (run);

CREATE TABLE liteq_steps (                   -- message.StepRow
    run         INTEGER NOT NULL,
    gen         INTEGER NOT NULL,
    scope       TEXT    NOT NULL,
    pos         INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    key         TEXT,
    arghash     BLOB,
    attempts    INTEGER NOT NULL,
    output      BLOB,                        -- JSON; empty: in liteq_step_bodies
    error       BLOB,
    child       TEXT,
    due_ms      INTEGER,
    waited      TEXT,
    ended       INTEGER,
    memo        INTEGER NOT NULL,
    marks       BLOB,
    details     BLOB,
    started_ms  INTEGER NOT NULL,
    ended_ms    INTEGER,                     -- NULL: open
    PRIMARY KEY (run, gen, scope, pos)
) WITHOUT ROWID;

CREATE INDEX liteq_steps_due      ON liteq_steps (run, gen, due_ms) WHERE due_ms IS NOT NULL AND ended_ms IS NULL;
CREATE INDEX liteq_steps_children ON liteq_steps (run, gen)         WHERE child IS NOT NULL AND ended_ms IS NULL;
CREATE INDEX liteq_steps_child    ON liteq_steps (child)            WHERE child IS NOT NULL AND ended_ms IS NULL;
CREATE INDEX liteq_steps_waited   ON liteq_steps (waited, run)      WHERE waited IS NOT NULL AND ended_ms IS NULL;

CREATE TABLE liteq_step_bodies (             -- outputs that are large
    run         INTEGER NOT NULL,
    gen         INTEGER NOT NULL,
    scope       TEXT    NOT NULL,
    pos         INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    PRIMARY KEY (run, gen, scope, pos)
);

CREATE TABLE liteq_inbox (                   -- events that no wait has taken; by the id of a run, perhaps a future one
    id          INTEGER PRIMARY KEY,
    run_id      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    payload     BLOB    NOT NULL,
    dedup       TEXT,
    taken       INTEGER NOT NULL DEFAULT 0,  -- 1: kept for its `dedup` alone
    created_ms  INTEGER NOT NULL
);

CREATE INDEX liteq_inbox_run ON liteq_inbox (run_id, name, id);
CREATE UNIQUE INDEX liteq_inbox_dedup ON liteq_inbox (run_id, dedup) WHERE dedup IS NOT NULL;
CREATE INDEX liteq_inbox_created ON liteq_inbox (created_ms);

CREATE TABLE liteq_run_state (               -- what a run shows
    run         INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    value       BLOB    NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;

CREATE TABLE liteq_stream (                  -- what steps emit
    run         INTEGER NOT NULL,
    stream      TEXT    NOT NULL,
    n           INTEGER NOT NULL,            -- from 1
    gen         INTEGER NOT NULL,
    scope       TEXT    NOT NULL,
    pos         INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    data        BLOB    NOT NULL,
    PRIMARY KEY (run, stream, n)
) WITHOUT ROWID;

CREATE INDEX liteq_stream_step ON liteq_stream (run, stream, gen, scope, pos, attempt);

CREATE TABLE liteq_memo (                    -- results that steps share, over runs
    key         TEXT    PRIMARY KEY,
    name        TEXT    NOT NULL,            -- of the step
    output      BLOB,                        -- NULL: it is being computed, under the lease (run, token)
    run         INTEGER,
    token       INTEGER,
    created_ms  INTEGER NOT NULL,
    expires_ms  INTEGER                      -- NULL: never
);

CREATE INDEX liteq_memo_claims  ON liteq_memo (run)        WHERE output IS NULL;
CREATE INDEX liteq_memo_expires ON liteq_memo (expires_ms) WHERE expires_ms IS NOT NULL;

-- Old generations and ended runs leave in chunks; this takes what is left, so that a number that comes again finds none.
CREATE TRIGGER liteq_runs_leave AFTER DELETE ON liteq_messages
WHEN OLD.flags & 32768 <> 0
BEGIN
    DELETE FROM liteq_runs WHERE run = OLD.seq;
    DELETE FROM liteq_steps WHERE run = OLD.seq;
    DELETE FROM liteq_step_bodies WHERE run = OLD.seq;
    DELETE FROM liteq_run_tags WHERE run = OLD.seq;
    DELETE FROM liteq_run_state WHERE run = OLD.seq;
    DELETE FROM liteq_stream WHERE run = OLD.seq;
END;

-- An older worker would bury runs as unknown tasks.
UPDATE liteq_meta SET value = 6 WHERE key IN ('min_reader', 'min_writer');
