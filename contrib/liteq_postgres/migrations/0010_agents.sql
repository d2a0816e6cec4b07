-- liteq/storage/sqlite/migrations/0010_agents.sql, in the words of PostgreSQL. The columns are explained there.

UPDATE liteq_meta SET value = 10 WHERE key = 'version';

-- The memo.

ALTER TABLE liteq_memo ADD COLUMN scope text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE liteq_memo ADD COLUMN hits bigint NOT NULL DEFAULT 0;
ALTER TABLE liteq_memo ADD COLUMN spent bytea;
-- What flows remember from run to run (liteq/storage/kept/flow_state.py). ----------------------------------------------

CREATE TABLE liteq_flow_state (
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    version bigint NOT NULL,
    updated_ms bigint NOT NULL,
    PRIMARY KEY (scope, key)
);

-- Conversations of agents.

CREATE TABLE liteq_sessions (
    session text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    item bytea NOT NULL,
    step text COLLATE "C",
    taken text COLLATE "C",
    PRIMARY KEY (session, n)
);

CREATE INDEX liteq_sessions_step ON liteq_sessions (session, step) WHERE step IS NOT NULL;
-- Usage and budgets.

CREATE TABLE liteq_usage (
    run         bigint NOT NULL,
    n           bigint NOT NULL,
    gen         bigint NOT NULL,
    scope       text COLLATE "C" NOT NULL,
    pos         bigint NOT NULL,
    attempt     bigint NOT NULL,
    began_ms    bigint NOT NULL,
    source      text COLLATE "C" NOT NULL,
    workflow    text COLLATE "C" NOT NULL,
    step        text COLLATE "C" NOT NULL,
    model       text COLLATE "C",
    requests    bigint NOT NULL,
    input_tokens       bigint NOT NULL,
    output_tokens      bigint NOT NULL,
    cache_read_tokens  bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    cost        bigint,
    tags        text COLLATE "C",
    details     bytea,
    at_ms       bigint NOT NULL,
    PRIMARY KEY (run, n)
);

CREATE INDEX liteq_usage_at ON liteq_usage (at_ms);

CREATE TABLE liteq_spends (
    name        text COLLATE "C" PRIMARY KEY,
    cost        bigint NOT NULL,
    tokens      bigint NOT NULL,
    requests    bigint NOT NULL
);

CREATE TABLE liteq_budgets (
    key         text COLLATE "C" NOT NULL,
    what        text COLLATE "C" NOT NULL,
    most        bigint NOT NULL,
    period_ms   bigint,
    since_ms    bigint NOT NULL,
    spent       bigint NOT NULL DEFAULT 0,
    held        bigint NOT NULL DEFAULT 0,
    soft        double precision,
    warned      bigint NOT NULL DEFAULT 0,
    asks        bigint NOT NULL,
    refused     bigint NOT NULL DEFAULT 0,
    declared    text COLLATE "C",
    PRIMARY KEY (key, what)
);

CREATE TABLE liteq_run_budgets (
    run         bigint NOT NULL,
    what        text COLLATE "C" NOT NULL,
    most        bigint NOT NULL,
    period_ms   bigint,
    since_ms    bigint NOT NULL,
    spent       bigint NOT NULL DEFAULT 0,
    held        bigint NOT NULL DEFAULT 0,
    soft        double precision,
    warned      bigint NOT NULL DEFAULT 0,
    asks        bigint NOT NULL,
    refused     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (run, what)
);

CREATE TABLE liteq_reserved (
    seq         bigint NOT NULL,
    token       bigint NOT NULL,
    gen         bigint NOT NULL,
    scope       text COLLATE "C" NOT NULL,
    pos         bigint NOT NULL,
    attempt     bigint NOT NULL,
    began_ms    bigint NOT NULL,
    name        text COLLATE "C" NOT NULL,
    alone       bigint NOT NULL,
    amounts     text COLLATE "C" NOT NULL,
    tokens      text COLLATE "C" NOT NULL,
    PRIMARY KEY (seq, token, scope, pos)
);

CREATE INDEX liteq_reserved_alone ON liteq_reserved (name) WHERE alone = 1;

ALTER TABLE liteq_limits ADD COLUMN tokens text COLLATE "C";

