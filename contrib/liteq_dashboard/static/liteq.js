// What a page does beyond its links and forms: it looks for changes, knows the reader's zone and keys, draws its charts.
// Every page works without this file. Markup comes from the server alone.

const body = document.body;
const base = body.dataset.base;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const made = (tag, text, attributes = {}) => {
  const element = Object.assign(document.createElement(tag), { textContent: text });
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
// The answer to what a page asks by itself; none once nobody is signed in: the page to sign in would stand in a part of it.
async function ask(path, headers = {}) {
  if (new URL(path, location.href).origin !== location.origin) return;
  const answer = await fetch(path, { headers, credentials: "same-origin", redirect: "manual" });
  if (answer.type !== "opaqueredirect" && answer.status !== 401 && answer.status !== 403) return answer;
  stopLive("signed out: load the page again");
}

// -- the time zone and the theme -------------------------------------------------------------------------------------

const browserZone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const look = { theme: document.documentElement.dataset.theme || "", zone: body.dataset.zone, live: body.dataset.live };

function keepLook() {
  document.cookie = `liteq_look=${look.theme}~${look.zone}~${look.live}; Max-Age=31536000; Path=${base}/; SameSite=Strict`;
}

const inZone = (options) => new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", timeZone: look.zone || "UTC", ...options });

function writeTimes() {
  const [clock, whole] = [inZone({ timeStyle: "medium" }), inZone({ dateStyle: "medium", timeStyle: "long" })];
  const day = inZone({ day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit" });
  const year = inZone({ year: "numeric", month: "2-digit", day: "2-digit" });
  for (const time of all("time")) {
    const [at, now] = [new Date(time.dateTime), new Date()];
    const form = year.format(at) === year.format(now) ? clock : at.getFullYear() === now.getFullYear() ? day : year;
    time.textContent = form.format(at).replace(",", "");
    time.title = whole.format(at);
  }
}

function roughly(ms) {
  const seconds = Math.abs(ms) / 1000;
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

function writeAges() {
  const now = Date.now();
  for (const age of all("[data-ago]")) {
    const apart = now - Number(age.dataset.ago);
    age.textContent = apart >= 0 ? `${roughly(apart)} ago` : `in ${roughly(apart)}`;
  }
}

function startLook() {
  const zones = one("#view-menu select[name=zone]");
  if (zones && ![...zones.options].some((option) => option.value === browserZone)) zones.append(new Option(browserZone, browserZone));
  if (!look.zone) {
    look.zone = browserZone;
    keepLook();
    if (zones) zones.value = browserZone;
    if (browserZone !== "UTC") writeTimes();
  }
  one("#view-menu form")?.addEventListener("change", (event) => {
    look[event.target.name] = event.target.value;
    keepLook();
    if (event.target.name === "theme") {
      document.documentElement.toggleAttribute("data-theme", Boolean(look.theme));
      if (look.theme) document.documentElement.dataset.theme = look.theme;
      one("meta[name=color-scheme]").content = look.theme || "light dark";
      charts.forEach((chart) => chart.draw());
    } else location.reload();
  });
}

// -- live: parts are fetched anew and morphed; a list that is worked on is left alone ------------------------------------

const etags = new Map();
let [stamp, due, busy, stopped] = [body.dataset.stamp, false, false, false];

function isHeld(part) {
  const chosen = document.getSelection();
  const near = part.closest("form") || part;
  return Boolean(
    one("input[type=checkbox]:checked, details[open], :focus:is(input:not([type=checkbox]), select, textarea)", part) ||
    one(".menu[open]") || one("dialog[open]") ||
    (chosen && !chosen.isCollapsed && near.contains(chosen.anchorNode)),
  );
}

const rowsOf = (within) => new Set(all("[data-row]", within).map((row) => row.dataset.row));

function offer(part, text, fresh) {
  let strip = one(".frozen", part.parentElement.closest("form, main") || part);
  if (!strip) {
    strip = made("div", "", { class: "frozen" });
    const button = made("button", "Show", { type: "button", class: "small" });
    button.addEventListener("click", () => { strip.remove(); put(part, part.waiting); });
    strip.append(made("span", ""), button);
    part.before(strip);
  }
  part.waiting = text;
  one("span", strip).textContent = fresh ? `${fresh} new here: the list stands still while it is used.` : "It has changed: the list stands still while it is used.";
}

const put = (part, text) => window.htmx.swap({ text, target: part, sourceElement: part, swap: "innerMorph" });

async function refresh(part) {
  const path = part.dataset.part;
  const answer = await ask(path, etags.has(path) ? { "If-None-Match": etags.get(path) } : {});
  if (answer?.status !== 200) return;
  etags.set(path, answer.headers.get("ETag"));
  const text = await answer.text();
  if (!isHeld(part)) {
    one(".frozen", part.parentElement)?.remove();
    return put(part, text);
  }
  const [old, page] = [rowsOf(part), new DOMParser().parseFromString(text, "text/html")];
  const fresh = [...rowsOf(page)].filter((row) => !old.has(row)).length;
  offer(part, text, fresh);
}

async function refreshAll() {
  due = true;
  if (busy || stopped || document.hidden) return;
  busy = true;
  try {
    while (due && !stopped && !document.hidden) {
      due = false;
      for (const part of all("[data-part]")) await refresh(part);
      for (const chart of charts) await chart.append();
      tell();
      await new Promise((done) => setTimeout(done, Math.max(Number(look.live), 1) * 1000));
    }
  } catch { showLive("waits for the server"); } finally { busy = false; }
}

// One sentence at most each 10 s: of what the page says first.
let [toldAt, toldLast] = [0, one(".said[role=status] p")?.textContent];
function tell() {
  const said = one(".said[role=status] p")?.textContent;
  if (!said || said === toldLast || Date.now() - toldAt < 10000) return;
  [toldAt, toldLast, one("#told").textContent] = [Date.now(), said, said];
}
let stream, poll;
function showLive(text) { const shown = one("#live"); if (shown) [shown.hidden, shown.textContent] = [false, text]; }
function stopLive(text) { stream?.close(); clearInterval(poll); stopped = true; showLive(text); }

function startPolling() {
  clearInterval(poll);
  poll = setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await ask(`${base}/live?stamp=${encodeURIComponent(stamp)}`);
      if (answer?.status === 200) { stamp = (await answer.json()).stamp; refreshAll(); }
      if (answer) showLive("live");
    } catch { showLive("waits for the server"); }
  }, Number(look.live) * 1000);
}

function startLive() {
  if (look.live === "0" || !one("[data-part]") || !window.htmx) return;
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refreshAll(); });
  if (body.dataset.stream !== "yes") return startPolling();
  stream = new EventSource(`${base}/live?since=${encodeURIComponent(stamp)}`);
  stream.addEventListener("open", () => showLive("live"));
  stream.addEventListener("changed", (event) => { stamp = event.data; refreshAll(); });
  stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED) startPolling(); });
}

