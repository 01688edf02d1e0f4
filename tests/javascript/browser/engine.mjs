// The engine of pages in a page, without the client around it: `engine.mjs BROWSER EXECUTABLE DIST NODE KEY ENGINE local TASK` does what
// a task of `local.ts` says and prints, as its last line, what came of it; `... ENGINE parity FOLDER...` decides what is in each folder
// and writes `out.bin` there. ENGINE is the folder of both, bundled.

import { writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import { chromium, firefox, shop, until } from "./browsers.mjs";

const [, , name, executable, , node, , engine, what, ...more] = process.argv;
const pages = {
  "/": '<!doctype html><html lang="en"><title>Engine</title><script type="module" src="/engine.js"></script><p>Engine</p></html>',
  "/engine.js": `import { local } from "/engine/local.mjs"; import { parity } from "/engine/parity.mjs";
    window.engine = { local, parity }; document.documentElement.dataset.loaded = "yes";`,
  "/out": async (request) => {
    const folder = new URL(request.url, "http://shop").searchParams.get("folder");
    await writeFile(join(dirname(more[0]), folder, "out.bin"), await buffer(request));
    return "";
  },
};
const folders = { "/engine/": engine, ...(what === "parity" ? { "/worlds/": dirname(more[0]) } : {}) };
const site = await shop({ connect: node, pages, folders, wasm: true });
const browser = await (name === "firefox" ? firefox : chromium)(executable);
const page = await browser.page();
await page.goto(`${site.origin}/`);
await until("the engine to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
if (what === "local") {
  const told = await page.evaluate((task) => window.engine.local(task, "/engine/engine_bg.wasm"), JSON.parse(more[0]));
  console.log(JSON.stringify(told));
} else {
  for (const folder of more) {
    await page.evaluate(async (folder) => {
      const bytes = async (path) => (await fetch(path)).arrayBuffer();
      const out = await window.engine.parity(await bytes("/engine/engine_bg.wasm"), (name) => bytes(`/worlds/${folder}/${name}`));
      await fetch(`/out?folder=${folder}`, { method: "POST", body: new Blob(out) });
    }, basename(folder));
  }
  console.log(JSON.stringify({ worlds: more.length }));
}
await browser.close();
await site.close();
