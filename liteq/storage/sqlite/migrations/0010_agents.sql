-- What agents, MCP and declared flows keep beside workflows.

-- The memo: the tag of those that share a result, how often it has answered, and what it was paid with.

ALTER TABLE liteq_memo ADD COLUMN scope TEXT    NOT NULL DEFAULT '';  -- "tenant:a"; '': of all runs
ALTER TABLE liteq_memo ADD COLUMN hits  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE liteq_memo ADD COLUMN spent BLOB;                         -- JSON: what `ctx.spend` was told
-- What flows remember from run to run (liteq/storage/flow_state.py). ---------------------------------------------------

CREATE TABLE liteq_flow_state (
    scope       TEXT    NOT NULL,            -- dag:NAME, global, custom:NAMESPACE
    key         TEXT    NOT NULL,
    value       BLOB    NOT NULL,            -- JSON
    version     INTEGER NOT NULL,            -- from 1, one more with each change
    updated_ms  INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;

-- Conversations of agents: one row an item, in the order in which they were added.

CREATE TABLE liteq_sessions (
    session     TEXT    NOT NULL,            -- its id
    n           INTEGER NOT NULL,
    item        BLOB    NOT NULL,            -- JSON
    step        TEXT,                        -- the step_key of the step that has added it
    taken       TEXT,                        -- ... that has taken it back; NULL: it is there
    PRIMARY KEY (session, n)
) WITHOUT ROWID;

CREATE INDEX liteq_sessions_step ON liteq_sessions (session, step) WHERE step IS NOT NULL;
-- Steps with doubt= that were begun and whose end is not known: a row is written before the step, and goes with its end.

CREATE TABLE liteq_intents (
    run         INTEGER NOT NULL,            -- liteq_messages.seq
    gen         INTEGER NOT NULL,
    scope       TEXT    NOT NULL,
    pos         INTEGER NOT NULL,
    name        TEXT    NOT NULL,            -- of the step
    step_key    TEXT    NOT NULL,            -- the key that it has for others
    begun       INTEGER NOT NULL,            -- how often, each time without an end
    token       INTEGER NOT NULL,            -- of the lease under which it was begun last; that is gone: it is in doubt
    began_ms    INTEGER NOT NULL,
    PRIMARY KEY (run, gen, scope, pos)
) WITHOUT ROWID;

DROP TRIGGER liteq_runs_leave;

CREATE TRIGGER liteq_runs_leave AFTER DELETE ON liteq_messages
WHEN OLD.flags & 32768 <> 0
BEGIN
    DELETE FROM liteq_runs WHERE run = OLD.seq;
    DELETE FROM liteq_steps WHERE run = OLD.seq;
    DELETE FROM liteq_step_bodies WHERE run = OLD.seq;
    DELETE FROM liteq_run_tags WHERE run = OLD.seq;
    DELETE FROM liteq_run_state WHERE run = OLD.seq;
    DELETE FROM liteq_stream WHERE run = OLD.seq;
    DELETE FROM liteq_intents WHERE run = OLD.seq;
END;
-- Conversations of agents (liteq/storage/conversations.py). ----------------------------------------------------------

CREATE TABLE liteq_conversations (           -- of a rowid: documents may be large
    id          TEXT    PRIMARY KEY,
    scope       TEXT,                        -- whose it is
    revision    TEXT    NOT NULL,            -- another one after each save
    document    BLOB    NOT NULL,            -- JSON: usage, deferred calls, where it ends
    updated_us  INTEGER NOT NULL
);

CREATE INDEX liteq_conversations_updated ON liteq_conversations (updated_us);
CREATE INDEX liteq_conversations_scope ON liteq_conversations (scope, updated_us) WHERE scope IS NOT NULL;

CREATE TABLE liteq_conversation_tips (       -- the entries that a conversation ends with: its head, and its branches
    id          TEXT    NOT NULL,
    entry       TEXT    NOT NULL,
    PRIMARY KEY (id, entry)
) WITHOUT ROWID;

CREATE INDEX liteq_conversation_tips_entry ON liteq_conversation_tips (entry);

CREATE TABLE liteq_conversation_entries (    -- messages, each once, whatever conversations share it
    id          TEXT    PRIMARY KEY,
    parent      TEXT,
    message     BLOB    NOT NULL             -- JSON
);

CREATE INDEX liteq_conversation_entries_parent ON liteq_conversation_entries (parent) WHERE parent IS NOT NULL;
