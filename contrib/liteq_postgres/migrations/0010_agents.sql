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
