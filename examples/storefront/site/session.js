// The one file that knows the SDK: the visit's client, what a route asks for, and what happened. Views read decisions by placement.

import { createClient } from "./sdk/index.js";
import * as cart from "./cart.js";
import { candidates } from "./catalogue.js";

/** What the weather may be, in a shop without windows. */
export const WEATHERS = ["dry", "rain", "cold"];

const start = JSON.parse(document.getElementById("decisions").textContent);

/** The weather of this visit. Where nothing may be kept, it lives as long as the page. */
let pretended = kept();

const context = () => ({ weather: weather(), cart_value: cart.total() });

const client = createClient({
  baseUrl: location.origin,
  key: start.key,
  decidePath: start.paths.decide,
  eventsPath: start.paths.events,
  bootstrap: start.bootstrap,
  context: context(),
  subject: start.bootstrap.subject,
  session: start.bootstrap.session,
  timeoutMs: 5_000,
});

/** How long another route waits for its decisions; what comes later changes the page when it comes. */
const PATIENCE_MS = 900;

export const ready = () => client.ready();
export const visitor = () => client.visitor();
export const onChange = (listener) => client.on("change", listener);

/** What pages of a route ask, in the SDK's words. */
export function asks(route, named) {
  return route.placements.map(({ placement, slots, candidates: word }) => ({
    placement,
    ...(slots && { slots }),
    ...(word && { candidates: candidates(word, named) }),
  }));
}

/** Asks for what another route shows, after what happened is told; resolves when it is there, or soon. */
export function go(route, named) {
  const asked = client.flush().then(() => client.refresh(asks(route, named)));
  return Promise.race([asked, new Promise((done) => setTimeout(done, PATIENCE_MS))]);
}

/** The decision of a placement as it is held now. */
export const decide = (placement) => client.decide(placement, null);

/** The ids of a ranked placement that may stand on this page; in the order of the catalogue when no node answers. */
export function ranked(placement, allowed, count) {
  const decision = client.decide(placement, null);
  const may = new Set(allowed);
  const ids = decision.ids.filter((id) => may.has(id));
  // Of another kind, or none: the order of the catalogue, until the answer is there.
  return { decision, ids: (ids.length ? ids : allowed).slice(0, count) };
}

/** Something happened; `cause` is the decision and the choice that it follows from. */
export function track(name, item, properties, cause) {
  client.track(name, { ...properties, item_id: item }, cause ?? {});
  // At once: the next page shall know.
  void client.flush();
}

// === What a view follows from ===

let cause;

/** A choice was clicked: the view of it that comes next follows from the decision that put it there. */
export function chose(placement, item) {
  cause = { item, from: { decision: client.decide(placement, null), item } };
}

/** What the view of an item follows from, once. */
export function takeCause(item) {
  const found = cause?.item === item ? cause.from : undefined;
  cause = undefined;
  return found;
}

// === What the page knows of the moment ===

function kept() {
  try {
    return sessionStorage.getItem("weather");
  } catch {
    return null;
  }
}

export function weather() {
  return WEATHERS.includes(pretended) ? pretended : "dry";
}

export async function setWeather(next) {
  pretended = next;
  try {
    sessionStorage.setItem("weather", next);
  } catch {
    // The page knows it.
  }
  await moment();
}

/** The moment changed: decide anew, and tell the server for the next page it renders. */
export async function moment() {
  document.cookie = `context=${encodeURIComponent(JSON.stringify(context()))}; path=/; samesite=lax`;
  return client.setContext(context());
}