// -- charts --------------------------------------------------------------------------------------------------------------

const charts = [];
const HEIGHT = 96;
const shortly = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 2 }).format;

class Chart {
  constructor(figure) {
    [this.figure, this.place, this.points] = [figure, one(".plot", figure), []];
  }

  async append() {
    if (Date.now() - (this.at || 0) < 10000) return;
    this.at = Date.now();
    const answer = await ask(this.figure.dataset.series);
    if (answer?.status !== 200) return;
    const found = await answer.json();
    [this.points, this.marks] = [found.points, found.marks || []];
    this.draw();
  }

  draw() {
    const known = this.points.filter(([, value]) => value !== null).length;
    if (!known) return;
    const data = [this.points.map(([ms]) => ms / 1000), this.points.map(([, value]) => value)];
    if (this.plot && this.ink === this.inks().join()) return this.plot.setData(data);
    this.plot?.destroy();
    const [line, ink] = this.inks();
    this.ink = this.inks().join();
    one("svg", this.place)?.toggleAttribute("hidden", true);
    const clock = inZone(data[0].at(-1) - data[0][0] > 2 * 86400 ? { day: "2-digit", month: "short" } : { hour: "2-digit", minute: "2-digit" });
    const axis = { stroke: ink, font: "11px system-ui", gap: 4, ticks: { show: false } };
    this.plot = new window.uPlot({
      width: this.place.clientWidth, height: HEIGHT, legend: { show: false }, cursor: { y: false, points: { size: 6 } }, padding: [6, 16, 0, 0],
      axes: [
        { ...axis, size: 20, space: 64, grid: { show: false }, values: (_plot, splits) => splits.map((at) => clock.format(at * 1000)) },
        { ...axis, size: 40, grid: { stroke: "#8883", width: 1 }, splits: (_plot, _n, low, high) => [low, high / 2, high], values: (_plot, splits) => splits.map((value) => shortly(value)) },
      ],
      scales: { y: { range: (_plot, _low, high) => [0, high || 1] } },
      series: [{}, { stroke: line, width: 1.5, fill: line.replace(/^rgb\((.*)\)$/, "rgba($1, 0.12)"), points: { show: known < 3, size: 5, fill: line } }],
      hooks: { draw: [(plot) => this.drawMarks(plot)], setCursor: [(plot) => this.read(plot)] },
    }, data, this.place);
    this.size ||= new ResizeObserver(() => this.plot?.setSize({ width: this.place.clientWidth, height: HEIGHT }));
    this.size.observe(this.place);
  }

