// The outbox: calls that wait for the gateway, in SQL that a Durable Object and D1 both run.
import { Away, post } from "./gateway.js";

export const SCHEMA = [
  "CREATE TABLE IF NOT EXISTS calls (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE," +
    " task TEXT NOT NULL, call TEXT NOT NULL, at INTEGER NOT NULL)",
  "CREATE TABLE IF NOT EXISTS refused (id TEXT PRIMARY KEY, task TEXT NOT NULL, call TEXT NOT NULL," +
    " at INTEGER NOT NULL, detail TEXT NOT NULL)",
  // `until`: nothing is sent before. `size`: calls of the next request. `away`: why the last one failed.
  "CREATE TABLE IF NOT EXISTS turn (one INTEGER PRIMARY KEY CHECK (one = 1), until INTEGER NOT NULL DEFAULT 0," +
    " tries INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 200, away TEXT NOT NULL DEFAULT '')",
  "INSERT OR IGNORE INTO turn (one) VALUES (1)",
];

const BATCH = 200; // calls of one request
const BATCH_BYTES = 512 * 1024; // ... and their size, unless one alone is larger: half of what a gateway takes
const MOST_POSTS = 10; // of one run: with its statements within what a free plan grants to an invocation
const FIRST_MS = 200; // between two attempts while the gateway is away
const LONGEST_MS = 30_000;
const PATIENCE_MS = 1_000; // for which a run waits where no alarm would wake the next one in time
const SHOWN = 100; // refused calls of one answer

const KEEP = `INSERT OR IGNORE INTO calls (id, task, call, at)
  SELECT value ->> 0, value ->> 1, value ->> 2, ? FROM json_each(?) ORDER BY key`;
const TAKE_TURN = "UPDATE turn SET until = ? WHERE until <= ? RETURNING tries, size, away";
const LEAVE_TURN = "UPDATE turn SET until = ?, tries = ?, size = ?, away = ?";
const FIRST = `SELECT seq, id, task, call FROM calls JOIN (
    SELECT seq, bytes, sum(bytes) OVER (ORDER BY seq) AS total
      FROM (SELECT seq, octet_length(call) AS bytes FROM calls ORDER BY seq LIMIT ?)
  ) USING (seq) WHERE total <= ? OR total = bytes ORDER BY seq`;
const IS_EMPTY = "SELECT NOT EXISTS (SELECT 1 FROM calls) AS found";
const DELETE = "DELETE FROM calls WHERE seq IN (SELECT value FROM json_each(?))";
const NO_LONGER_REFUSED = "DELETE FROM refused WHERE id IN (SELECT value FROM json_each(?))";
const REFUSE = `INSERT OR REPLACE INTO refused (id, task, call, at, detail)
  SELECT id, task, call, at, ? FROM calls WHERE seq = ?`;
const LOOK = `SELECT (SELECT count(*) FROM calls) AS waiting, (SELECT min(at) FROM calls) AS oldest,
  (SELECT count(*) FROM refused) AS refused, until, away FROM turn`;
const REFUSED = "SELECT id, task, detail, at FROM refused ORDER BY at DESC LIMIT ?";
const AGAIN = "INSERT OR IGNORE INTO calls (id, task, call, at) SELECT id, task, call, at FROM refused ORDER BY at";
const WAITS_AGAIN = "DELETE FROM refused WHERE id IN (SELECT id FROM calls) RETURNING 1";

/**
 * Keeps calls until the gateway has answered for them.
 *
 * `sql(text, ...values)`: the rows of a statement, or a promise of them. `turnMs`: for how long a run keeps others from
 * sending, between two requests of its own; 0 where there is never another.
 * A call may be sent twice, by a run that was killed or by two: the gateway makes one row of an id.
 * Each statement stands alone, and a kill between any two loses nothing.
 */
export class Outbox {
  constructor(sql, env, turnMs = 0) {
    this.sql = sql;
    this.env = env;
    this.turnMs = turnMs;
  }

