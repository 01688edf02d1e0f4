// "Why am I seeing this?": a quiet button, and a panel that says of each decision on the page how it came about.

import { find } from "./catalogue.js";
import { fill, h } from "./dom.js";
import * as session from "./session.js";

const REASONS = {
  SCORED: "The model put these first.", RULED: "The merchandiser's rules decided alone.", ASSIGNED: "An experiment put you into this arm.",
  EXPLORED: "A trial: the policy shows this now and then, to learn.", FALLBACK: "Something failed on the way; this is the static order.",
  EMPTY: "Nothing may be shown here.", DEFAULT: "No node answered; the page shows its own order.",
};

const PLACES = { "home-hero": "The picture at the top", "for-you": "For you", shelf: "Everything", "plp-rank": "This kind", "pairs-well": "Goes with it" };

const percent = (value) => `${Math.round(value * 100)}%`;

/** How the inputs of rules and model read, the ones that say most first. */
const FEATURES = {
  affinity: ["Like what you looked at", percent],
  seen: ["Seen in this visit", (value) => (value ? "yes" : "no")],
  "session.last_category": ["You looked at last", String],
  "session.views": ["Things looked at", String],
  "session.mean_price": ["At a mean price of", (value) => `€${Math.round(value)}`],
  "item.popularity": ["Liked by others", percent],
  "item.price": ["Price", (value) => `€${value}`],
  "item.season": ["Season", String],
  "item.stock": ["In stock", String],
  // Weather that no row names is "other" to a node.
  "context.weather": ["Weather", () => session.weather()],
  "context.cart_value": ["In your cart", (value) => `€${value}`],
};

let nodes;
let open = false;
let page = {};

/** Which node minted a decision: the 32 bits of its id that name a node's run. */
function nodeOf(decisionId) {
  const low = BigInt(`0x${decisionId.replaceAll("-", "").slice(16)}`);
  const tag = Number((low >> 30n) & 0xffffffffn);
  return nodes?.find((node) => node.tag === tag)?.name;
}

/** Asks the shop how it would be decided now, with everything that counted. */
async function explain(ask, place) {
  const body = JSON.stringify({ ...ask, context: session.visitor().context });
  try {
    const answer = await fetch("/why", { method: "POST", body });
    if (answer.ok) fill(place, features(await answer.json()));
  } catch {
    // The rest of the panel stands without it.
  }
}

function features({ explanation, choices }) {
  const first = choices[0]?.id;
  const used = (explanation?.features ?? []).filter((each) => FEATURES[each.name] && each.value !== null && (each.candidate === null || each.candidate === first));
  const order = Object.keys(FEATURES);
  used.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const rule = explanation?.rules.find((each) => each.candidate === first);
  const boost = explanation?.candidates.find((each) => each.id === first)?.boost ?? 1;
  return [
    h("h4", {}, `What counted for ${find(first)?.name ?? first}`),
    h("dl", { class: "facts tight" }, used.map(({ name, value }) => h("div", {}, h("dt", {}, FEATURES[name][0]), h("dd", {}, FEATURES[name][1](value))))),
    rule && h("p", { class: "small" }, `Row ${rule.row + 1} of the table “${rule.module}” fired${boost === 1 ? "" : ` and multiplied its score by ${boost}`}.`),
  ].filter(Boolean);
}

/** Why, in words. An arm that learns says more than that somebody is in it. */
function reason({ reason: code, arm }) {
  if (code === "ASSIGNED" && arm === "learned") return "What the policy believes people like best.";
  return REASONS[code] ?? code;
}

function one(ask) {
  const decision = session.decide(ask.placement);
  const first = decision.choices[0];
  const because = decision.values["merchandising.because"];
  const detail = h("div", { class: "why-detail" });
  // The policy of the hero learns from every answer: it is not asked again only to be explained.
  if (ask.placement !== "home-hero" && decision.decisionId) void explain(ask, detail);
  return h(
    "section",
    { class: "why-one" },
    h("h3", {}, PLACES[ask.placement] ?? ask.placement),
    h("p", {}, reason(decision), because && ` The first one is helped: ${because}.`),
    h(
      "dl",
      { class: "facts tight" },
      h("div", {}, h("dt", {}, "Placement"), h("dd", {}, decision.placement)),
      h("div", {}, h("dt", {}, "Reason"), h("dd", {}, decision.reason)),
      decision.arm && h("div", {}, h("dt", {}, "Arm"), h("dd", {}, `${decision.experiment}: ${decision.arm}`)),
      first && first.propensity < 1 && h("div", {}, h("dt", {}, "Chosen with"), h("dd", {}, percent(first.propensity))),
      decision.decisionId && h("div", {}, h("dt", {}, "Answered by"), h("dd", {}, nodeOf(decision.decisionId) ?? "a node")),
      decision.release && h("div", {}, h("dt", {}, "Release"), h("dd", {}, decision.release.slice(7, 15))),
    ),
    detail,
  );
}

function weather() {
  const choice = (name) =>
    h(
      "label",
      {},
      h("input", { type: "radio", name: "weather", value: name, checked: session.weather() === name, "data-key": `weather-${name}`, change: () => void session.setWeather(name) }),
      h("span", {}, name),
    );
  return h("fieldset", { class: "weather" }, h("legend", {}, "Pretend that outside it is"), h("div", {}, session.WEATHERS.map(choice)));
}

async function toggle() {
  open = !open;
  why.draw(page.route, page.named);
  if (!open) return document.getElementById("why-button").focus();
  document.getElementById("why-panel").focus({ preventScroll: true });
  try {
    nodes = (await (await fetch("/counter.json")).json()).nodes;
    why.draw(page.route, page.named);
  } catch {
    // Nodes stay without a name.
  }
}

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && open) void toggle();
});

export const why = {
  /** Draws button and panel for a route. */
  draw(route, named) {
    page = { route, named };
    const asks = route ? session.asks(route, named) : [];
    const place = document.getElementById("why");
    const button = h("button", { id: "why-button", type: "button", class: "why-button", "aria-expanded": String(open), "aria-controls": "why-panel", "data-key": "why", click: () => void toggle() }, open ? "Close" : "Why this?");
    const panel = h(
      "aside",
      { id: "why-panel", class: "why-panel", "aria-label": "Why am I seeing this?", tabindex: "-1", hidden: !open },
      open && [h("h2", {}, "Why am I seeing this?"), weather(), asks.length ? asks.map(one) : h("p", {}, "Nothing on this page was decided.")],
    );
    fill(place, asks.length ? [panel, button] : []);
  },
};
