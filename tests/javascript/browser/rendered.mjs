// A page that Node.js renders: `rendered.mjs BROWSER EXECUTABLE DIST NODE KEY`. It starts from what the server decided: no second
// request, nothing moves, what was shown is told once, and whatever is in the data stays data. Exits 1 with what is wrong.

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { chromium, shop, until } from "./browsers.mjs";

const [, , , executable, dist, node, key] = process.argv;
const { createServer } = await import(pathToFileURL(join(dist, "esm/server.js")));
const hostile = "</script><script>window.hostile = true</script><!--";

const server = createServer({ baseUrl: node, timeoutMs: 5_000 });
let rendered;
const render = async (request, response) => {
  const visitor = server.visitor(request.headers.cookie);
  const context = { country: hostile, cart_value: 120 };
  rendered = await server.page({ ...visitor, context, placements: ["hero", "theme", "nothing", { placement: "rank", candidates: ["sku-1", "sku-2"], slots: 1 }] });
  response.setHeader("set-cookie", visitor.cookies);
  const hero = rendered.decide("hero", { banner: "code.svg" });
  const [first] = rendered.decide("rank", null).ids;
  return `<!doctype html><html lang="en"><title>Shop</title><h1>${hero.value.banner}</h1><p>${first}</p>${rendered.script()}<script type="module" src="/page.js"></script></html>`;
};
const page_js = `
  import { createClient } from "/sdk/esm/index.js";
  const bootstrap = document.getElementById("selvedge").textContent;
  const client = (window.client = createClient({ baseUrl: ${JSON.stringify(node)}, key: ${JSON.stringify(key)}, bootstrap, placements: ["hero", "theme"] }));
  // At once, before anything was awaited.
  window.early = client.decide("hero", { banner: "code.svg" });
  document.querySelector("h1").textContent = window.early.value.banner;
  window.state = await client.ready();
  window.theme = client.decide("theme", "code");
  window.ranked = client.decide("rank", null);
  window.nothing = client.decide("nothing", "code");
  document.documentElement.dataset.loaded = "yes";
`;
const site = await shop({ connect: node, pages: { "/": render, "/page.js": page_js }, folders: { "/sdk/": dist } });
const browser = await chromium(executable);
const page = await browser.page();
const asked = [];
const told = [];
page.on("request", (request) => {
  if (request.url().includes("/v1/browser/decide")) asked.push(request.url());
  if (request.url().includes("/v1/browser/events")) told.push(...JSON.parse(request.postData()).batch);
});
await page.addInitScript(() => {
  window.shift = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => (window.shift += entry.value))).observe({ type: "layout-shift", buffered: true });
});

await page.goto(`${site.origin}/`);
const loaded = () => page.evaluate(() => document.documentElement.dataset.loaded === "yes");
await until("the page to start", loaded);
const found = await page.evaluate(() => ({ early, state, theme, ranked, nothing, shift, hostile: window.hostile, text: document.querySelector("h1").textContent, ids: client.visitor() }));
assert.equal(found.state, "bootstrap");
assert.deepEqual([found.early.source, found.early.value, found.text], ["bootstrap", { banner: "vip.svg" }, "vip.svg"]);
assert.deepEqual([found.theme.source, found.theme.value, found.ranked.ids], ["bootstrap", "dark", ["sku-2"]]);
assert.equal(found.nothing.error.code, "unknown_placement");
assert.equal(found.hostile, undefined);
assert.equal(found.shift, 0);
const { subject, session, read } = rendered.bootstrap();
assert.deepEqual([found.ids.subject, found.ids.session, found.ids.context.country], [subject, session, hostile]);
assert.equal(await page.evaluate(() => client.flush()), true);
assert.deepEqual(asked, []);
// Hero and rank were shown by the server and read again by the page, theme was read by the page alone: once each.
assert.equal(read.length, 2);
const exposed = told.filter((event) => event.event === "$exposure").map((event) => event.properties.placement);
assert.deepEqual(exposed.sort(), ["hero", "rank", "theme"]);

// The same visitor on the next page, by the cookies; and another question only when the page asks one.
await page.reload();
await until("the page to start again", loaded);
assert.equal((await page.evaluate(() => client.visitor())).subject, subject);
assert.deepEqual(asked, []);
assert.equal(await page.evaluate(() => client.refresh()), "fresh");
assert.equal(asked.length, 1);
await browser.close();
await site.close();
console.log("{}");
