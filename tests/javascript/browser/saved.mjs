// How far open pages of the storefront are behind a saved row: `saved.mjs BROWSER EXECUTABLE DIST SHOP KEY FOLDER SAVES`. Each save brings
// another kind to the front of the merchandiser's table. Prints, as its last line, for each save the microseconds from before the file was
// written until the last of the open pages had that kind first.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium, until } from "./browsers.mjs";

const [, , , executable, , shop, , folder, saves] = process.argv;
const KINDS = ["hats", "lamps", "ceramics", "chairs", "bags"];
/** Each holds a stream, of which a browser opens six to one address: what is left is for what they ask. */
const PAGES = 2;
const table = join(folder, "modules/merchandising.csv");
const text = await readFile(table, "utf8");
const head = text.match(/^item\.category.*$/m)[0];
const browser = await chromium(executable);

/** In the page: notes when, by the clock of this machine, it has three of a kind first. */
function watch(kind) {
  const first = () => [...document.querySelectorAll(".cards > li")].slice(0, 3);
  const isThere = () => first().length === 3 && first().every((card) => card.dataset.key.startsWith(`${kind}-`));
  if (isThere()) throw new Error(`${kind} is first before it was saved`);
  window.changedAt = undefined;
  const watched = new MutationObserver(() => {
    if (!isThere()) return;
    watched.disconnect();
    window.changedAt = performance.timeOrigin + performance.now();
  });
  watched.observe(document.getElementById("page"), { childList: true, subtree: true });
}

/** The release that all nodes run; none while they differ. */
async function runs() {
  const { nodes } = await (await fetch(`${shop}/counter.json`)).json();
  const releases = new Set(nodes.map(({ release }) => release));
  return releases.size === 1 ? [...releases][0] : undefined;
}

const pages = [];
for (let at = 0; at < PAGES; at++) {
  const page = await browser.page();
  page.setDefaultTimeout(60_000);
  await page.goto(`${shop}/shop`);
  await page.waitForFunction(() => document.documentElement.hasAttribute("data-ready"));
  pages.push(page);
}

const behind_us = [];
let release = await until("both nodes to run the shop", runs);
for (let save = 0; save < Number(saves); save++) {
  const kind = KINDS[save % KINDS.length];
  await Promise.all(pages.map((page) => page.evaluate(watch, kind)));
  const start = performance.timeOrigin + performance.now();
  await writeFile(table, text.replace(head, `${head}\n${kind},,,,,40,saved,Save ${save}`));
  const changed = await Promise.all(pages.map(async (page) => (await page.waitForFunction(() => window.changedAt)).jsonValue()));
  behind_us.push((Math.max(...changed) - start) * 1000);
  // The next save begins when this one has arrived everywhere.
  const before = release;
  release = await until("both nodes to run what was saved", async () => {
    const now = await runs();
    return now !== before && now;
  });
}
await browser.close();
console.log(JSON.stringify({ behind_us, pages: PAGES }));
