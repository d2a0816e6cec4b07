"use strict";

const form = document.getElementById("upload");
const input = document.getElementById("pictures");
const chosen = document.getElementById("chosen");
const hint = chosen.textContent;
const error = document.getElementById("error");
const list = document.getElementById("list");
const template = document.getElementById("row");
const open = new Map(); // the rows of tasks that have not finished, by id
const WORDS = { PENDING: "waiting", STARTED: "working", PROGRESS: "working", RETRY: "again soon", SUCCESS: "done",
                FAILURE: "failed", REVOKED: "cancelled" };

function complain(text) {
  error.textContent = text;
  error.hidden = !text;
}

function addRow(picture) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.querySelector(".name").textContent = picture.name;
  list.prepend(row);
  open.set(picture.id, row);
}

function show(picture) {
  const row = open.get(picture.id);
  row.dataset.state = picture.state;
  row.querySelector(".state").textContent = picture.error || WORDS[picture.state] || picture.state;
  row.querySelector("progress").value = picture.done;
  if (picture.urls) {
    for (const url of picture.urls) {
      const image = document.createElement("img");
      image.src = url;
      image.alt = "";
      row.querySelector(".made").append(image);
    }
  }
  if (picture.done === 1) {
    open.delete(picture.id);
  }
}

async function look() {
  while (open.size) {
    const query = [...open.keys()].map((id) => "id=" + encodeURIComponent(id)).join("&");
    const answer = await fetch(form.dataset.url + "?" + query);
    (await answer.json()).pictures.forEach(show);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

input.addEventListener("change", () => {
  chosen.textContent = [...input.files].map((file) => file.name).join(", ") || hint;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch(form.dataset.url, { method: "POST", body: new FormData(form) });
  const told = await answer.json();
  complain(told.error || "");
  if (told.pictures) {
    const idle = open.size === 0;
    told.pictures.forEach(addRow);
    form.reset();
    chosen.textContent = hint;
    if (idle) {
      look().catch((failure) => complain(String(failure)));
    }
  }
});
