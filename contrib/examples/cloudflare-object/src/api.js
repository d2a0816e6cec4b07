// The calls that programs make at the edge. Behind them stands an Outbox, here or in an object.
import { callsOf } from "./intake.js";
import { Problem, answer } from "./problem.js";

const ROUTES = [
  ["POST", /^\/v1\/tasks$/, keep],
  ["GET", /^\/v1\/outbox$/, async (_, outbox) => answer(await outbox.look())],
  ["GET", /^\/v1\/refused$/, async (_, outbox) => answer({ refused: await outbox.refusals() })],
  ["POST", /^\/v1\/refused\/again$/, async (_, outbox) => answer({ again: await outbox.again() })],
  ["GET", /^\/v1\/refused\/([^/]+)$/, show],
  ["DELETE", /^\/v1\/refused\/([^/]+)$/, drop],
];

/** Answer a request. `outbox`: what keeps the calls, or its stub. */
export async function serve(request, env, outbox) {
  try {
    await checkToken(request, env);
    const { pathname } = new URL(request.url);
    const there = ROUTES.filter(([, path]) => path.test(pathname));
    if (there.length === 0) throw new Problem(404, "no such path; calls go to POST /v1/tasks");
    const route = there.find(([method]) => method === request.method);
    if (route === undefined) {
      const allowed = there.map(([method]) => method).join(", ");
      throw new Problem(405, `${request.method} is not for this path; use ${allowed}`, { Allow: allowed });
    }
    return await route[2](request, outbox, pathname.match(route[1])[1]);
  } catch (error) {
    if (error instanceof Problem) return error.answer;
    console.error(`the storage failed: ${error.stack}`);
    return new Problem(503, "the storage failed; send it again, under the same ids", { "Retry-After": "1" }).answer;
  }
}

async function keep(request, outbox) {
  const calls = await callsOf(request);
  if (calls.length > 0) await outbox.keep(calls);
  return answer({ tasks: calls.map(([id]) => ({ id })) }, 202);
}

async function show(_, outbox, part) {
  const call = await outbox.refusal(idOf(part));
  if (call === null) throw noSuchCall();
  return new Response(call, { headers: { "Content-Type": "application/json", "Cache-Control": "no-store" } });
}

async function drop(_, outbox, part) {
  const id = idOf(part);
  if (!(await outbox.drop(id))) throw noSuchCall();
  return answer({ id });
}

function idOf(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    throw noSuchCall();
  }
}

function noSuchCall() {
  return new Problem(404, "no refused call has this id");
}

/** Throw Problem where the request does not have the token. EDGE_TOKEN="" lets everybody in: for trials. */
async function checkToken(request, env) {
  if (env.EDGE_TOKEN === undefined) throw new Problem(503, "the secret EDGE_TOKEN is not set");
  if (env.EDGE_TOKEN === "") return;
  const [scheme, token = ""] = (request.headers.get("Authorization") ?? "").split(" ");
  const [theirs, ours] = await Promise.all([token, env.EDGE_TOKEN].map(hash)); // of one length, as they are compared
  if (scheme.toLowerCase() !== "bearer" || !crypto.subtle.timingSafeEqual(theirs, ours)) {
    throw new Problem(401, "send `Authorization: Bearer ...` with the edge's token", { "WWW-Authenticate": "Bearer" });
  }
}

function hash(text) {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}
