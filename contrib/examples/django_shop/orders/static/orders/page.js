"use strict";

const list = document.getElementById("orders");
const none = document.getElementById("none");

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function show(orders) {
  none.hidden = orders.length > 0;
  list.replaceChildren(...orders.map((order) => {
    const row = document.createElement("li");
    row.dataset.state = order.state;
    row.dataset.id = order.id;
    const letters = element("div", "", "letters");
    for (const letter of order.letters) {
      letters.append(element("span", `${letter.sent ? "✓" : "…"} ${letter.kind}`, letter.sent ? "sent" : ""));
    }
    const what = element("div", "", "what");
    what.append(element("strong", `${order.id}. ${order.product}`), element("small", order.email));
    row.append(what, letters, element("span", order.state, "state"));
    return row;
  }));
}

async function look(orders) {
  show(orders);
  while (orders.some((order) => order.state !== "shipped")) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    orders = (await (await fetch(list.dataset.url)).json()).orders;
    show(orders);
  }
}

look(JSON.parse(document.getElementById("start").textContent));
