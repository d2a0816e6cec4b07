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
  if (!answer.ok) {
    const text = `${path}: ${answer.status} ${await answer.text()}`;
    throw Object.assign(new Error(text), { status: answer.status });
  }
  return answer.json();
}

async function settle(path, body) {
  for (;;) {
    try {
      return await call(path, body);
    } catch (error) {
      if (error.status < 500 || !running) throw error;
      console.error(error.message); // away or busy: it has not ended otherwise than it did
      await new Promise((wake) => setTimeout(wake, 1000));
    }
  }
}

async function execute(lease) {
  const path = `/v1/leases/${lease.lease}`;
  const task = tasks[lease.task];
  if (!task) return call(`${path}/fail`, { type: "NotRegistered", message: lease.task });
  const beat = setInterval(
    () => call(`${path}/extend`, { visibility: VISIBILITY_S }).catch((error) => console.error(error.message)),
    VISIBILITY_S * 333,
  );
  let end = "ack", body;
  try {
    body = { result: (await task(...lease.args, ...(Object.keys(lease.kwargs).length ? [lease.kwargs] : []))) ?? null };
    JSON.stringify(body); // what has no form in JSON raises here
  } catch (error) {
    [end, body] = ["fail", { type: error?.name, message: error?.message ?? String(error) }]; // anything may be thrown
  }
  try {
    await settle(`${path}/${end}`, body);
  } catch (error) {
    if (![400, 413].includes(error.status)) throw error;
    await settle(`${path}/fail`, { type: "Refused", message: error.message }); // too large, or half a character
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
