// The SDK's examples as they are, against `selvedge dev examples/quickstart`: `examples.mjs BROWSER EXECUTABLE DIST NODE KEY REPOSITORY`.
// Those for bundlers are bundled here; the one for Node.js is started. Prints, as its last line, what was told. Exits 1 with what is
// wrong.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium, shop, until } from "./browsers.mjs";

const [, , , executable, dist, node, , repository] = process.argv;
const examples = join(repository, "sdk-js/examples");
const sdk = join(dist, "..");
const { build } = createRequire(join(sdk, "package.json"))("esbuild");
/** The examples speak to the address that `selvedge dev` has on a person's machine. */
const here = (text) => text.replaceAll("http://127.0.0.1:7070", node);
const text = async (path) => here(await readFile(join(examples, path), "utf8"));

async function bundled(path) {
  const alias = { "@selvedge/sdk": join(dist, "esm/index.js"), "@selvedge/sdk/openfeature": join(dist, "esm/openfeature.js"), "@selvedge/sdk/snippet": join(dist, "esm/snippet.js") };
  const plugin = {
    name: "sdk",
    setup: (on) => on.onResolve({ filter: /^@selvedge\/sdk/ }, ({ path }) => ({ path: alias[path] })),
  };
  const options = { entryPoints: [join(examples, path)], nodePaths: [join(sdk, "node_modules")], define: { "process.env.NODE_ENV": '"production"' } };
  const { outputFiles } = await build({ ...options, plugins: [plugin], bundle: true, format: "esm", write: false, external: ["./local.js"] });
  return here(outputFiles[0].text);
}

const site = await shop({
  connect: node,
  pages: {
    "/examples/html/": await text("html/index.html"),
    "/examples/html/shop.js": await text("html/shop.js"),
    // The limit is not what is tested, and a busy machine may come to it.
    "/vite": (await text("vite/index.html")).replace('data-timeout="1200"', 'data-timeout="60000"'),
    "/snippet.js": await readFile(join(dist, "iife/snippet.js"), "utf8"),
    "/react": (await text("react/index.html")).replace("/src/main.jsx", "/react.js"),
    "/react.js": await bundled("react/src/main.jsx"),
  },
  folders: { "/dist/": dist },
});
const browser = await chromium(executable);
const told = [];
const errors = [];

/** A page of which all is heard. */
async function watched(url) {
  const page = await browser.page();
  page.on("pageerror", (error) => errors.push(`${url}: ${error}`));
  page.on("console", (message) => message.text().startsWith("[selvedge]") && errors.push(`${url}: ${message.text()}`));
  page.on("request", (request) => request.url().includes("/v1/browser/events") && told.push(...JSON.parse(request.postData()).batch));
  return page;
}
async function open(url) {
  const page = await watched(url);
  await page.goto(url);
  return page;
}
const title = (page, expected) => until(`${expected} to be shown`, async () => (await page.textContent("h1")) === expected);
const tracked = async (name, count) => until(`${count} ${name}`, () => told.filter(({ event }) => event === name).length >= count);
const SHIPPING = "Free shipping today";

const html = await open(`${site.origin}/examples/html/`);
await title(html, SHIPPING);
await until("the list", async () => (await html.locator("li").count()) === 3);
assert.equal(await html.evaluate(() => getComputedStyle(document.getElementById("hero")).opacity), "1");
await html.click("h1");
await html.click("li");
await tracked("select_promotion", 1);
await tracked("view_item", 1);
await html.close();

const react = await open(`${site.origin}/react`);
await title(react, SHIPPING);
await react.click("h1");
await tracked("select_promotion", 2);
await react.click("button");
await tracked("identify", 1);
await react.close();

// With a bundler the page's own script is what was bundled.
const vite = await watched("/vite");
const opacity = () => vite.evaluate(() => getComputedStyle(document.getElementById("hero")).opacity);
let hidden;
await vite.route("**/main.ts", async (route) => {
  // It is asked for before the page is read to its end.
  await vite.waitForSelector("#hero", { state: "attached" });
  hidden = await opacity();
  await route.fulfill({ contentType: "text/javascript", body: await bundled("vite/main.ts") });
});
await vite.goto(`${site.origin}/vite`);
await title(vite, SHIPPING);
assert.equal(hidden, "0", "hidden until it is right");
await until("it to be seen", async () => (await opacity()) === "1");
await vite.click("a[href='#sale']");
await tracked("page_view", 1);
await vite.close();

// === Node.js: beside the package, as `npm install` puts it ===

const folder = await mkdtemp(join(tmpdir(), "selvedge-example-"));
await cp(join(examples, "server"), folder, { recursive: true, filter: (path) => !path.includes("node_modules") });
for (const file of ["server.mjs", "page.js"]) await writeFile(join(folder, file), await text(`server/${file}`));
await mkdir(join(folder, "node_modules/@selvedge/sdk"), { recursive: true });
await cp(join(sdk, "package.json"), join(folder, "node_modules/@selvedge/sdk/package.json"));
await symlink(dist, join(folder, "node_modules/@selvedge/sdk/dist"));
const server = spawn(process.execPath, ["server.mjs"], { cwd: folder, env: { ...process.env, PORT: "0", SELVEDGE_URL: node }, stdio: ["ignore", "pipe", "inherit"] });
process.on("exit", () => server.kill());
const [address] = await new Promise((done) => createInterface(server.stdout).once("line", (...line) => done(line)));
const rendered = await open(address);
// On a busy machine a node may take longer than the example's page waits: it is then rendered with its defaults, as it should be.
await until(`${SHIPPING} to be rendered`, async () => (await rendered.textContent("h1")) === SHIPPING || void (await rendered.reload()));
await until("the page to start from what was rendered", async () => (await rendered.getAttribute("h1", "data-source")) === "bootstrap");
await rendered.click("h1");
await tracked("select_promotion", 3);
await rendered.close();
server.kill();

await browser.close();
await site.close();
await rm(folder, { recursive: true, force: true });
assert.deepEqual(errors, []);
const exposed = told.filter(({ event }) => event === "$exposure");
assert.equal(new Set(exposed.map(({ decision_id }) => decision_id)).size, exposed.length, "an exposure was told twice");
console.log(JSON.stringify({ told: told.length }));
