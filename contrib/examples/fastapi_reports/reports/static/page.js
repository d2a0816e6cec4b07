"use strict";

const form = document.getElementById("order");
const error = document.getElementById("error");
const list = document.getElementById("list");
const template = document.getElementById("report");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function complain(text) {
  error.textContent = text;
  error.hidden = !text;
}

function draw(chart, totals) {
  const most = Math.max(...totals, 1);
  chart.replaceChildren(...MONTHS.map((month, n) => {
    const column = document.createElement("div");
    const bar = document.createElement("span");
    const label = document.createElement("small");
    bar.style.height = `${n < totals.length ? Math.max(3, 100 * totals[n] / most) : 0}%`;
    bar.title = n < totals.length ? totals[n].toLocaleString("en") : "";
    label.textContent = month;
    column.append(bar, label);
    return column;
  }));
}

function addReport(id, year) {
  const report = template.content.firstElementChild.cloneNode(true);
  const state = report.querySelector(".state");
  const chart = report.querySelector(".chart");
  report.querySelector("h2").textContent = `Sales of ${year}`;
  chart.setAttribute("aria-label", `Sales of ${year} by month`);
  draw(chart, []);
  list.prepend(report);

  const events = new EventSource(`reports/${id}/events`);
  events.addEventListener("progress", (event) => {
    const { state: name, info } = JSON.parse(event.data);
    if (name === "PROGRESS") {
      state.textContent = `summing up ${info.month}`;
      report.querySelector("progress").value = info.done;
      draw(chart, info.totals);
    }
  });
  events.addEventListener("done", (event) => {
    events.close(); // or the browser would ask again
    const { state: name, info, error: failure } = JSON.parse(event.data);
    report.dataset.state = name;
    report.querySelector("progress").remove();
    if (failure) {
      state.textContent = "failed";
      report.querySelector(".end").textContent = failure.message;
      return;
    }
    state.textContent = "done";
    draw(chart, info.totals);
    const sum = info.totals.reduce((a, b) => a + b, 0).toLocaleString("en");
    const link = document.createElement("a");
    link.href = `reports/${id}/file`;
    link.textContent = "CSV file";
    report.querySelector(".end").append(`${sum} in all. `, link);
  });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const year = document.getElementById("year").valueAsNumber;
  const answer = await fetch("reports", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ year }),
  });
  complain(answer.ok ? "" : `The server says ${answer.status}.`);
  if (answer.ok) {
    addReport((await answer.json()).id, year);
  }
});
