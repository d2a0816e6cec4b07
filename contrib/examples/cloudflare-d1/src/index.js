// D1 keeps calls for a liteq queue; each request, and a cron trigger, carry them to its gateway.
import { serve } from "../../cloudflare-object/src/api.js";
import { Outbox, SCHEMA } from "../../cloudflare-object/src/outbox.js";

const TURN_MS = 12_000; // longer than a request to the gateway may take
let made; // the tables, once for each isolate

function outboxOf(env) {
  const make = () => env.DB.batch(SCHEMA.map((text) => env.DB.prepare(text)));
  const sql = async (text, ...values) => {
    await (made ??= make().catch((error) => ((made = undefined), Promise.reject(error))));
    return (await env.DB.prepare(text).bind(...values).all()).results;
  };
  return new Outbox(sql, env, TURN_MS);
}

export default {
  async fetch(request, env, context) {
    const outbox = outboxOf(env);
    const answer = await serve(request, env, outbox);
    if (request.method === "POST" && answer.ok) context.waitUntil(outbox.forward());
    return answer;
  },

  scheduled(_event, env) {
    return outboxOf(env).forward();
  },
};
