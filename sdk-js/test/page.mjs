// A page without a browser, for tests of what a client does over time: its storage, its events, and a node that answers as a test says.

import { createClient } from "../dist/esm/index.js";

/** What localStorage is: its keys are properties. */
const METHODS = {
  getItem: { value(key) { return Object.hasOwn(this, key) ? this[key] : null; } },
  setItem: { value(key, value) {
    if (world.full) throw new Error("QuotaExceededError");
    world.writes++;
    this[key] = `${value}`;
  } },
  removeItem: { value(key) { delete this[key]; } },
};

/** What happened since `fresh()`, and what a test may change. */
export const world = {};

/** Everything as on a new machine: nothing stored, nothing told, a node that decides whatever it is asked. */
export function fresh() {
  const target = new EventTarget();
  const set = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  Object.assign(world, { full: false, writes: 0, asked: [], told: [], batches: [], beacons: [], warned: [], requests: [], decide: chosen, events: taken, target });
  set("localStorage", Object.create({}, METHODS));
  set("document", { hidden: false });
  set("navigator", { locks: locks(), sendBeacon: (url, body) => (world.beacons.push({ url, body }), true) });
  set("addEventListener", target.addEventListener.bind(target));
  set("removeEventListener", target.removeEventListener.bind(target));
  set("fetch", request);
  console.warn = (text) => world.warned.push(text);
}

/** The options of a page that asks the node above. */
export const options = { baseUrl: "http://node.example", timeoutMs: 500, streaming: false };
export const client = (more) => createClient({ ...options, ...more });
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** What is stored under keys that begin so, by key. */
export function stored(prefix) {
  return Object.fromEntries(Object.entries(localStorage).filter(([key]) => key.startsWith(`selvedge:${prefix}`)));
}

export function happens(type, more = {}) {
  world.target.dispatchEvent(Object.assign(new Event(type), more));
}

export async function until(what, look) {
  for (const end = Date.now() + 10_000; ; await sleep(5)) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited for ${what}`);
  }
}

let count = 0;
/** The answer of a node: the first choice is `dark`, with a token. */
export function chosen({ placements }) {
  const decisions = placements.map(({ placement, candidates = ["dark", "light"] }) => {
    const choices = candidates.map((id) => ({ id, score: 1, propensity: 1, token: `token-${id}` }));
    return { decision_id: `00000000-0000-7000-8000-0000${(++count).toString(16).padStart(8, "0")}`, placement, release: "sha256:1", reason: "SCORED", arm: null, choices };
  });
  return { decisions, release: "sha256:1" };
}

export function taken() {
  return { accepted: 1, duplicates: 0, rejected: [] };
}

/** As a node refuses. */
export const refuse = (status, code, more = {}) => ({ status, body: { error: { code, message: "because" }, ...more } });

async function request(address, { body, signal, keepalive } = {}) {
  const url = new URL(address);
  const path = url.pathname.split("/").pop();
  const said = body && JSON.parse(body);
  world.requests.push({ path, url, said, keepalive });
  if (path === "decide") world.asked.push(said);
  const gone = new Promise((_, fail) => signal?.addEventListener("abort", () => fail(new Error("aborted"))));
  const answer = await Promise.race([path === "decide" ? world.decide(said) : world.events(said), gone]);
  if (path === "events" && (answer.status ?? 202) < 300) world.told.push(...said.batch);
  return new Response(JSON.stringify(answer.status ? answer.body : answer), { status: answer.status ?? 200 });
}

function locks() {
  const held = new Map();
  return {
    async request(name, options, act = options) {
      if (held.has(name) && options.ifAvailable) return act(null);
      while (held.has(name)) await held.get(name);
      const work = Promise.resolve().then(() => act({ name }));
      held.set(name, work);
      await work.finally(() => held.delete(name));
    },
  };
}
