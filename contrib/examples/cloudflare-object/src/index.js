// A Durable Object takes calls for a liteq queue, and an alarm carries them to its gateway.
import { DurableObject } from "cloudflare:workers";
import { serve } from "./api.js";
import { Outbox, SCHEMA } from "./outbox.js";

const FAILED_MS = 30_000; // until the next attempt where the storage itself failed

export class OutboxObject extends DurableObject {
  constructor(context, env) {
    super(context, env);
    const sql = (text, ...values) => context.storage.sql.exec(text, ...values).toArray();
    SCHEMA.forEach((text) => sql(text));
    this.outbox = new Outbox(sql, env); // no turns: an object has one alarm at a time
  }

  async keep(calls) {
    await this.outbox.keep(calls);
    await this.wake();
  }

  /** See to an alarm. One that waits for a gateway which is away stays; while one runs there is none, and it is set. */
  async wake() {
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now());
  }

  async alarm() {
    try {
      const at = await this.outbox.forward();
      if (at !== null) await this.ctx.storage.setAlarm(at);
    } catch (error) { // an alarm that fails is called six times more, and then forgotten
      console.error(`calls could not be carried: ${error.stack}`);
      await this.ctx.storage.setAlarm(Date.now() + FAILED_MS);
    }
  }

  look() {
    return this.outbox.look();
  }

  refusals() {
    return this.outbox.refusals();
  }

  refusal(id) {
    return this.outbox.refusal(id);
  }

  async again() {
    const found = await this.outbox.again();
    await this.wake();
    return found;
  }

  drop(id) {
    return this.outbox.drop(id);
  }
}

export default {
  fetch(request, env) {
    return serve(request, env, env.OUTBOX.get(env.OUTBOX.idFromName("outbox")));
  },
};
