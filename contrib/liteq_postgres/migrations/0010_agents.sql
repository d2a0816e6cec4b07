-- liteq/storage/sqlite/migrations/0010_agents.sql, in the words of PostgreSQL. The columns are explained there.

-- The memo.

ALTER TABLE liteq_memo ADD COLUMN scope text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE liteq_memo ADD COLUMN hits bigint NOT NULL DEFAULT 0;
ALTER TABLE liteq_memo ADD COLUMN spent bytea;
