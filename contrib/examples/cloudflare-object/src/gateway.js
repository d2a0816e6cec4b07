// The gateway as the edge sees it: calls are taken, refused for good, or not answered.

const REFUSED = new Set([400, 403, 413]); // a 401 or 404 is a wrong token or address: no call is to blame
const TIMEOUT_MS = 10_000;
const LONGEST_ASKED_S = 3_600; // of `Retry-After`

/** Thrown where there is no answer, or one that says: later. `afterMs`: as the gateway asks. */
export class Away extends Error {
  constructor(why, afterMs = 0) {
    super(why);
    this.afterMs = afterMs;
  }
}

/**
 * Send calls, all or none of them: "" where they were taken, else the reason why they never will be.
 *
 * `texts`: each a call as JSON. A call that is sent again makes no second row there: it has an id. Throws Away.
 */
export async function post(texts, env) {
  const answer = await sent(`[${texts.join()}]`, env);
  const text = await answer.text().catch(() => "");
  const found = json(text);
  if (answer.status === 200 && found?.tasks?.length === texts.length) return "";
  const why = String(found?.detail ?? text.slice(0, 200));
  if (REFUSED.has(answer.status)) return why || `the gateway answered ${answer.status}`;
  const asked = Number(answer.headers.get("Retry-After")) || 0;
  const detail = answer.status === 200 ? "but not as a gateway does" : why;
  throw new Away(`the gateway answered ${answer.status}: ${detail}`, Math.min(asked, LONGEST_ASKED_S) * 1000);
}

async function sent(body, env) {
  if (!URL.canParse(env.GATEWAY_URL ?? "")) throw new Away("GATEWAY_URL is not set to a gateway's address");
  const headers = { "Content-Type": "application/json" };
  if (env.GATEWAY_TOKEN) headers.Authorization = `Bearer ${env.GATEWAY_TOKEN}`;
  const url = `${env.GATEWAY_URL.replace(/\/+$/, "")}/v1/tasks`;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS); // also of the answer's body
    return await fetch(url, { method: "POST", headers, body, redirect: "manual", signal });
  } catch (error) {
    throw new Away(`the gateway does not answer: ${error.message}`);
  }
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