ALTER TABLE liteq_keys ADD COLUMN tokens_us bigint NOT NULL DEFAULT 0;
ALTER TABLE liteq_keys ADD COLUMN refused   bigint NOT NULL DEFAULT 0;
ALTER TABLE liteq_keys ADD COLUMN fails     bigint NOT NULL DEFAULT 0;
ALTER TABLE liteq_keys ADD COLUMN passed    bigint NOT NULL DEFAULT 0;
ALTER TABLE liteq_keys ADD COLUMN pace      bigint;

-- Steps with doubt=.

CREATE TABLE liteq_intents (
    run bigint NOT NULL,
    gen bigint NOT NULL,
    scope text COLLATE "C" NOT NULL,
    pos bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    step_key text COLLATE "C" NOT NULL,
    begun bigint NOT NULL,
    token bigint NOT NULL,
    began_ms bigint NOT NULL,
    PRIMARY KEY (run, gen, scope, pos)
);

CREATE OR REPLACE FUNCTION liteq_runs_leave() RETURNS trigger LANGUAGE plpgsql AS $$
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
    RETURN NULL;
END $$;

-- Conversations of agents (liteq/storage/kept/conversations.py). -----------------------------------------------------

CREATE TABLE liteq_conversations (
    id          text COLLATE "C" PRIMARY KEY,
    scope       text COLLATE "C",
    revision    text COLLATE "C" NOT NULL,
    document    bytea  NOT NULL,
    updated_us  bigint NOT NULL
);

CREATE INDEX liteq_conversations_updated ON liteq_conversations (updated_us);
CREATE INDEX liteq_conversations_scope ON liteq_conversations (scope, updated_us) WHERE scope IS NOT NULL;

CREATE TABLE liteq_conversation_tips (
    id          text COLLATE "C" NOT NULL,
    entry       text COLLATE "C" NOT NULL,
    PRIMARY KEY (id, entry)
);

CREATE INDEX liteq_conversation_tips_entry ON liteq_conversation_tips (entry);

CREATE TABLE liteq_conversation_entries (
    id          text COLLATE "C" PRIMARY KEY,
    parent      text COLLATE "C",
    message     bytea NOT NULL
);

CREATE INDEX liteq_conversation_entries_parent ON liteq_conversation_entries (parent) WHERE parent IS NOT NULL;

-- A writer of before would start what is over a budget, and spend it.
UPDATE liteq_meta SET value = 10 WHERE key = 'min_writer';
-- LangGraph's checkpoints, and its store (liteq/storage/graphs). -----------------------------------------------------

CREATE TABLE liteq_graph_checkpoints (
    thread text COLLATE "C" NOT NULL,
    ns text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    parent text COLLATE "C",
    run text COLLATE "C",
    versions bytea NOT NULL,
    form text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (thread, ns, id)
);

CREATE INDEX liteq_graph_checkpoints_run ON liteq_graph_checkpoints (run) WHERE run IS NOT NULL;

CREATE TABLE liteq_graph_writes (
    thread text COLLATE "C" NOT NULL,
    ns text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    task text COLLATE "C" NOT NULL,
    idx bigint NOT NULL,
    path text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    form text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (thread, ns, id, task, idx)
);

CREATE TABLE liteq_graph_values (
    thread text COLLATE "C" NOT NULL,
    ns text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    base text COLLATE "C",
    keep bigint NOT NULL,
    depth bigint NOT NULL,
    form text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (thread, ns, channel, version)
);

CREATE TABLE liteq_graph_blobs (
    hash text COLLATE "C" PRIMARY KEY,
    form text COLLATE "C" NOT NULL,
    refs bigint NOT NULL,
    data bytea NOT NULL
);

CREATE TABLE liteq_graph_threads (
    run bigint NOT NULL,
    thread text COLLATE "C" NOT NULL,
    lost bigint NOT NULL,
    PRIMARY KEY (run, thread)
);

CREATE INDEX liteq_graph_threads_thread ON liteq_graph_threads (thread);

CREATE INDEX liteq_graph_threads_lost ON liteq_graph_threads (run) WHERE lost = 1;

CREATE TABLE liteq_graph_items (
    prefix text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    vector bytea,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    ttl_ms bigint,
    expires_ms bigint,
    PRIMARY KEY (prefix, key)
);

CREATE INDEX liteq_graph_items_expires ON liteq_graph_items (expires_ms) WHERE expires_ms IS NOT NULL;
