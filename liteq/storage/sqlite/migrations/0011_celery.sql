-- What Celery's own programs need on a liteq file: exchanges and their bindings, messages that pass, the children of
-- results, and groups whose members come one by one. A queue of liteq's own programs uses none of it.

CREATE TABLE liteq_bindings (                -- where an exchange's messages go
    exchange    TEXT    NOT NULL,
    routing_key TEXT    NOT NULL,            -- of a topic exchange: a pattern, words between dots, * and #
    queue       TEXT    NOT NULL,
    kind        TEXT    NOT NULL,            -- of the exchange: direct, topic, fanout
    PRIMARY KEY (exchange, routing_key, queue)
) WITHOUT ROWID;

CREATE INDEX liteq_bindings_queue ON liteq_bindings (queue);

CREATE TABLE liteq_listeners (               -- who listens to a channel
    channel     TEXT    NOT NULL,
    name        TEXT    NOT NULL,            -- of the listener, such as a process's own queue
    place       INTEGER NOT NULL,            -- liteq_passing.id: it has read what came up to this one
    until_ms    INTEGER NOT NULL,            -- it is gone, if it has not said by then that it still listens
    PRIMARY KEY (channel, name)
) WITHOUT ROWID;

CREATE TABLE liteq_passing (                 -- messages for those who listen at the moment, in their order
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- a listener has read those up to one: never used again
    channel     TEXT    NOT NULL,
    created_ms  INTEGER NOT NULL,
    body        BLOB    NOT NULL
);

CREATE INDEX liteq_passing_channel ON liteq_passing (channel, id);

CREATE TABLE liteq_children (                -- the results that a task's body has made, as its outcome told them
    run         INTEGER PRIMARY KEY,         -- liteq_messages.seq
    children    BLOB    NOT NULL             -- JSON
);

CREATE TABLE liteq_places (                  -- of members to come, of groups whose members are sent one by one
    member      TEXT    PRIMARY KEY,         -- the id that it will have
    group_id    TEXT    NOT NULL,
    position    INTEGER NOT NULL,            -- -1: no member, the placeholder that holds the group open
    created_ms  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX liteq_places_group ON liteq_places (group_id, position);

-- As before, and for the children of results.
DROP TRIGGER liteq_production_leave;

CREATE TRIGGER liteq_production_leave AFTER DELETE ON liteq_messages
WHEN OLD.flags & 22007824741564416 <> 0      -- Flag.PLACED | EMITS | CURSOR | LOGS | TAGGED | CHILDREN
  OR (OLD.unique_key IS NOT NULL AND OLD.finished_ms IS NULL AND OLD.state <> 'leased') -- it has not run
BEGIN
    DELETE FROM liteq_slots WHERE seq = OLD.seq;
    DELETE FROM liteq_stream WHERE run = OLD.seq;
    DELETE FROM liteq_cursors WHERE run = OLD.seq;
    DELETE FROM liteq_logs WHERE run = OLD.seq;
    DELETE FROM liteq_run_tags WHERE run = OLD.seq;
    DELETE FROM liteq_children WHERE run = OLD.seq;
    DELETE FROM liteq_unique WHERE key = OLD.unique_key AND id = OLD.id AND OLD.state <> 'leased';
END;

-- A writer of before would run again what has begun and runs at most once.
UPDATE liteq_meta SET value = 11 WHERE key = 'min_writer';
