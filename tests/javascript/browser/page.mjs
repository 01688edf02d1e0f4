// What a page does with the SDK, in a real browser against a real node: `page.mjs BROWSER EXECUTABLE DIST NODE KEY`. Prints, as its last
// line, what has to arrive at the core. Exits 1 with what is wrong.

import assert from "node:assert/strict";
import { BLANK, BLANK_JS, chromium, firefox, shop, until } from "./browsers.mjs";

const [, , which, executable, dist, node, key] = process.argv;
const site = await shop({ connect: node, pages: { "/": BLANK, "/blank.js": BLANK_JS }, folders: { "/sdk/": dist } });
const browser = await { chromium, firefox }[which](executable);
const failures = [];

/** A new page with the SDK, whose errors count as ours. */
async function open() {
  const page = await browser.page();
  page.on("pageerror", (error) => failures.push(String(error)));
  await page.goto(`${site.origin}/`);
  await until("the SDK to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
  return page;
}

/** What `act` comes to in the page, as JSON: drivers carry objects only so deep. */
async function inside(page, act, argument) {
  const text = await page.evaluate(`(async () => JSON.stringify((await (${act})(${JSON.stringify(argument)})) ?? null))()`);
  return JSON.parse(text);
}

const options = { baseUrl: node, key, subject: "u-1", context: { country: "DE", cart_value: 120 }, placements: ["hero"], timeoutMs: 5_000 };

// === Decides, is told of as seen once, tracks ===

const page = await open();
const first = await inside(page, async (options) => {
  const client = (window.client = sdk.createClient(options));
  const early = client.decide("hero", { banner: "code.svg" });
  const state = await client.ready();
  const decision = client.decide("hero", { banner: "code.svg" });
  client.decide("hero", { banner: "code.svg" });
  client.track("select_promotion", { n: 1 }, { decision });
  client.track("view_item", { n: 2, item_id: "sku-1" });
  return { early, state, decision, ids: client.visitor(), flushed: await client.flush() };
}, options);
assert.equal(first.early.source, "default");
assert.equal(first.state, "fresh");
assert.equal(first.decision.value.banner, "vip.svg", JSON.stringify(first.decision));
assert.equal(first.decision.source, "fresh");
assert.equal(first.flushed, true);

// === Another context, candidates, what is read without having been asked for ===

const second = await inside(page, async () => {
  const changed = [];
  client.on("change", (placements) => changed.push(...placements));
  const state = await client.setContext({ country: "DE", cart_value: 0 });
  const ranked = await client.rank("rank", ["sku-1", "sku-2", "sku-3"], 2);
  const unasked = client.decide("theme", "light");
  return { state, hero: client.decide("hero", {}).ids, ranked: ranked.ids, unasked: unasked.source, changed };
});
assert.equal(second.state, "fresh");
assert.deepEqual(second.ranked, ["sku-2", "sku-1"]);
assert.equal(second.unasked, "default");
await until("what was read to be asked for", () => page.evaluate(() => client.decide("theme", "light").source === "fresh"));

// === Offline and online again: what was tracked meanwhile arrives ===

if (browser.context) {
  await browser.context.setOffline(true);
  await page.evaluate(() => client.track("view_item", { n: 3 }));
  assert.equal(await page.evaluate(() => client.flush()), false);
  await browser.context.setOffline(false);
  await until("what waited to be sent", () => page.evaluate(() => client.flush()));
}

// === The next page of the same visitor knows what was decided, also where nobody decides ===

const cached = await inside(page, async (options) => {
  const cut = sdk.createClient({ ...options, decidePath: "/v1/browser/events", timeoutMs: 300, streaming: false });
  const state = await cut.ready();
  const decision = cut.decide("hero", { banner: "code.svg" });
  await cut.close();
  return { state, source: decision.source };
}, options);
assert.deepEqual(cached, { state: "cached", source: "cached" });

await page.evaluate(() => client.close());
await page.close();
await browser.close();
await site.close();
assert.deepEqual(failures, []);
console.log(JSON.stringify({ hero: first.decision.decisionId, subject: first.ids.subject, tracked: browser.context ? [1, 2, 3] : [1, 2] }));
