-- Fencing tokens are of the clock, in microseconds. None is above this one; `token` counts on where the clock has been
-- set back (storage/sqlite/tokens.py).
INSERT INTO liteq_meta (key, value) VALUES ('token_until', 0);

-- A writer of before would count on below them.
UPDATE liteq_meta SET value = 5 WHERE key = 'min_writer';
