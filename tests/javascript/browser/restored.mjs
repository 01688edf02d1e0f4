// A page that is left with events that could not be sent, and comes back out of the browser's cache of pages:
// `restored.mjs BROWSER EXECUTABLE DIST NODE KEY`. The SDK does not keep the page out of that cache, and every event is told once.

import assert from "node:assert/strict";
import { BLANK, BLANK_JS, chromium, shop, until } from "./browsers.mjs";

const [, , , executable, dist, node, key] = process.argv;
const other = "<!doctype html><html lang=\"en\"><title>Other</title><p>Other</p></html>";
const site = await shop({ connect: node, pages: { "/": BLANK, "/blank.js": BLANK_JS, "/other": other }, folders: { "/sdk/": dist } });
const browser = await chromium(executable, { ignoreDefaultArgs: ["--disable-back-forward-cache"] });
const page = await browser.page();
const told = [];
let blocked = true;
await browser.context.route(/\/v1\/browser\/events/, (route) => {
  if (blocked) return route.abort();
  told.push(...JSON.parse(route.request().postData()).batch);
  return route.continue();
});
await page.goto(`${site.origin}/`);
await until("the SDK to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
await page.evaluate((options) => {
  addEventListener("pageshow", ({ persisted }) => (window.persisted = persisted));
  window.client = sdk.createClient(options);
  for (let n = 0; n < 30; n++) client.track("click", { n });
  return client.ready();
}, { baseUrl: node, key, placements: ["theme"], timeoutMs: 5_000 });
await page.goto(`${site.origin}/other`);
const kept = () => page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith("selvedge:events:")).length);
assert.ok((await kept()) > 0);
// The driver waits for a load that a page out of the cache does not have.
await page.goBack({ waitUntil: "commit", timeout: 2_000 }).catch(() => {});
assert.equal(await page.evaluate(() => window.persisted), true);
blocked = false;
await page.evaluate(() => client.track("click", { n: 30 }));
await until("all to be told", async () => (await page.evaluate(() => client.flush())) && (await kept()) === 0);
assert.deepEqual(told.map(({ properties }) => properties.n).sort((one, two) => one - two), Array.from({ length: 31 }, (_, n) => n));
await browser.close();
await site.close();
console.log("{}");
