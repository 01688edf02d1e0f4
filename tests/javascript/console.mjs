// Every page of the console in Chromium. Arguments: the browser, the console's address, a decision's id, a folder for pictures. Exits 1
// with everything that is wrong.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, address, decision, pictures] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PAGES = ["overview", "decisions", `decisions/${decision}`, "playground", "releases", "features/user/u-1", "rules", "experiments", "bandits", "outbox"];
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const wrong = [];

const profile = await mkdtemp(join(tmpdir(), "selvedge-chromium-"));
const browser = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS, chromiumSandbox: false });
await mkdir(pictures, { recursive: true });

const page = await browser.newPage();
page.on("console", (message) => { if (message.type() === "error" || message.type() === "warning") wrong.push(`${page.url()}: ${message.text()}`); });
page.on("pageerror", (error) => wrong.push(`${page.url()}: ${error.stack}`));

/** A page is there when its head is, and nothing waits any more. */
const open = async (name) => {
  await page.goto(`${address}#/${name}`);
  await page.waitForSelector("main h1");
  await page.waitForFunction(() => !document.querySelector("main .waiting"));
};

for (const [width, height] of [[1280, 900], [390, 844]]) {
  for (const colorScheme of ["light", "dark"]) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    for (const name of PAGES) {
      await open(name);
      const picture = `${name.split("/").length > 1 && name.startsWith("decisions") ? "decision" : name.split("/")[0]}-${width}-${colorScheme}.png`;
      await page.screenshot({ path: join(pictures, picture), fullPage: true });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) wrong.push(`${name} at ${width}: ${wide} pixels wider than the screen`);
      // By the debugger, which the page's policy has no say about.
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
      for (const { id, help, nodes } of violations) wrong.push(`${name} at ${width}, ${colorScheme}: ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
    }
  }
}

// What a person does.
await page.setViewportSize({ width: 1280, height: 900 });
await open("decisions");
await page.fill("#decision-id", decision);
await page.keyboard.press("Enter");
await page.waitForSelector("text=the same bytes");
await page.click("text=Try it in the playground");
await page.waitForSelector("#subject");
assert.equal(await page.inputValue("#placement"), "hero");
await page.click("button:has-text('Decide')");
await page.waitForSelector("text=other choices");

// What is typed stays while the page is brought up to date.
await open("features");
await page.fill("form input", "u-");
await page.focus("form input");
const told = () => page.waitForResponse((response) => response.url().endsWith("/api/status"));
await told();
await told();
assert.equal(await page.inputValue("form input"), "u-");
assert.equal(await page.evaluate(() => document.activeElement.tagName), "INPUT");

// A chart is the same element after it was fed, and lists keep their rows.
await open("overview");
await page.waitForSelector(".uplot");
await page.evaluate(() => { document.querySelector(".uplot").mark = 1; document.querySelector("#nav a").mark = 1; });
const samples = await page.evaluate(() => document.querySelector(".plot").getAttribute("aria-label"));
assert.ok(samples.startsWith("Decisions a second"));
await page.waitForFunction((before) => document.querySelector(".plot").getAttribute("aria-label") !== before || document.querySelector(".tile dd span").textContent, samples);
await told();
await told();
assert.ok(await page.evaluate(() => document.querySelector(".uplot").mark === 1 && document.querySelector("#nav a").mark === 1), "it is made anew");

// Where the operator's key is the channel is moved: after a question, which can be left, and which says what is told to be done.
await open("releases");
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

// By keyboard: the first stop skips to the page, every link of the menu is one.
await page.reload();
await page.waitForSelector("main h1");
await page.keyboard.press("Tab");
assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
await page.keyboard.press("Tab");
await page.keyboard.press("Tab");
await page.keyboard.press("Enter");
await page.waitForFunction(() => location.hash === "#/decisions");

// A node that wants a key is asked with one, and the key stays in the tab.
await page.route("**/console/api/**", (route) => (route.request().headers().authorization === "Bearer right" ? route.continue()
  : route.fulfill({ status: 401, contentType: "application/json", body: JSON.stringify({ error: { code: "bad_key", message: "no key" } }) })));
await page.reload();
await page.waitForSelector("input[type=password]");
await page.evaluate(axe);
const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
wrong.push(...violations.map(({ id, help }) => `key: ${id}: ${help}`));
await page.screenshot({ path: join(pictures, "key-1280-dark.png") });
await page.fill("input[type=password]", "right");
await page.keyboard.press("Enter");
await page.waitForSelector("main h1:has-text('Live decisions')");
assert.equal(await page.evaluate(() => localStorage.length), 0);
await page.unroute("**/console/api/**");

await browser.close();
await rm(profile, { recursive: true, force: true });
// A browser tells of each refused request, and of these we asked.
const findings = wrong.filter((one) => !one.includes("401 (Unauthorized)"));
if (findings.length) {
  console.error(findings.join("\n"));
  process.exit(1);
}
