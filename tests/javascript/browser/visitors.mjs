// One visitor over pages and tabs: `visitors.mjs BROWSER EXECUTABLE DIST NODE KEY`. Who agrees on the second page is who they were on the
// first; who logs out in one tab has in the other; a purchase of what was not chosen arrives. Prints, as its last line, whose events have
// to be at the core.

import assert from "node:assert/strict";
import { BLANK, BLANK_JS, chromium, shop, until } from "./browsers.mjs";

const [, , , executable, dist, node, key] = process.argv;
const site = await shop({ connect: node, pages: { "/": BLANK, "/blank.js": BLANK_JS }, folders: { "/sdk/": dist } });
const browser = await chromium(executable);
const failures = [];

/** A new tab with a client of `options`, which is ready. */
async function open(options) {
  const page = await browser.page();
  page.on("pageerror", (error) => failures.push(String(error)));
  await page.goto(`${site.origin}/`);
  await until("the SDK to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
  await page.evaluate((options) => (window.client = sdk.createClient(options)).ready(), { baseUrl: node, key, placements: ["theme"], timeoutMs: 5_000, streaming: false, ...options });
  return page;
}
const subject = (page) => page.evaluate(() => client.visitor().subject);
const kept = (page) => page.evaluate(() => JSON.parse(localStorage.getItem("selvedge:ids"))?.subject);
/** What one tab wrote down another one sees a moment later: a browser may have a process for each. */
const seen = (page, subject) => until("the other tab to see it", async () => (await kept(page)) === subject);
const track = (page, n) => page.evaluate((n) => client.track("click", { n }), n);
const flushed = (page) => until("all to be sent", () => page.evaluate(() => client.flush()));

// === Two pages, of which the second does not know yet whether it may ===

const first = await open({});
const visitor = await subject(first);
await track(first, 1);
await flushed(first);
await first.close();
const second = await open({ consent: "pending" });
assert.notEqual(await subject(second), visitor);
await track(second, 2);
await second.evaluate(() => client.setConsent("granted"));
assert.deepEqual([await subject(second), await kept(second)], [visitor, visitor]);
await flushed(second);

// === Two tabs, and somebody who leaves in one of them ===

const third = await open({});
assert.equal(await subject(third), visitor);
await third.evaluate(() => client.identify("u-1"));
await third.evaluate(() => client.identify(null));
const next = await subject(third);
assert.ok(![visitor, "u-1"].includes(next));
await seen(second, next);
await track(second, 3);
await track(third, 4);
assert.deepEqual([await subject(second), await kept(second)], [next, next]);
await Promise.all([flushed(second), flushed(third)]);

// === A purchase of what was chosen, and of what was not ===

const decision = await second.evaluate(() => {
  const { decisionId, ids } = client.decide("theme", "code");
  client.track("purchase", { n: 5 }, { placement: "theme", item: ids[0] });
  client.track("purchase", { n: 6 }, { placement: "theme", item: "sku-7" });
  return decisionId;
});
await flushed(second);

// === What is taken back in one tab is taken back in both ===

await third.evaluate(() => client.setConsent("denied"));
await seen(second, undefined);
await track(second, 7);
await second.evaluate(() => client.flush());
assert.equal(await second.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith("selvedge")).length), 0);

await browser.close();
await site.close();
assert.deepEqual(failures, []);
console.log(JSON.stringify({ told: { 1: visitor, 2: visitor, 3: next, 4: next, 5: next, 6: next }, decision }));
