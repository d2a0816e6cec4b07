-- What agents, MCP and declared flows keep beside workflows.

-- The memo: the tag of those that share a result, how often it has answered, and what it was paid with.

ALTER TABLE liteq_memo ADD COLUMN scope TEXT    NOT NULL DEFAULT '';  -- "tenant:a"; '': of all runs
ALTER TABLE liteq_memo ADD COLUMN hits  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE liteq_memo ADD COLUMN spent BLOB;                         -- JSON: what `ctx.spend` was told
-- What flows remember from run to run (liteq/storage/kept/flow_state.py). ----------------------------------------------

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
-- Usage and budgets: what steps have spent, what they may spend, and what is in flight. Money is counted in units of
-- 1e-10, so that sums are exact. A step that spends nothing pays for none of it.

CREATE TABLE liteq_usage (                   -- what was spent, once for each recorded answer
    run         INTEGER NOT NULL,            -- liteq_messages.seq; of a child that has left its parent's; 0: gone
    n           INTEGER NOT NULL,            -- a hash of the run, the attempt and the source: written once
    gen         INTEGER NOT NULL,
    scope       TEXT    NOT NULL,
    pos         INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    began_ms    INTEGER NOT NULL,            -- of the attempt
    source      TEXT    NOT NULL,            -- model; memo: so much was saved; unknown: it was killed
    workflow    TEXT    NOT NULL,
    step        TEXT    NOT NULL,
    model       TEXT,
    requests    INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    cache_read_tokens  INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    cost        INTEGER,                     -- NULL: the price is not known
    tags        TEXT,                        -- JSON array: of the run and its parents
    details     BLOB,                        -- JSON
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (run, n)
) WITHOUT ROWID;

CREATE INDEX liteq_usage_at ON liteq_usage (at_ms);

CREATE TABLE liteq_spends (                  -- the most that an attempt of a step ever took; zeros: it spends nothing
    name        TEXT    PRIMARY KEY,
    cost        INTEGER NOT NULL,
    tokens      INTEGER NOT NULL,
    requests    INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE liteq_budgets (                 -- those that are shared
    key         TEXT    NOT NULL,            -- the tag of the runs that share it
    what        TEXT    NOT NULL,            -- cost, tokens or requests
    most        INTEGER NOT NULL,
    period_ms   INTEGER,                     -- so much in each; NULL: in all
    since_ms    INTEGER NOT NULL,            -- the beginning of this period
    spent       INTEGER NOT NULL DEFAULT 0,
    held        INTEGER NOT NULL DEFAULT 0,  -- reserved by what is in flight
    soft        REAL,                        -- the share of it at which a warning is sent; NULL: none
    warned      INTEGER NOT NULL DEFAULT 0,
    asks        INTEGER NOT NULL,            -- 1: a person is asked how much to add
    refused     INTEGER NOT NULL DEFAULT 0,  -- 1: the person said no
    declared    TEXT,                        -- what the code says, as it was last seen
    PRIMARY KEY (key, what)
) WITHOUT ROWID;

CREATE TABLE liteq_run_budgets (             -- those of a run and its children; the columns are as above
    run         INTEGER NOT NULL,            -- liteq_messages.seq
    what        TEXT    NOT NULL,
    most        INTEGER NOT NULL,
    period_ms   INTEGER,
    since_ms    INTEGER NOT NULL,
    spent       INTEGER NOT NULL DEFAULT 0,
    held        INTEGER NOT NULL DEFAULT 0,
    soft        REAL,
    warned      INTEGER NOT NULL DEFAULT 0,
    asks        INTEGER NOT NULL,
    refused     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, what)
) WITHOUT ROWID;

CREATE TABLE liteq_reserved (                -- attempts in flight that may spend; each goes with its lease
    seq         INTEGER NOT NULL,            -- liteq_messages.seq
    token       INTEGER NOT NULL,
    gen         INTEGER NOT NULL,
    scope       TEXT    NOT NULL,
    pos         INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    began_ms    INTEGER NOT NULL,
    name        TEXT    NOT NULL,            -- of the step
    alone       INTEGER NOT NULL,            -- 1: nobody knows yet what such a step takes
    amounts     TEXT    NOT NULL,            -- JSON: [[run or 0, key, what, amount]], of budgets
    tokens      TEXT    NOT NULL,            -- JSON: [[key, amount]], of liteq_keys
    PRIMARY KEY (seq, token, scope, pos)
) WITHOUT ROWID;

CREATE INDEX liteq_reserved_alone ON liteq_reserved (name) WHERE alone = 1;

-- Limits of tokens, and keys in trouble: refused by the other side, or failing.

ALTER TABLE liteq_limits ADD COLUMN tokens TEXT;     -- "200k/m"; NULL: no such limit

ALTER TABLE liteq_keys ADD COLUMN tokens_us INTEGER NOT NULL DEFAULT 0;  -- the bucket of tokens is full again
ALTER TABLE liteq_keys ADD COLUMN refused   INTEGER NOT NULL DEFAULT 0;  -- refusals in a row that named no time
ALTER TABLE liteq_keys ADD COLUMN fails     INTEGER NOT NULL DEFAULT 0;  -- failures in a row
ALTER TABLE liteq_keys ADD COLUMN passed    INTEGER NOT NULL DEFAULT 0;  -- steps that the other side took while it was paused
ALTER TABLE liteq_keys ADD COLUMN pace      INTEGER;  -- thousandths of starts a second after the last refusal; NULL: any

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
    UPDATE liteq_graph_threads SET lost = 1 WHERE run = OLD.seq;
    DELETE FROM liteq_run_budgets WHERE run = OLD.seq;
    UPDATE liteq_usage
       SET run = coalesce((
        SELECT p.seq FROM liteq_messages AS p WHERE p.id = OLD.parent_id AND p.flags & 32768 <> 0), 0)
     WHERE run = OLD.seq;
END;

-- Conversations of agents (liteq/storage/kept/conversations.py). -----------------------------------------------------

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

-- A writer of before would start what is over a budget, and spend it.
UPDATE liteq_meta SET value = 10 WHERE key = 'min_writer';
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
