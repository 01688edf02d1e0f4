// Whatever is wrong: `wrong.mjs BROWSER EXECUTABLE DIST NODE KEY`. The page has its defaults, one readable warning, and no exception.
// Prints, as its last line, which event was told by a clock that is wrong. Exits 1 with what is wrong.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { BLANK, BLANK_JS, chromium, shop, until } from "./browsers.mjs";

const [, , , executable, dist, node, key] = process.argv;
const sandboxed = (_, response) => {
  response.setHeader("content-security-policy", "sandbox allow-scripts");
  return BLANK;
};

/** Somebody who is no node, or another one than this SDK knows. */
async function server(status, type, body, headers = { "access-control-allow-origin": "*" }) {
  const made = createServer((_, response) => response.writeHead(status, { "content-type": type, ...headers }).end(body));
  await new Promise((done) => made.listen(0, "127.0.0.1", done));
  return { base: `http://127.0.0.1:${made.address().port}`, close: () => made.close().closeAllConnections() };
}

const error = (code, message) => JSON.stringify({ error: { code, message } });
const impostors = {
  key: await server(401, "application/json", error("bad_key", "no such key")),
  origin: await server(200, "application/json", '{"decisions":[]}', {}),
  html: await server(200, "text/html", "<!doctype html><p>Welcome to our network"),
  newer: await server(426, "application/json", error("protocol", "this node speaks protocol 2")),
  older: await server(404, "application/json", error("not_found", "no such path: /v1/browser/decide")),
  busy: await server(503, "application/json", error("not_ready", "no release yet")),
  odd: await server(200, "application/json", '{"decisions":[null,{"placement":"hero"},7]}'),
};
const SNIPPET = `<!doctype html><html lang="en"><title>Shop</title><script src="/sdk/iife/snippet.js" data-hide="#hero" data-hide-2="p" data-hide-3="::bad(" data-hide-4="p" data-timeout="1500"></script><h1 id="hero">Hero</h1><p>List</p><em>All else</em></html>`;
const connect = [node, "http://127.0.0.1:9", ...Object.values(impostors).map((each) => each.base)].join(" ");
const site = await shop({
  connect,
  pages: { "/": BLANK, "/blank.js": BLANK_JS, "/sandboxed": sandboxed, "/snippet": SNIPPET },
  folders: { "/sdk/": dist },
});
const browser = await chromium(executable);

