-- LangGraph's checkpoints, and its store (liteq/storage/graphs). -----------------------------------------------------

CREATE TABLE liteq_graph_checkpoints (       -- of a rowid: the rows are large
    thread      TEXT    NOT NULL,
    ns          TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    parent      TEXT,
    run         TEXT,                        -- run_id of its metadata
    versions    BLOB    NOT NULL,            -- JSON object: of its channels
    form        TEXT    NOT NULL,            -- the serializer's word for the body
    body        BLOB    NOT NULL,            -- the checkpoint without its values, and its metadata
    PRIMARY KEY (thread, ns, id)
);

CREATE INDEX liteq_graph_checkpoints_run ON liteq_graph_checkpoints (run) WHERE run IS NOT NULL;

CREATE TABLE liteq_graph_writes (            -- pending ones
    thread      TEXT    NOT NULL,
    ns          TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    task        TEXT    NOT NULL,
    idx         INTEGER NOT NULL,
    path        TEXT    NOT NULL,
    channel     TEXT    NOT NULL,
    form        TEXT    NOT NULL,            -- as of values
    data        BLOB    NOT NULL,
    PRIMARY KEY (thread, ns, id, task, idx)
) WITHOUT ROWID;

CREATE TABLE liteq_graph_values (            -- of channels
    thread      TEXT    NOT NULL,
    ns          TEXT    NOT NULL,
    channel     TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    base        TEXT,                        -- of a list: the version whose first `keep` elements it begins with
    keep        INTEGER NOT NULL,
    depth       INTEGER NOT NULL,            -- how many others it is built on
    form        TEXT    NOT NULL,            -- @: the hash of a blob; []: those of a list; else the serializer's word
    data        BLOB    NOT NULL,
    PRIMARY KEY (thread, ns, channel, version)
) WITHOUT ROWID;

CREATE TABLE liteq_graph_blobs (
    hash        TEXT    PRIMARY KEY,
    form        TEXT    NOT NULL,
    refs        INTEGER NOT NULL,            -- how often values and writes name it
    data        BLOB    NOT NULL
);

CREATE TABLE liteq_graph_threads (           -- threads that leave with their run
    run         INTEGER NOT NULL,            -- liteq_messages.seq
    thread      TEXT    NOT NULL,
    lost        INTEGER NOT NULL,            -- 1: it is gone
    PRIMARY KEY (run, thread)
) WITHOUT ROWID;

CREATE INDEX liteq_graph_threads_thread ON liteq_graph_threads (thread);
CREATE INDEX liteq_graph_threads_lost ON liteq_graph_threads (run) WHERE lost = 1;

CREATE TRIGGER liteq_graph_leave AFTER DELETE ON liteq_messages
WHEN OLD.flags & 32768 <> 0                  -- as liteq_runs_leave
BEGIN
    UPDATE liteq_graph_threads SET lost = 1 WHERE run = OLD.seq;
END;

CREATE TABLE liteq_graph_items (
    prefix      TEXT    NOT NULL,            -- the namespace
    key         TEXT    NOT NULL,
    value       BLOB    NOT NULL,            -- JSON
    vector      BLOB,                        -- of an embedding
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    ttl_ms      INTEGER,
    expires_ms  INTEGER,                     -- NULL: never
    PRIMARY KEY (prefix, key)
);

CREATE INDEX liteq_graph_items_expires ON liteq_graph_items (expires_ms) WHERE expires_ms IS NOT NULL;
