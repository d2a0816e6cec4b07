// The worker and its database on this machine: npm run dev
import { Miniflare } from "miniflare";
import { serve } from "../cloudflare-object/serve.mjs";

const CRON_MS = 1_000; // Cloudflare's shortest is a minute

const miniflare = await serve(Miniflare, "cloudflare-d1", (state) => ({
  d1Databases: ["DB"],
  d1Persist: state,
}));
const worker = await miniflare.getWorker();
for (;;) {
  await new Promise((wake) => setTimeout(wake, CRON_MS));
  await worker.scheduled({ cron: "* * * * *" }).catch((error) => console.error(`the cron trigger: ${error.message}`));
}
