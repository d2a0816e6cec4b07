-- Times are milliseconds since the epoch. Enumerations are text, so that a person with a SQLite shell can read them.
-- An index that serves one state is partial on that state's literal: a claim then costs the same beside ten rows and
-- beside ten million, queued or finished.

CREATE TABLE liteq_meta (
    key         TEXT PRIMARY KEY,
    value       INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO liteq_meta (key, value) VALUES
    ('version', 1),         -- the newest migration in this file
    ('min_reader', 1),      -- the oldest schema version whose code may read this file
    ('min_writer', 1),      -- ... may write it
    ('token', 0),           -- the last fencing token given out; never goes back
    ('epoch', 0);           -- goes up when the file comes back from a backup: tokens of before are void

CREATE TABLE liteq_messages (
    seq         INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,    -- public; made by the client (UUIDv7 unless it chose another)
    task        TEXT    NOT NULL,
    queue       TEXT    NOT NULL,
    priority    INTEGER NOT NULL,           -- higher first
    state       TEXT    NOT NULL,           -- see states.py
    payload     BLOB    NOT NULL,           -- JSON [args, kwargs]
    options     BLOB,                       -- JSON object: what only the executing side reads
    due_ms      INTEGER NOT NULL,
    expires_ms  INTEGER,                    -- not started by then: cancelled
    delay_ms    INTEGER,                    -- a blocked row's countdown, from the moment it is unblocked
    created_ms  INTEGER NOT NULL,
    unique_key  TEXT,
    flags       INTEGER NOT NULL,           -- message.Flag

    root_id     TEXT,                       -- the workflow it belongs to; NULL: itself
    parent_id   TEXT,
    awaits      TEXT,                       -- id of the message or group that must finish first
    group_id    TEXT,                       -- the group that counts it
    position    INTEGER NOT NULL,           -- its place in that group's result

    token       INTEGER,                    -- fencing token; set while leased
    worker      INTEGER,                    -- liteq_workers.id; set while leased
    deadline_ms INTEGER,                    -- the lease ends; set while leased
    retries     INTEGER NOT NULL DEFAULT 0,
    crashes     INTEGER NOT NULL DEFAULT 0, -- how often the child that ran it died
    reaps       INTEGER NOT NULL DEFAULT 0, -- how often the worker that held it vanished

    started_ms  INTEGER,                    -- where STARTED is tracked
    finished_ms INTEGER,
    progress    BLOB,                       -- JSON {"state", "meta"} of update_state()
    result      BLOB,                       -- JSON, of the return value
    error       BLOB                        -- JSON, of the last exception
);

CREATE INDEX liteq_messages_ready     ON liteq_messages (queue, priority DESC, due_ms) WHERE state = 'pending';
CREATE INDEX liteq_messages_scheduled ON liteq_messages (due_ms)                       WHERE state = 'scheduled';
CREATE INDEX liteq_messages_leased    ON liteq_messages (worker, deadline_ms)          WHERE state = 'leased';
CREATE INDEX liteq_messages_dead      ON liteq_messages (finished_ms)                  WHERE state = 'dead';
CREATE INDEX liteq_messages_finished  ON liteq_messages (finished_ms)
    WHERE state IN ('succeeded', 'cancelled', 'upstream_failed');
CREATE INDEX liteq_messages_awaits    ON liteq_messages (awaits)                       WHERE awaits IS NOT NULL;
CREATE INDEX liteq_messages_group     ON liteq_messages (group_id, position)           WHERE group_id IS NOT NULL;
CREATE UNIQUE INDEX liteq_messages_unique ON liteq_messages (unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('scheduled', 'blocked', 'pending', 'leased');

CREATE TABLE liteq_groups (
    id          TEXT    PRIMARY KEY,
    size        INTEGER NOT NULL,
    remaining   INTEGER NOT NULL,           -- members that have not finished; the group is done at zero
    failed      INTEGER NOT NULL DEFAULT 0, -- members that did not succeed
    group_id    TEXT,                       -- the group that counts this one
    position    INTEGER NOT NULL,
    root_id     TEXT,
    created_ms  INTEGER NOT NULL,
    finished_ms INTEGER
) WITHOUT ROWID;

CREATE INDEX liteq_groups_group    ON liteq_groups (group_id, position) WHERE group_id IS NOT NULL;
CREATE INDEX liteq_groups_finished ON liteq_groups (finished_ms)        WHERE finished_ms IS NOT NULL;

CREATE TABLE liteq_workers (
    id           INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: a late reaper of the dead must not meet a new one
    uuid         TEXT    NOT NULL UNIQUE,
    name         TEXT    NOT NULL,           -- liteq@host, as shown
    host         TEXT    NOT NULL,
    boot         TEXT    NOT NULL,           -- boot id and PID namespace: where `pid` means something
    pid          INTEGER NOT NULL,
    started      TEXT    NOT NULL,           -- the kernel's start time of that PID
    started_ms   INTEGER NOT NULL,
    heartbeat_ms INTEGER NOT NULL,
    info         BLOB                        -- JSON: queues, concurrency, pool, versions, counters
);

CREATE TABLE liteq_schedules (               -- what beat sends, by entry
    name            TEXT    PRIMARY KEY,
    owner           TEXT    NOT NULL,        -- whose configuration it comes from (the app's name); '' for the API
    source          TEXT    NOT NULL,        -- hash of the entry: tells whether the configuration has changed
    schedule        BLOB    NOT NULL,        -- JSON document of liteq.schedules
    signature       BLOB    NOT NULL,        -- JSON: {"task", "args", "kwargs", "options", ...}
    enabled         INTEGER NOT NULL,
    next_due_ms     INTEGER,                 -- NULL: never
    last_run_ms     INTEGER,
    last_id         TEXT,                    -- the message that was sent last
    total_run_count INTEGER NOT NULL DEFAULT 0,
    created_ms      INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX liteq_schedules_due ON liteq_schedules (next_due_ms) WHERE enabled = 1;

CREATE TABLE liteq_commands (                -- what workers are asked for, all of them or some
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- a worker has seen those up to one: never used again
    name        TEXT    NOT NULL,
    arguments   BLOB    NOT NULL,            -- JSON object
    destination BLOB,                        -- JSON array of workers' names; NULL: all
    wants_reply INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL
);

CREATE INDEX liteq_commands_expires ON liteq_commands (expires_ms);

CREATE TABLE liteq_replies (
    command     INTEGER NOT NULL,
    worker      INTEGER NOT NULL,            -- liteq_workers.id
    name        TEXT    NOT NULL,            -- the worker's
    reply       BLOB    NOT NULL,            -- JSON
    PRIMARY KEY (command, worker)
) WITHOUT ROWID;

CREATE TABLE liteq_revoked (                 -- ids that are not to be run, should they come
    id          TEXT    PRIMARY KEY,
    expires_ms  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE liteq_saved_groups (            -- GroupResult.save() of what was not sent as a group
    id          TEXT    PRIMARY KEY,
    members     BLOB    NOT NULL,            -- JSON of GroupResult.as_tuple()
    created_ms  INTEGER NOT NULL
) WITHOUT ROWID;
