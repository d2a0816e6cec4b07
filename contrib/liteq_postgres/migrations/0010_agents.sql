-- liteq/storage/sqlite/migrations/0010_agents.sql, in the words of PostgreSQL. The columns are explained there.

UPDATE liteq_meta SET value = 10 WHERE key = 'version';

-- The memo.

ALTER TABLE liteq_memo ADD COLUMN scope text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE liteq_memo ADD COLUMN hits bigint NOT NULL DEFAULT 0;
ALTER TABLE liteq_memo ADD COLUMN spent bytea;
-- What flows remember from run to run (liteq/storage/flow_state.py). ---------------------------------------------------

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
    RETURN NULL;
END $$;
-- Conversations of agents (liteq/storage/conversations.py). ----------------------------------------------------------

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
