// Every page of the console in Chromium. Arguments: the browser, the console's address, where its node takes events, the console of a node
// without a release, a decision's id, a folder for pictures. Exits 1 with everything that is wrong.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, address, node, bare, decision, pictures] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** By page, what is on it only when everything it asks for is there. */
const PAGES = {
  overview: ".uplot",
  decisions: "tbody a",
  [`decisions/${decision}`]: "text=the same bytes",
  playground: "#placement",
  releases: "tbody >> text=this one",
  "features/user/u-1": "text=segment",
  rules: "text=not in France",
  experiments: "text=sample ratio",
  bandits: "text=Most likely the best",
  outbox: ".uplot",
};
const NO_RELEASE = "text=No release runs here yet.";
/** The same where no release runs: what there is to do. */
const BARE = {
  overview: NO_RELEASE, decisions: NO_RELEASE, playground: NO_RELEASE, releases: "text=selvedge deploy", features: NO_RELEASE,
  rules: NO_RELEASE, experiments: NO_RELEASE, bandits: NO_RELEASE, outbox: ".uplot",
};
const SIZES = { wide: { width: 1280, height: 900 }, narrow: { width: 390, height: 844 } };
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const wrong = [];

const profile = await mkdtemp(join(tmpdir(), "selvedge-chromium-"));
const browser = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS, chromiumSandbox: false });
await mkdir(pictures, { recursive: true });

async function tab() {
  const page = await browser.newPage();
  page.on("pageerror", (error) => wrong.push(`${page.url()}: ${error.stack}`));
  return page;
}

/** Opens a page, and waits until it and not the one before shows `shows`. */
async function open(page, name, shows, at = address) {
  const [kind, of = ""] = name.split("/");
  await page.goto(`${at}#/${name}`);
  const shown = page.locator(`main > [data-key="page-${kind}/${of}"]`);
  await shown.locator("h1").waitFor();
  await shown.locator(shows).first().waitFor();
}

