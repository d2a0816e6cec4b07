// A worker in Node, without a package: node worker.mjs [QUEUE]
// GATEWAY: the gateway's address, http://127.0.0.1:9324 by default. TOKEN: its key, where it asks for one.
const gateway = process.env.GATEWAY ?? "http://127.0.0.1:9324";
const queues = process.argv.length > 2 ? process.argv.slice(2) : ["celery"];
const VISIBILITY_S = 30; // a lease; extended while its task runs

const tasks = {
  "shop.add": (a, b) => a + b,
  "shop.fail": () => { throw new TypeError("out of stock"); },
};

async function call(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (process.env.TOKEN) headers.Authorization = `Bearer ${process.env.TOKEN}`;
  const answer = await fetch(gateway + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (answer.status === 409) return null; // the lease is over: somebody else has the message
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function execute(lease) {
  const path = `/v1/leases/${lease.lease}`;
  const task = tasks[lease.task];
  if (!task) return call(`${path}/fail`, { type: "NotRegistered", message: lease.task });
  const beat = setInterval(
    () => call(`${path}/extend`, { visibility: VISIBILITY_S }).catch((error) => console.error(error.message)),
    VISIBILITY_S * 333,
  );
  try {
    const result = await task(...lease.args, ...(Object.keys(lease.kwargs).length ? [lease.kwargs] : []));
    await call(`${path}/ack`, { result: result ?? null });
  } catch (error) {
    await call(`${path}/fail`, { type: error.name, message: error.message });
  } finally {
    clearInterval(beat);
  }
}

let running = true;
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => { running = false; });
console.log(`ready: ${queues.join(", ")} at ${gateway}`);
while (running) {
  try {
    const { leases } = await call("/v1/leases", { queues, max: 10, visibility: VISIBILITY_S, wait: 5 });
    await Promise.all(leases.map(execute));
  } catch (error) {
    console.error(error.message); // the gateway is away: ask again
    await new Promise((wake) => setTimeout(wake, 1000));
  }
}
