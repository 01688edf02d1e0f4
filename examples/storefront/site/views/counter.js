// Behind the counter: who answers, what the policy learned beside the truth, and two switches to try what happens.

import { all, find } from "../catalogue.js";
import { bring, h } from "../dom.js";

export const title = () => "Behind the counter";

const HEROES = { coats: "The coat room", clay: "From the kiln", knits: "Lambswool season", delivery: "On the house" };
const EVERY_MS = 1000;

/** What stands behind it, drawn once and then brought up to date: it is read while it changes. */
const place = h("div", { id: "counter", class: "counter" });

let timer;
let state;

async function post(path, body) {
  await fetch(path, { method: "POST", body: JSON.stringify(body) });
}

const percent = (value, digits = 0) => `${(value * 100).toFixed(digits)}%`;

function nodes({ nodes: all, apart, core }) {
  const row = (node) =>
    h("tr", {}, h("th", { scope: "row" }, node.name), h("td", {}, node.is_up ? "answers" : "does not answer"), h("td", { class: "mono" }, node.release?.slice(7, 15) ?? "none"), h("td", { class: "mono roomy" }, node.http));
  const switched = () => void post("/counter/core", { up: !state.core.up });
  return h(
    "section",
    { class: "panel", "aria-labelledby": "nodes" },
    h("h2", { id: "nodes" }, "Who answers"),
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ["Node", "State", "Release", "Address"].map((name) => h("th", { scope: "col", class: name === "Address" && "roomy" }, name)))),
      h("tbody", {}, all.map(row)),
    ),
    h("p", {}, core.up ? "The core is there. " : "The core is gone. Nodes go on with what they have, and keep what they have to tell. ", apart ? "Each visit stays with one node until the core is back." : "Requests go to the nodes in turn."),
    h("p", {}, h("button", { type: "button", class: "button plain", "data-key": "core", click: switched }, core.up ? "Stop nats-server" : "Start nats-server again")),
  );
}

/** The shares of the heroes over time, as bands on top of each other. */
function drawing(points) {
  const text = (value) => value.toFixed(1);
  const shares = points.map(({ shown }) => {
    const sum = shown.reduce((a, b) => a + b, 0) || 1;
    return shown.map((count) => count / sum);
  });
  const x = (at) => (shares.length > 1 ? (at / (shares.length - 1)) * 600 : 0);
  const bands = Object.keys(HEROES).map((_, band) => {
    const below = shares.map((share) => share.slice(0, band).reduce((a, b) => a + b, 0));
    const top = shares.map((share, at) => below[at] + share[band]);
    const up = top.map((y, at) => `${text(x(at))} ${text(160 - y * 160)}`);
    const down = below.map((y, at) => `${text(x(at))} ${text(160 - y * 160)}`).reverse();
    return `<path class="band-${band}" d="M${[...up, ...down].join("L")}Z"/>`;
  });
  const parsed = new DOMParser().parseFromString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 160" preserveAspectRatio="none" aria-hidden="true">${shares.length > 1 ? bands.join("") : ""}</svg>`, "image/svg+xml");
  return document.importNode(parsed.documentElement, true);
}

function learning({ learning: { heroes, points, visits } }) {
  const all = heroes.reduce((sum, hero) => sum + hero.shown, 0) || 1;
  const latest = points.slice(-4).reduce((sums, { shown }) => sums.map((sum, at) => sum + shown[at]), [0, 0, 0, 0]);
  const recent = latest.reduce((a, b) => a + b, 0) || 1;
  const row = (hero, at) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, h("span", { class: `swatch band-${at}`, "aria-hidden": "true" }), HEROES[hero.id]),
      h("td", {}, percent(hero.truth)),
      h("td", {}, hero.shown ? percent(hero.clicked / hero.shown, 1) : "–"),
      h("td", {}, percent(hero.shown / all)),
      h("td", {}, percent(latest[at] / recent)),
    );
  return h(
    "section",
    { class: "panel", "aria-labelledby": "learning" },
    h("h2", { id: "learning" }, "What the picture at the top learned"),
    h("p", {}, `${visits} simulated visits so far. They click with the probabilities in the column “Truth”, which nothing that decides can read.`),
    h("div", { class: "bands" }, drawing(points)),
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ["Hero", "Truth", "Clicked", "Shown", "Lately"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, heroes.map(row)),
    ),
  );
}

function stock() {
  const products = all().filter((product) => product.stock > 0).slice(0, 12);
  const sell = ({ id, name }) => async () => {
    await post("/counter/stock", { id, stock: 0 });
    document.getElementById("said").textContent = `${name} is sold out and leaves every page.`;
    const product = find(id);
    if (product) product.stock = 0;
    void look();
  };
  return h(
    "section",
    { class: "panel", "aria-labelledby": "stock" },
    h("h2", { id: "stock" }, "Sell something out"),
    h("p", {}, "It leaves every page with the next decision."),
    h("ul", { class: "stock" }, products.map((product) => h("li", { "data-key": product.id }, h("button", { type: "button", class: "button plain", click: sell(product) }, product.name)))),
  );
}

function table({ shop }) {
  return h(
    "section",
    { class: "panel", "aria-labelledby": "table" },
    h("h2", { id: "table" }, "The merchandiser’s table"),
    h("p", {}, "Save a row, and open pages change within two seconds. A table with a mistake stays out, and the old one goes on."),
    h("p", { class: "mono wraps" }, `${shop}/modules/merchandising.csv`),
  );
}

async function look() {
  clearTimeout(timer);
  if (!place.isConnected) return;
  try {
    state = await (await fetch("/counter.json")).json();
    bring(place, h("div", { class: "stack" }, nodes(state), table(state)), learning(state), stock());
  } catch {
    bring(place, h("p", { class: "empty" }, "The shop does not answer."));
  }
  clearTimeout(timer);
  timer = setTimeout(look, EVERY_MS);
}

export const arrive = () => void look();

export const draw = () => [
  h("header", { class: "shelf-head" }, h("h1", {}, "Behind the counter"), h("p", {}, "Two nodes, a core, and a policy that learns.")),
  place,
];