  inks() { return [getComputedStyle(one("path.line", this.figure)).stroke, getComputedStyle(one("figcaption", this.figure)).color]; }

  drawMarks(plot) {
    const { ctx, bbox } = plot;
    ctx.save(); ctx.setLineDash([4, 4]); ctx.strokeStyle = ctx.fillStyle = this.inks()[1];
    for (const mark of this.marks) {
      const [ms, label] = Array.isArray(mark) ? mark : [mark.at, mark.label];
      const x = Math.round(plot.valToPos(ms / 1000, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
      ctx.textAlign = x > bbox.left + bbox.width * 0.8 ? "right" : "left";
      ctx.fillText(` ${String(label).slice(0, 12)} `, x, bbox.top + 12);
    }
    ctx.restore();
  }

  read(plot) {
    const [n, shown] = [plot.cursor.idx, one("figcaption b", this.figure)];
    const value = n == null ? null : plot.data[1][n];
    this.last ??= shown.textContent;
    shown.textContent = value == null ? this.last : `${inZone({ hour: "2-digit", minute: "2-digit" }).format(plot.data[0][n] * 1000)}  ${Number(value.toFixed(3)).toLocaleString("en")}`;
  }
}

// -- keys ----------------------------------------------------------------------------------------------------------------

const PLACES = { o: "", t: "tasks", f: "failures", w: "workflows", a: "approvals", q: "queues", k: "workers", s: "schedules", b: "operations", y: "activity", i: "file" };
const KEYS = [["/", "search"], ["j  k", "next and previous row"], ["Enter", "open"], ["x", "tick the row"], ["?", "these keys"], ...Object.entries(PLACES).map(([key, path]) => [`g ${key}`, path || "overview"])];
let [gone, here] = [0, -1];

function showKeys() {
  let box = one("#key-list");
  if (!box) {
    box = made("dialog", "", { id: "key-list", "aria-label": "Keys" });
    const list = made("dl", "", { class: "facts" });
    for (const [key, text] of KEYS) {
      list.append(made("dt", ""), made("dd", text));
      list.lastChild.previousSibling.append(made("kbd", key));
    }
    const close = made("button", "Close", { type: "button", class: "small" });
    close.addEventListener("click", () => box.close());
    box.append(made("h2", "Keys"), list, close);
    body.append(box);
  }
  box.showModal();
}

function moveTo(step) {
  const rows = all(".rows tbody tr");
  if (!rows.length) return;
  here = Math.min(Math.max(here + step, 0), rows.length - 1);
  rows.forEach((row, n) => row.classList.toggle("here", n === here));
  (one("a", rows[here]) || rows[here]).focus();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), select, textarea, dialog, [contenteditable]")) return;
  const row = all(".rows tbody tr")[here];
  if (gone && event.key in PLACES) return location.assign(`${base}/${PLACES[event.key]}`);
  gone = clearTimeout(gone) ?? 0;
  if (event.key === "g") gone = setTimeout(() => { gone = 0; }, 1200);
  else if (event.key === "j") moveTo(1);
  else if (event.key === "k") moveTo(-1);
  else if (event.key === "x" && row) one("input[type=checkbox]", row)?.click();
  else if (event.key === "?") showKeys();
  else if (event.key === "/") { event.preventDefault(); (one("#q") || one("#search"))?.focus(); }
}

// -- begin ---------------------------------------------------------------------------------------------------------------

startLook();
if (window.uPlot) charts.push(...all("figure[data-series]").map((figure) => new Chart(figure)));
charts.forEach((chart) => chart.append());
document.addEventListener("keydown", onKey);
document.addEventListener("click", (event) => all(".menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; }));
one("#keys")?.toggleAttribute("hidden", false);
one("#keys")?.addEventListener("click", showKeys);
setInterval(() => { if (!document.hidden) writeAges(); }, 1000);
startLive();
