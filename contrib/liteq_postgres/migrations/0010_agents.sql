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

CREATE FUNCTION liteq_graph_leave() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE liteq_graph_threads SET lost = 1 WHERE run = OLD.seq;
    RETURN NULL;
END $$;

CREATE TRIGGER liteq_graph_leave AFTER DELETE ON liteq_messages FOR EACH ROW
WHEN (OLD.flags & 32768 <> 0)
EXECUTE FUNCTION liteq_graph_leave();

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
