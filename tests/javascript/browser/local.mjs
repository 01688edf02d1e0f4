// A page that decides by itself: `local.mjs BROWSER EXECUTABLE DIST NODE KEY`. It asks nobody for a decision, its records reach the node
// once, also those of a page that ends at once; another visitor's rows are theirs; another release is taken over, and one that could not
// be fetched is tried again. Prints what has to be at the core. The release changes when `n: 1` is there: hero says `first`, then `second`.

import assert from "node:assert/strict";
import { BLANK, BLANK_JS, chromium, shop, until } from "./browsers.mjs";

const [, , , executable, dist, node, key] = process.argv;
const site = await shop({ connect: node, pages: { "/": BLANK, "/blank.js": BLANK_JS, "/other": BLANK }, folders: { "/sdk/": dist }, wasm: true });
const browser = await chromium(executable);
const failures = [];
const warnings = [];
let asked = [];

async function open() {
  const page = await browser.page();
  page.on("pageerror", (error) => failures.push(String(error)));
  page.on("console", (message) => message.text().startsWith("[selvedge]") && warnings.push(message.text()));
  page.on("request", (request) => request.url().startsWith(node) && asked.push(new URL(request.url())));
  await page.goto(`${site.origin}/`);
  await until("the SDK to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
  return page;
}
const paths = () => asked.map(({ pathname }) => pathname.split("/").pop());
const options = { baseUrl: node, key, subject: "u-1", context: { country: "DE" }, placements: ["hero"], timeoutMs: 10_000, engine: "local", wasm: "/sdk/engine.wasm" };
/** What the page reads of `hero`: the text of its release, and the score, which is the visitor's own. */
const hero = (page) =>
  page.evaluate(() => {
    const { value, choices, decisionId, source, release } = client.decide("hero", { text: "code" });
    return { text: value.text, score: choices[0]?.score, decisionId, source, release };
  });
const all = (page) => until("all to be sent", () => page.evaluate(() => client.flush()));
const made = [];

// === Decided in the page, told to the node ===

const page = await open();
// The release is asked for while the engine's own file comes, and once.
await page.route("**/local.js", async (route) => {
  await until("the release to be asked for", () => paths().includes("release"));
  await route.continue();
});
const state = await page.evaluate((options) => (window.client = sdk.createClient(options)).ready(), options);
assert.equal(state, "fresh", warnings.join("\n"));
assert.deepEqual([paths().filter((path) => path === "release").length, paths().includes("decide")], [1, false], paths().join());
const first = await hero(page);
assert.deepEqual([first.text, first.score, first.source], ["first", 7, "fresh"]);
// One more, at once, of a placement that was not named; and one of named items.
asked = [];
const more = await page.evaluate(async () => {
  const plain = client.decide("plain", null).decisionId;
  const ranked = await client.rank("list", ["sku-1", "sku-2", "sku-3"], 2);
  return { plain, ranked };
});
assert.deepEqual(more.ranked.ids, ["sku-3", "sku-2"]);
assert.deepEqual(paths().filter((path) => !["records", "events", "stream"].includes(path)), []);
made.push(first.decisionId, more.plain, more.ranked.decisionId);
await page.evaluate(() => client.track("select_promotion", { n: 10 }, { placement: "hero" }));

// What a node refuses, a page refuses too: no record of it could be taken.
const refused = await page.evaluate(async () => (await client.rank("list", ["sku-1", "x".repeat(600)])).error?.code);
assert.equal(refused, "out_of_bounds");
// Of very many a record would be too long: the node decides.
asked = [];
const long = await page.evaluate(async () => {
  const { ids, decisionId } = await client.rank("list", Array.from({ length: 350 }, (_, at) => `${at}-${"x".repeat(140)}`), 1);
  return { ids, decisionId };
});
assert.ok(paths().includes("decide") && long.ids.length === 1 && long.decisionId);

// === After an event only what is the visitor's own is asked for again ===

asked = [];
await page.evaluate(async () => {
  client.track("click", { n: 11 });
  await client.refresh();
});
made.push((await hero(page)).decisionId);
const rows = () => asked.filter(({ pathname }) => pathname.endsWith("/features"));
await until("the visitor's rows to be asked for", () => rows().length);
assert.ok(rows().every(({ searchParams }) => !searchParams.has("all")), rows().join("\n"));

// === Somebody else, by their own rows ===

await page.evaluate(() => client.identify("u-2"));
const other = await hero(page);
assert.deepEqual([other.text, other.score], ["first", 2]);
made.push(other.decisionId);

// === Another release, which cannot be fetched at first ===

// Twice: the visitor's rows may say first that another release runs.
let failed = 0;
await page.route(/\/v1\/browser\/release/, (route) => (++failed > 2 ? route.continue() : route.abort("connectionfailed")));
await page.evaluate(() => {
  window.told = [];
  client.on("stale", ({ code }) => told.push(["stale", code]));
  client.on("ready", (state) => told.push(["ready", state]));
  client.track("click", { n: 1 });
  return client.flush();
});
await until("the second release to decide", async () => (await hero(page)).text === "second", 60_000);
assert.ok(failed > 2);
assert.deepEqual(await page.evaluate(() => told), [["stale", "unreachable"], ["ready", "fresh"]]);
const second = await hero(page);
assert.notEqual(second.release, first.release);
made.push(second.decisionId);
await all(page);
await page.evaluate(() => client.close());

// === A page that ends at once ===

const last = await open();
// A release that is answered when the engine is there brings all that is little.
const here = last.waitForRequest("**/engine.wasm");
await last.route(/\/v1\/browser\/release/, async (route) => {
  await here;
  await route.continue();
});
asked = [];
await last.evaluate((options) => (window.client = sdk.createClient(options)).ready(), { ...options, subject: "u-3" });
made.push((await hero(last)).decisionId);
assert.ok(paths().includes("release") && !paths().includes("features"), paths().join());
await Promise.all([
  last.waitForURL("**/other"),
  last.evaluate(() => {
    client.close();
    location.assign("/other");
  }).catch(() => {}),
]);
await until("the SDK to be loaded", () => last.evaluate(() => document.documentElement.dataset.loaded === "yes"));
await last.evaluate((options) => (window.client = sdk.createClient(options)).ready(), { ...options, engine: "remote" });
const left = () => last.evaluate(() => Object.keys(localStorage).filter((name) => /^selvedge:(events|records):/.test(name)).length);
await until("what it left to be sent", async () => (await last.evaluate(() => client.flush())) && (await left()) === 0);
await browser.close();
await site.close();
assert.deepEqual(failures, []);
// That the release could not be fetched is the one thing that is told.
assert.ok(warnings.every((text) => /\[unreachable\]$/.test(text)), warnings.join("\n"));
console.log(JSON.stringify({ made, tracked: [1, 10, 11] }));
