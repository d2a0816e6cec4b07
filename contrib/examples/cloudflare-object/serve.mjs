// Serves a worker on this machine, in Cloudflare's runtime. `Miniflare` is the caller's, from its node_modules.
import { execFileSync, spawn } from "node:child_process";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const EXAMPLES = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Serve `contrib/examples/<name>/src/index.js` until a signal; `options` are Miniflare's, beside those that all have.
 *
 * PORT (8787), STATE (the folder `data`), GATEWAY_URL, GATEWAY_TOKEN and EDGE_TOKEN come from the environment.
 */
export async function serve(Miniflare, name, options) {
  const port = portOf(process.env.PORT || "8787");
  const gateway = process.env.GATEWAY_URL || "http://127.0.0.1:9324";
  let isEnding = false;
  const miniflare = new Miniflare({
    host: "127.0.0.1",
    port,
    rootPath: EXAMPLES,
    modules: true,
    modulesRoot: EXAMPLES,
    modulesRules: [{ type: "ESModule", include: ["**/*.js"] }],
    scriptPath: `${name}/src/index.js`,
    compatibilityDate: "2026-04-01",
    bindings: {
      GATEWAY_URL: gateway,
      GATEWAY_TOKEN: process.env.GATEWAY_TOKEN ?? "",
      EDGE_TOKEN: process.env.EDGE_TOKEN ?? "",
    },
    handleRuntimeStdio(stdout, stderr) {
      stdout.pipe(process.stdout);
      stderr.pipe(process.stderr);
      stdout.on("close", () => isEnding || fail("the runtime has ended; start me again"));
    },
    ...options(resolve(process.env.STATE || `${EXAMPLES}/${name}/data`)),
  });
  const end = async () => {
    isEnding = true;
    await miniflare.dispose();
    process.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, end);
  const url = await miniflare.ready.catch((error) => fail(error.message));
  leaveNoRuntime();
  endWithNpm(end);
  console.log(`ready: ${url.href} forwards to ${gateway}`);
  return miniflare;
}

function portOf(text) {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) fail(`PORT is a number from 0 to 65535, not ${text}`);
  return port;
}

function fail(why) {
  console.error(why);
  process.exit(1);
}

/** Have the runtime die with this process, also where that is killed: else it would keep the port and the files. */
function leaveNoRuntime() {
  if (process.platform === "win32") return;
  const pids = execFileSync("pgrep", ["-P", String(process.pid), "workerd"], { encoding: "utf8" }).split("\n");
  const script = 'while read -r _; do :; done; kill -9 "$@"'; // standard input ends as this process does
  const stdio = ["pipe", "ignore", "ignore"];
  spawn("sh", ["-c", script, "sh", ...pids.filter(Boolean)], { stdio, detached: true }).unref();
}

/** End with the npm that has started this process: it hands on its signals, but cannot when it is killed. */
function endWithNpm(end) {
  if (!process.env.npm_lifecycle_event || process.platform === "win32") return;
  const told = execFileSync("ps", ["-o", "ppid=,comm=", "-p", String(process.ppid)], { encoding: "utf8" });
  const [parent, command] = told.trim().split(/\s+/);
  const shell = process.ppid;
  const npm = /sh$/.test(command) ? Number(parent) : shell; // most shells stay between the two
  setInterval(() => (process.ppid === shell && isThere(npm)) || end(), 250).unref();
}

function isThere(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