/** A client made by `options` in a new page: what it is ready with, reads, and warns of. */
async function check(what, options, { ready = "defaults", value = "code", warning, path = "/", before, flushed }) {
  const page = await browser.page();
  const warnings = [];
  const errors = [];
  page.on("console", (message) => message.text().startsWith("[selvedge]") && warnings.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  await before?.(page);
  await page.goto(`${site.origin}${path}`);
  await until("the SDK to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
  const found = await page.evaluate(async (options) => {
    const client = sdk.createClient({ timeoutMs: 3_000, placements: ["theme"], streaming: false, ...options });
    const state = await client.ready();
    const { value } = client.decide("theme", "code");
    client.track("click", { n: 900 });
    return { state, value, flushed: await client.flush() };
  }, options);
  assert.deepEqual([found.state, found.value], [ready, value], what);
  if (flushed !== undefined) assert.equal(found.flushed, flushed, what);
  if (warning) {
    assert.equal(warnings.length, 1, `${what}: ${warnings}`);
    assert.match(warnings[0], warning, what);
  } else assert.deepEqual(warnings, [], what);
  assert.deepEqual(errors, [], what);
  await page.close();
}

const memory = { key, storage: "memory" };
await check("all is well", { ...memory, baseUrl: node }, { ready: "fresh", value: "dark", flushed: true });
await check("wrong key", { ...memory, baseUrl: impostors.key.base }, { warning: /no such key \[bad_key\]$/ });
await check("foreign origin", { ...memory, baseUrl: impostors.origin.base }, { warning: /does not allow this origin \[unreachable\]$/ });
await check("HTML", { ...memory, baseUrl: impostors.html.base }, { warning: /answered 200 \(text\/html\).*\[not_a_node\]$/ });
await check("a newer node", { ...memory, baseUrl: impostors.newer.base }, { warning: /speaks protocol 2; this SDK speaks protocol 1 \[protocol\]$/ });
await check("an older node", { ...memory, baseUrl: impostors.older.base }, { warning: /no such path.*\[not_found\]$/ });
await check("a node without a release", { ...memory, baseUrl: impostors.busy.base }, { warning: /no release yet \[not_ready\]$/ });
await check("nonsense", { ...memory, baseUrl: impostors.odd.base }, { ready: "fresh", warning: /events are not sent.*\[not_a_node\]$/ });
await check("nobody", { ...memory, baseUrl: "http://127.0.0.1:9" }, { warning: /is unreachable.*\[unreachable\]$/ });
await check("an address that fails before one that answers", { ...memory, baseUrl: ["http://127.0.0.1:9", node] }, { ready: "fresh", value: "dark", flushed: true });
await check("an address that is none", { ...memory, baseUrl: "https://a b", streaming: true }, { warning: /is unreachable.*\[unreachable\]$/ });
await check("no address at all", { ...memory, baseUrl: "edge.shop.example", streaming: true }, { warning: /baseUrl is no https.*\[option_baseUrl\]$/ });
await check("HTML where Wasm was expected", { ...memory, baseUrl: node, engine: "local", wasm: `${site.origin}/` }, { ready: "fresh", value: "dark", warning: /a node decides.*\[local_engine\]$/ });
await check("an option that is none of its set", { ...memory, baseUrl: node, storage: "session" }, { ready: "fresh", value: "dark", warning: /none of memory,local \[option_storage\]$/ });
await check("no placement of that name", { ...memory, baseUrl: node, placements: ["them"] }, { ready: "fresh", warning: /\[selvedge\] them: .*unknown_placement\]$/ });

// === What blocks trackers: one path fails, another does not ===

const blocking = (page) => page.route(/\/v1\/browser\/events/, (route) => route.abort("blockedbyclient"));
const page = await browser.page();
const warnings = [];
page.on("console", (message) => message.text().startsWith("[selvedge]") && warnings.push(message.text()));
await blocking(page);
await page.goto(`${site.origin}/`);
await until("the SDK to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
const blocked = await page.evaluate(async (options) => {
  const client = sdk.createClient(options);
  const state = await client.ready();
  client.track("click", { n: 901 });
  return { state, flushed: [await client.flush(), await client.flush()] };
}, { ...memory, baseUrl: node, placements: ["theme"], timeoutMs: 5_000 });
assert.deepEqual(blocked, { state: "fresh", flushed: [false, false] });
assert.equal(warnings.length, 1, warnings.join("\n"));
assert.match(warnings[0], /see eventsPath/);
await page.close();

// === Storage that is forbidden or full, a clock that is a day ahead ===

await check("storage is forbidden", { key, baseUrl: node }, { ready: "fresh", value: "dark", path: "/sandboxed", warning: /full or forbidden.*\[storage\]$/, flushed: true });
const filled = (page) =>
  page.addInitScript(() => {
    for (let size = 1 << 22; size; size >>= 1) {
      try {
        for (let n = 0; ; n++) localStorage.setItem(`fill-${size}-${n}`, "x".repeat(size));
      } catch {}
    }
  });
await check("storage is full", { key, baseUrl: node }, { ready: "fresh", value: "dark", before: filled, warning: /full or forbidden.*\[storage\]$/, flushed: true });
const emptied = (page) => page.addInitScript(() => localStorage.clear());
const ahead = async (page) => {
  await emptied(page);
  await page.clock.install({ time: Date.now() + 86_400_000 });
};
await check("the clock is a day ahead", { key, baseUrl: node }, { ready: "fresh", value: "dark", before: ahead, flushed: true });

// === A page that never reveals what the snippet hides ===

const hiding = await browser.page();
const refused = [];
hiding.on("console", (message) => refused.push(message.text()));
await hiding.goto(`${site.origin}/snippet`);
const opacity = (selector) => hiding.evaluate((selector) => getComputedStyle(document.querySelector(selector)).opacity, selector);
assert.deepEqual([await opacity("h1"), await opacity("p"), await opacity("em")], ["0", "0", "1"]);
await hiding.evaluate(() => selvedgeReveal("#hero"));
assert.deepEqual([await opacity("h1"), await opacity("p")], ["1", "0"]);
await until("the hard limit", async () => (await opacity("p")) === "1");
assert.equal(await hiding.evaluate(() => document.adoptedStyleSheets.length), 0);
const own = refused.filter((text) => !/favicon|404/.test(text));
assert.ok(own.length === 1 && /"::bad\(" hides nothing/.test(own[0]), own.join("\n"));
await hiding.close();

// === What the visitor wants ===

const privacy = (page) => page.addInitScript(() => Object.defineProperty(Navigator.prototype, "globalPrivacyControl", { value: true }));
async function consent(options, act, before) {
  const page = await browser.page();
  const sent = [];
  page.on("request", (request) => request.url().includes("/browser/events") && sent.push(...JSON.parse(request.postData()).batch));
  await emptied(page);
  await before?.(page);
  await page.goto(`${site.origin}/`);
  await until("the SDK to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
  const found = await page.evaluate(
    async ([options, act]) => {
      const client = sdk.createClient(options);
      const state = await client.ready();
      client.track("click", { n: 902 });
      client.decide("theme", "code");
      const { subject } = client.visitor();
      if (act) client.setConsent(act);
      await client.flush();
      await new Promise((done) => setTimeout(done, 50));
      return { state, subject, kept: Object.keys(localStorage).filter((name) => name.startsWith("selvedge")) };
    },
    [{ key, baseUrl: node, placements: ["theme"], timeoutMs: 5_000, ...options }, act],
  );
  await page.close();
  assert.equal(found.state, "fresh");
  return { ...found, sent };
}
for (const [options, act, sent, kept, before] of [
  [{}, undefined, 2, true],
  [{ consent: "pending" }, undefined, 0, false],
  [{ consent: "pending" }, "granted", 2, true],
  [{ consent: "pending" }, "denied", 0, false],
  [{ consent: "denied", subject: "u-1" }, undefined, 0, false],
  [{}, "denied", 0, false],
  [{}, undefined, 0, false, privacy],
  [{ consent: "granted" }, undefined, 2, true, privacy],
]) {
  const found = await consent(options, act, before);
  const told = JSON.stringify([options, act, found]);
  assert.equal(found.sent.length, sent, told);
  assert.equal(found.kept.length > 0, kept, told);
  assert.equal(found.subject === "u-1", false, told);
}

await browser.close();
await site.close();
for (const each of Object.values(impostors)) each.close();
console.log("{}");
