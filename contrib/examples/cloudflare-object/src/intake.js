// Calls as they come in: the body of `POST /v1/tasks`, read and checked before anything is stored.
import { Problem } from "./problem.js";

export const MOST_BYTES = 1 << 20; // of a body, as the gateway's `gateway_max_body`
export const MOST_CALLS = 1_000; // in a body, as its `gateway_max_batch`
const MOST_READ = 16 * MOST_BYTES; // of one that is too large: a sender that is cut off does not see the answer
const LONGEST = 255; // characters of an id, of names and of an Idempotency-Key

/**
 * The calls of a request, as [id, task, text]: `text` is the call's JSON, its id in it.
 *
 * The edge checks what it can know. Which tasks, queues and options there are, the gateway does.
 * Throws Problem: 400 for what is no list of calls, 413 for too much.
 */
export async function callsOf(request) {
  const calls = parsed(await textOf(request));
  if (!Array.isArray(calls) || !calls.every(isObject)) {
    throw new Problem(400, 'the body is a list of calls, as [{"task": "shop.bill", "args": [1]}]');
  }
  if (calls.length > MOST_CALLS) {
    throw new Problem(413, `${calls.length} calls in one body, and ${MOST_CALLS} are taken: send them in parts`);
  }
  const key = request.headers.get("Idempotency-Key");
  if (key !== null && !isName(key)) {
    throw new Problem(400, `Idempotency-Key is a text of up to ${LONGEST} characters, another for each body`);
  }
  return Promise.all(calls.map((call, n) => checked(call, n, key)));
}

async function textOf(request) {
  const parts = [];
  let length = Number(request.headers.get("Content-Length") ?? 0) > MOST_READ ? Infinity : 0;
  for await (const part of length ? [] : (request.body ?? [])) {
    length += part.byteLength;
    if (length <= MOST_BYTES) parts.push(part);
    if (length > MOST_READ) break;
  }
  if (length > MOST_BYTES) throw new Problem(413, `a body has at most ${MOST_BYTES} bytes: send it in parts`);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await new Blob(parts).arrayBuffer());
  } catch {
    throw new Problem(400, "the body is no UTF-8");
  }
}

/** JSON whose numbers are kept as they were written: 1.0 stays a float, and a long number keeps all its digits. */
function parsed(text) {
  try {
    return JSON.parse(text, (_, value, { source }) =>
      typeof value === "number" && JSON.stringify(value) !== source ? JSON.rawJSON(source) : value,
    );
  } catch (error) {
    const isDeep = error instanceof RangeError;
    throw new Problem(400, isDeep ? "the body is nested too deeply" : `the body is no JSON: ${error.message}`);
  }
}

async function checked(call, n, key) {
  const refuse = (why) => new Problem(400, `call ${n}, counted from 0: ${why}`);
  if (!isName(call.task)) throw refuse("task is the name of a task");
  if (!Array.isArray(call.args ?? []) || !isObject(call.kwargs ?? {})) {
    throw refuse("args is a list, and kwargs an object");
  }
  const id = call.id ?? (key === null ? newId() : await madeId(key, n));
  if (!isName(id)) throw refuse(`id is a text of 1 to ${LONGEST} characters`);
  try {
    return [id, call.task, JSON.stringify({ ...fromNow(call), id })];
  } catch {
    throw refuse("it is nested too deeply");
  }
}

/** Seconds from now as moments: they count from here, however long the call waits for the gateway. */
function fromNow(call) {
  const { countdown, ...rest } = call;
  const due = moment(countdown);
  const found = due === null ? { ...call } : { ...rest, eta: due };
  found.expires = moment(call.expires) ?? call.expires;
  return found;
}

/** The moment in so many seconds; null for what is none, which is the gateway's to judge. */
function moment(seconds) {
  const number = Number(seconds?.rawJSON ?? (typeof seconds === "number" ? seconds : NaN));
  const date = new Date(Date.now() + number * 1000);
  return number >= 0 && !Number.isNaN(date.getTime()) ? date.toISOString() : null;
}

/** A UUID of version 7: ids that are made one after the other lie side by side in the queue's index. */
function newId() {
  const time = Date.now().toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${crypto.randomUUID().slice(15)}`;
}

/** The id of the n-th call of a body, which the same key makes again. */
async function madeId(key, n) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${n} ${key}`));
  const hex = [...new Uint8Array(hash, 0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, "$1-$2-8$3-8$4-$5");
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value);
}

function isName(value) {
  return typeof value === "string" && 0 < value.length && value.length <= LONGEST && !value.includes("\0")
    && value.isWellFormed();
}
