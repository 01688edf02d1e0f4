// What deciding in the page costs: `local_speed.mjs BROWSER EXECUTABLE DIST NODE KEY ROUNDS DECISIONS`. Prints, as its last line, in
// microseconds: the time of a decision; from the client's making to the first decision on a page whose modules the browser has; and what
// the browser takes on such a page for the same files alone.

import assert from "node:assert/strict";
import { BLANK, BLANK_JS, chromium, shop, until } from "./browsers.mjs";

const [, , , executable, dist, node, key, rounds, decisions] = process.argv;
/** Decisions between two looks at the clock, which is coarse in a page. */
const TOGETHER = 50;
/** What such a page says before its scripts, as docs/browser.md has it. */
const HEAD = `<link rel="modulepreload" href="/sdk/esm/local.js">
<link rel="preload" as="fetch" crossorigin href="/sdk/engine.wasm">
<link rel="preconnect" crossorigin href="${node}">`;
const site = await shop({ connect: node, pages: { "/": BLANK.replace("<title>", `${HEAD}<title>`), "/blank.js": BLANK_JS }, folders: { "/sdk/": dist }, wasm: true });
const browser = await chromium(executable);
const options = { baseUrl: node, key, subject: "u-1", placements: ["hero"], timeoutMs: 10_000, streaming: false, engine: "local", wasm: "/sdk/engine.wasm" };
const first = [];
const bare = [];
const each = [];

async function open() {
  const page = await browser.page();
  await page.goto(`${site.origin}/`);
  await until("the SDK to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
  return page;
}

/** In the page: what the engine needs, asked for as soon as it can be and compiled; nothing is done with it. */
async function filesAlone({ baseUrl, key, subject, wasm }) {
  const start = performance.now();
  const ask = (name, query) => fetch(`${baseUrl}/v1/browser/${name}?${new URLSearchParams({ key, v: "1", ...query })}`);
  const own = [import("/sdk/esm/local.js"), WebAssembly.compileStreaming(fetch(wasm))];
  const { modules, inline } = await (await ask("release", { subject, inline: "1" })).json();
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const compiled = modules.map(({ index, digest }) => {
    const text = inline.modules[index];
    return text === undefined ? WebAssembly.compileStreaming(ask(`modules/${digest}`)) : WebAssembly.compile(bytes(text));
  });
  await Promise.all([...own, ...compiled]);
  return (performance.now() - start) * 1000;
}

for (let round = 0; round <= Number(rounds); round++) {
  const page = await open();
  const begun = await page.evaluate(async (options) => {
    const start = performance.now();
    const client = (window.client = sdk.createClient(options));
    const state = await client.ready();
    const { reason, source } = client.decide("hero", null);
    return { us: (performance.now() - start) * 1000, state, reason, source };
  }, options);
  assert.deepEqual([begun.state, begun.reason, begun.source], ["fresh", "SCORED", "fresh"]);
  // The first page of all fetched the modules, and its engine was not compiled before.
  if (round > 0) {
    first.push(begun.us);
    const times = await page.evaluate(
      async ([count, together]) => {
        const times = [];
        for (let at = 0; at < count; at += together) {
          const start = performance.now();
          for (let one = 0; one < together; one++) await client.setContext({});
          times.push(((performance.now() - start) * 1000) / together);
        }
        return times;
      },
      [Number(decisions), TOGETHER],
    );
    each.push(...times);
  }
  await page.evaluate(() => client.close());
  await page.close();
  const other = await open();
  const us = await other.evaluate(filesAlone, options);
  if (round > 0) bare.push(us);
  await other.close();
}
await browser.close();
await site.close();
console.log(JSON.stringify({ first, bare, each }));