async function accessible(page, where) {
  // By the debugger, which the page's policy has no say about.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
  for (const { id, help, nodes } of violations) wrong.push(`${where}: ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
}

async function look(page, at, pages, size, colorScheme, prefix = "") {
  await page.setViewportSize(SIZES[size]);
  await page.emulateMedia({ colorScheme });
  for (const [name, shows] of Object.entries(pages)) {
    await open(page, name, shows, at);
    const [kind, of] = name.split("/");
    const picture = `${prefix}${kind === "decisions" && of ? "decision" : kind}-${SIZES[size].width}-${colorScheme}.png`;
    await page.screenshot({ path: join(pictures, picture), fullPage: true });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (over > 0) wrong.push(`${prefix}${name}, ${size}: ${over} pixels wider than the screen`);
    await accessible(page, `${prefix}${name}, ${size}, ${colorScheme}`);
  }
}

const page = await tab();
page.on("console", (message) => { if (message.type() === "error" || message.type() === "warning") wrong.push(`${page.url()}: ${message.text()}`); });
await look(page, bare, BARE, "narrow", "dark", "bare-");
for (const size of ["wide", "narrow"]) for (const colorScheme of ["light", "dark"]) await look(page, address, PAGES, size, colorScheme);

// What a person does.
await page.setViewportSize(SIZES.wide);
await open(page, "decisions", PAGES.decisions);
await page.fill("#decision-id", decision);
await page.keyboard.press("Enter");
await page.waitForSelector("text=the same bytes");
await page.click("text=Try it in the playground");
await page.waitForSelector("#subject");
assert.equal(await page.inputValue("#placement"), "hero");
await page.focus("button:has-text('Decide')");
await page.keyboard.press("Enter");
await page.waitForSelector("text=other choices");
assert.equal(await page.evaluate(() => document.activeElement.textContent), "Decide", "who decides by keyboard stays at the button");
assert.match(await page.textContent("#said"), /^Decided: /);

// What is typed stays while the page is brought up to date.
await open(page, "features", "tbody");
await page.fill("form input", "u-");
await page.focus("form input");
const told = () => page.waitForResponse((response) => response.url().endsWith("/api/status"));
await told();
await told();
assert.equal(await page.inputValue("form input"), "u-");
assert.equal(await page.evaluate(() => document.activeElement.tagName), "INPUT");

// A chart is the same element after the page was fed, and lists keep their rows.
await open(page, "overview", PAGES.overview);
await page.evaluate(() => { document.querySelector(".uplot").mark = 1; document.querySelector("#nav a").mark = 1; });
const [, events] = (await page.textContent(".tiles")).match(/([\d,]+) since the start/);
const sent = await browser.request.post(`${node}/v1/events`, { data: { event: "purchase", subject: "u-1" } });
assert.ok(sent.ok(), await sent.text());
await page.waitForSelector(`text=/^${Number(events.replaceAll(",", "")) + 1} since the start$/`);
assert.ok(await page.evaluate(() => document.querySelector(".uplot").mark === 1 && document.querySelector("#nav a").mark === 1), "it is made anew");

// Where the operator's key is the channel is moved: after a question, which can be left, and which says what is told to be done.
await open(page, "releases", PAGES.releases);
const running = (name) => page.waitForFunction((wanted) => [...document.querySelectorAll(".tile")].some((tile) =>
  tile.textContent.startsWith(`Running${wanted}`)), name);
await running("second");
await page.focus("button:has-text('Roll back to')");
await page.keyboard.press("Enter");
await page.waitForSelector("dialog[open]");
assert.equal(await page.evaluate(() => document.activeElement.textContent), "Cancel");
await page.evaluate(axe);
for (const colorScheme of ["light", "dark"]) {
  await page.emulateMedia({ colorScheme });
  await page.screenshot({ path: join(pictures, `move-1280-${colorScheme}.png`) });
  const { violations } = await page.evaluate(() => globalThis.axe.run("dialog", { resultTypes: ["violations"] }));
  wrong.push(...violations.map(({ id, help }) => `move, ${colorScheme}: ${id}: ${help}`));
}
await page.keyboard.press("Escape");
await page.waitForSelector("dialog", { state: "detached" });
assert.ok((await page.evaluate(() => document.activeElement.textContent)).startsWith("Roll back to"), "the focus is lost");
assert.equal(await page.textContent("#moved"), "", "it was moved without a yes");
await page.keyboard.press("Enter");
await page.click("dialog button:has-text('Roll back')");
await page.waitForSelector("#moved:has-text('points to')");
await page.waitForFunction(() => document.activeElement.id === "moved");
await running("first");
await page.click("button:has-text('Move here')");
await page.click("dialog button:has-text('Move')");
await running("second");

// By keyboard: the first stop skips to the page and does not leave it, every link of the menu is one.
await open(page, `decisions/${decision}`, "text=the same bytes");
await page.reload();
await page.waitForSelector("text=the same bytes");
await page.keyboard.press("Tab");
assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
await page.keyboard.press("Enter");
await page.waitForFunction(() => document.activeElement.id === "main");
assert.equal(await page.evaluate(() => location.hash), `#/decisions/${decision}`);
await page.keyboard.press("Tab");
assert.equal(await page.evaluate(() => document.activeElement.className), "back", "the next stop is the page's first");
await page.focus(".skip");
await page.keyboard.press("Tab");
await page.keyboard.press("Tab");
await page.keyboard.press("Enter");
await page.waitForFunction(() => location.hash === "#/decisions");

// From here on the node is made to answer otherwise, and the browser tells of it as errors.
const other = await tab();
const { decisions } = await (await browser.request.get(`${address}api/decisions`)).json();
const [before, chosen, behind] = [...new Set(decisions.map((line) => line.placement))].sort();
assert.ok(behind, "three placements");
let lines = decisions.filter((line) => line.placement !== before);
await other.route("**/console/api/decisions", (route) => route.fulfill({ json: { decisions: lines, seen: 0 } }));
// A stream that ends: what is missed is asked for when the next one opens.
await other.route("**/console/api/live", (route) => route.fulfill({ contentType: "text/event-stream", body: ": \n\n" }));

// A filter stays what it was set to when a placement comes that stands before it.
await open(other, "decisions", PAGES.decisions);
await other.selectOption("#by-placement", chosen);
lines = decisions;
await other.waitForSelector(`#by-placement option[value="${before}"]`, { state: "attached" });
assert.equal(await other.inputValue("#by-placement"), chosen);
const rows = () => other.$$eval("tbody tr", (all) => all.map((row) => [row.dataset.key, row.cells[1].textContent]));
assert.deepEqual([...new Set((await rows()).map(([, placement]) => placement))], [chosen]);

// A list that is paused stays as it is, also when the stream opens anew.
await other.click("button:has-text('Pause')");
const paused = await rows();
const newest = { ...decisions.find((line) => line.placement === chosen), id: "ffffffff-ffff-7fff-bfff-ffffffffffff" };
lines = [...decisions, newest];
await other.waitForSelector("button:has-text('Go on (1 new)')");
assert.deepEqual(await rows(), paused);
await other.click("button:has-text('Go on')");
await other.waitForSelector(`tr[data-key="${newest.id}"]`);
await other.unrouteAll();

// A page whose first question fails asks again.
for (const [name, question] of Object.entries({ decisions: "decisions", [`decisions/${decision}`]: `decisions/${decision}`, playground: "release", features: "release" })) {
  const failing = `**/console/api/${question}`;
  await other.route(failing, (route) => route.fulfill({ status: 500, json: { error: { code: "storage_failed", message: "not just now" } } }));
  await other.goto("about:blank");
  await open(other, name, "text=not just now");
  await other.unroute(failing);
  await other.locator("main").locator(PAGES[name] ?? "tbody").first().waitFor();
}

// What an experiment leaves out is said.
await other.route("**/console/api/experiments", async (route) => {
  const response = await route.fetch();
  const told = await response.json();
  told.experiments[0].pages = 3;
  await route.fulfill({ response, json: told });
});
await open(other, "experiments", "text=3 decisions made in pages are not counted here.");
await other.close();

// A node that wants a key is asked with one, and the key stays in the tab.
const locked = await tab();
await locked.clock.install();
await locked.route("**/console/api/**", (route) => (route.request().headers().authorization === "Bearer right" ? route.continue()
  : route.fulfill({ status: 401, json: { error: { code: "bad_key", message: "no key" } } })));
await locked.goto(`${address}#/overview`);
await locked.waitForSelector("input[type=password]");
await accessible(locked, "key");
await locked.screenshot({ path: join(pictures, "key-1280-light.png") });
// Nothing is asked meanwhile: each question without a key would be one more refused.
await locked.evaluate(() => {
  const real = globalThis.fetch;
  globalThis.asked = 0;
  globalThis.fetch = (...of) => { globalThis.asked += 1; return real(...of); };
});
await locked.clock.runFor(60_000);
assert.equal(await locked.evaluate(() => globalThis.asked), 0, "a page that waits for a key asks");
await locked.fill("input[type=password]", "wrong");
await locked.keyboard.press("Enter");
await locked.waitForSelector("text=That key does not open the console.");
await locked.fill("input[type=password]", "right");
await locked.keyboard.press("Enter");
await locked.waitForSelector("main h1:has-text('Overview')");
await locked.waitForSelector(".uplot");
assert.deepEqual(await locked.evaluate(() => [localStorage.length, sessionStorage.getItem("selvedge-key")]), [0, "right"]);

await browser.close();
await rm(profile, { recursive: true, force: true });
if (wrong.length) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
