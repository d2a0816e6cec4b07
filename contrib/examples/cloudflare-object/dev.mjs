// The worker and its object on this machine: npm run dev
import { Miniflare } from "miniflare";
import { serve } from "./serve.mjs";

await serve(Miniflare, "cloudflare-object", (state) => ({
  durableObjects: { OUTBOX: { className: "OutboxObject", useSQLite: true } },
  durableObjectsPersist: state,
}));
