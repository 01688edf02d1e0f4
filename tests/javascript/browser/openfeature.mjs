// OpenFeature's SDK for pages over our provider: `openfeature.mjs BROWSER EXECUTABLE DIST NODE KEY`. Exits 1 with what is wrong.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { BLANK, chromium, shop, until } from "./browsers.mjs";

const [, , , executable, dist, node, key] = process.argv;
// The SDK's own packages bundle the page, as a shop's would.
const sdk = join(dist, "..");
const { build } = createRequire(join(sdk, "package.json"))("esbuild");
const contents = `
  import * as openfeature from "@openfeature/web-sdk";
  import { createClient } from "./dist/esm/index.js";
  import { SelvedgeProvider } from "./dist/esm/openfeature.js";
  Object.assign(window, { openfeature, createClient, SelvedgeProvider });
  document.documentElement.dataset.loaded = "yes";
`;
const bundled = await build({ stdin: { contents, resolveDir: sdk }, bundle: true, format: "esm", write: false });
// Takes what is asked, and answers when it is told to.
const asked = [];
const silent = createServer((request, response) => asked.push(response));
await new Promise((done) => silent.listen(0, "127.0.0.1", done));
const nobody = `http://127.0.0.1:${silent.address().port}`;
const site = await shop({ connect: `${node} http://127.0.0.1:9 ${nobody}`, pages: { "/": BLANK, "/blank.js": bundled.outputFiles[0].text }, folders: {} });
const browser = await chromium(executable);
const page = await browser.page();
const errors = [];
const told = [];
page.on("pageerror", (error) => errors.push(String(error)));
page.on("request", (request) => {
  if (request.url().includes("/v1/browser/events")) told.push(...JSON.parse(request.postData()).batch);
});
await page.goto(`${site.origin}/`);
await until("the page to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));

const first = await page.evaluate(
  async ({ node, key }) => {
    const { OpenFeature, ProviderEvents } = openfeature;
    window.seen = [];
    for (const event of Object.values(ProviderEvents)) OpenFeature.addHandler(event, (details) => seen.push([event, details?.flagsChanged]));
    await OpenFeature.setContext({ targetingKey: "u-1", country: "DE", cart_value: 120 });
    window.shopper = createClient({ baseUrl: node, key, placements: ["hero", "theme", "nothing", "inside", "split"], timeoutMs: 5_000 });
    const provider = new SelvedgeProvider(shopper);
    await OpenFeature.setProviderAndWait(provider);
    window.client = OpenFeature.getClient();
    const of = ({ value, reason, variant, errorCode }) => ({ value, reason, variant, errorCode });
    return {
      hero: of(client.getObjectDetails("hero", { banner: "code.svg" })),
      theme: of(client.getStringDetails("theme", "code")),
      split: of(client.getObjectDetails("split", {})),
      wrong: of(client.getBooleanDetails("theme", true)),
      nothing: of(client.getStringDetails("nothing", "code")),
      inside: of(client.getStringDetails("inside", "code")),
      metadata: client.getObjectDetails("hero", {}).flagMetadata,
    };
  },
  { node, key },
);
assert.deepEqual(first.hero, { value: { banner: "vip.svg" }, reason: "TARGETING_MATCH", variant: "vip", errorCode: undefined });
assert.deepEqual([first.theme.value, first.theme.variant], ["dark", "dark"]);
assert.equal(first.split.reason, "SPLIT");
assert.deepEqual(first.wrong, { value: true, reason: "ERROR", variant: undefined, errorCode: "TYPE_MISMATCH" });
assert.deepEqual([first.nothing.value, first.nothing.errorCode], ["code", "FLAG_NOT_FOUND"]);
assert.equal(first.inside.value, "code");
assert.ok(first.metadata.decision_id && first.metadata.release.startsWith("sha256:"), JSON.stringify(first.metadata));

// === Another context, tracking ===

const second = await page.evaluate(async () => {
  const { OpenFeature } = openfeature;
  client.track("purchase", { value: 59.9, placement: "hero" });
  await OpenFeature.setContext({ targetingKey: "u-9", country: "DE", cart_value: 0 });
  return { hero: client.getObjectDetails("hero", {}).flagMetadata.decision_id };
});
assert.notEqual(second.hero, first.metadata.decision_id);
await until("what was tracked to be told", () => told.some((event) => event.event === "purchase"));
const purchase = told.find((event) => event.event === "purchase");
assert.deepEqual([purchase.subject, purchase.decision_id, purchase.properties.value], ["u-1", first.metadata.decision_id, 59.9]);
assert.ok(told.some((event) => event.event === "$exposure" && event.decision_id === first.metadata.decision_id));

// === Who logs out is somebody else ===

const gone = await page.evaluate(async () => {
  const { OpenFeature } = openfeature;
  await OpenFeature.setContext({ country: "DE", cart_value: 0 });
  const after = shopper.visitor().subject;
  const { decision_id } = client.getObjectDetails("hero", {}).flagMetadata;
  client.track("logged_out");
  await OpenFeature.setContext({ country: "FR", cart_value: 0 });
  return { after, later: shopper.visitor().subject, decision_id };
});
assert.ok(!["u-1", "u-9"].includes(gone.after) && gone.later === gone.after, JSON.stringify(gone));
assert.notEqual(gone.decision_id, second.hero);
await until("the event after it", () => told.some((event) => event.event === "logged_out"));
assert.equal(told.find((event) => event.event === "logged_out").subject, gone.after);

// === A flag that nobody named before is there a moment later, and OpenFeature is told ===

const third = await page.evaluate(async ({ node, key }) => {
  const { OpenFeature } = openfeature;
  await OpenFeature.setProviderAndWait(new SelvedgeProvider(createClient({ baseUrl: node, key, timeoutMs: 5_000 })));
  seen.length = 0;
  return client.getStringDetails("theme", "code").errorCode;
}, { node, key });
assert.equal(third, "PROVIDER_NOT_READY");
await until("the change to be told", () => page.evaluate(() => seen.some(([event, flags]) => event === "PROVIDER_CONFIGURATION_CHANGED" && flags?.includes("theme"))));
assert.equal(await page.evaluate(() => client.getStringValue("theme", "code")), "dark");

// === Without a node ===

const fourth = await page.evaluate(async () => {
  const { OpenFeature } = openfeature;
  const provider = new SelvedgeProvider(createClient({ baseUrl: "http://127.0.0.1:9", storage: "memory", placements: ["theme"], timeoutMs: 300 }));
  const failed = await OpenFeature.setProviderAndWait(provider).then(() => "", (error) => error.message);
  return { failed, value: client.getStringValue("theme", "code"), status: client.providerStatus };
});
assert.match(fourth.failed, /is unreachable/);
assert.deepEqual([fourth.value, fourth.status], ["code", "ERROR"]);

// === A node that takes the question and does not answer, then does ===

const fifth = await page.evaluate(async (baseUrl) => {
  const { OpenFeature } = openfeature;
  const provider = new SelvedgeProvider(createClient({ baseUrl, storage: "memory", placements: ["theme"], timeoutMs: 300, streaming: false }));
  const failed = await OpenFeature.setProviderAndWait(provider).then(() => "", (error) => error.message);
  seen.length = 0;
  return { failed, value: client.getStringValue("theme", "code"), status: client.providerStatus };
}, nobody);
assert.match(fifth.failed, /in time/);
assert.deepEqual([fifth.value, fifth.status], ["code", "ERROR"]);
const late = { decision_id: "d-1", placement: "theme", release: "r", reason: "RULED", choices: [{ id: "light", score: null, propensity: 1 }] };
// The page's own question, and that for OpenFeature's context.
for (const each of asked) each.writeHead(200, { "access-control-allow-origin": "*" }).end(JSON.stringify({ decisions: [late] }));
await until("the provider to be ready", () => page.evaluate(() => client.providerStatus === "READY" && client.getStringValue("theme", "code") === "light"));
// From here on there are decisions to go on with.
const sixth = await page.evaluate(async () => {
  const { OpenFeature } = openfeature;
  await OpenFeature.setContext({ country: "DE" });
  await new Promise((done) => setTimeout(done));
  return { value: client.getStringValue("theme", "code"), status: client.providerStatus };
});
assert.deepEqual(sixth, { value: "light", status: "STALE" });
await page.evaluate(() => openfeature.OpenFeature.close());
silent.close().closeAllConnections();
await browser.close();
await site.close();
assert.deepEqual(errors, []);
console.log("{}");