  /** Store calls, all or none: [id, task, text] each. One that waits already stays as it is. */
  async keep(calls) {
    await this.sql(KEEP, Date.now(), JSON.stringify(calls));
  }

  /** What waits, since when, and for what. */
  async look() {
    const [{ waiting, oldest, refused, until, away }] = await this.sql(LOOK);
    const next = away ? date(until) : null;
    return { waiting, oldest: date(oldest), refused, away: away || null, next };
  }

  /** The calls that the gateway has refused, newest first, each with its reason. */
  async refusals() {
    const rows = await this.sql(REFUSED, SHOWN);
    return rows.map((row) => ({ ...row, at: date(row.at) }));
  }

  /** A refused call as JSON; null for an id that none has. */
  async refusal(id) {
    const [row] = await this.sql("SELECT call FROM refused WHERE id = ?", id);
    return row?.call ?? null;
  }

  /** Send what was refused once more; how many calls. */
  async again() {
    await this.sql(AGAIN);
    return (await this.sql(WAITS_AGAIN)).length;
  }

  /** Drop a refused call; whether it was there. */
  async drop(id) {
    return (await this.sql("DELETE FROM refused WHERE id = ? RETURNING id", id)).length > 0;
  }

  /** Send what waits, in its order. When to come back (ms since the epoch); null: nothing waits. */
  async forward() {
    const now = Date.now();
    const [turn] = await this.sql(TAKE_TURN, now + this.turnMs, now);
    if (turn === undefined) return this.pausedUntil();
    let { size, tries, away } = turn;
    for (let posts = 0; posts < MOST_POSTS; posts++) {
      const rows = await this.sql(FIRST, size, BATCH_BYTES);
      if (rows.length === 0) break;
      try {
        size = await this.settle(rows, await post(rows.map((row) => row.call), this.env));
      } catch (error) {
        if (!(error instanceof Away)) throw error;
        if (!away) console.warn(`${error.message}; calls wait here, and are tried again`);
        const ms = Math.ceil(Math.max(pause(tries), error.afterMs)); // an alarm at a part of a millisecond may be lost
        const until = Date.now() + ms;
        const stays = this.turnMs > 0 && ms <= PATIENCE_MS;
        [tries, away] = [tries + 1, error.message];
        await this.sql(LEAVE_TURN, stays ? until + this.turnMs : until, tries, size, away);
        if (!stays) return until;
        await new Promise((wake) => setTimeout(wake, ms));
        continue;
      }
      if (away) console.log("the gateway answers again");
      [tries, away] = [0, ""];
      await this.sql(LEAVE_TURN, Date.now() + this.turnMs, 0, size, "");
    }
    await this.sql(LEAVE_TURN, 0, tries, size, away);
    // What came while this run held the turn is seen here, if its own was refused the turn.
    const [{ found }] = await this.sql(IS_EMPTY);
    return found ? null : Date.now();
  }

  async pausedUntil() {
    const [{ until }] = await this.sql("SELECT until FROM turn");
    return until;
  }

  /** Do what the answer says: delete, halve the batch until the guilty call is alone, or set that one aside. */
  async settle(rows, refusal) {
    if (refusal && rows.length > 1) return rows.length >> 1;
    const [{ seq, id, task }] = rows;
    if (refusal) {
      console.error(`${task}[${id}] is refused: ${refusal}`);
      await this.sql(REFUSE, refusal, seq);
      await this.sql(DELETE, JSON.stringify([seq]));
      return 1;
    }
    await this.sql(NO_LONGER_REFUSED, JSON.stringify(rows.map((row) => row.id)));
    await this.sql(DELETE, JSON.stringify(rows.map((row) => row.seq)));
    return Math.min(rows.length * 2, BATCH);
  }
}

/** Milliseconds before the next attempt: twice as long after each one, and no two edges at the same moment. */
function pause(tries) {
  const longest = Math.min(FIRST_MS * 2 ** tries, LONGEST_MS);
  return longest * (0.5 + Math.random() / 2);
}

function date(ms) {
  return ms === null ? null : new Date(ms).toISOString();
}
