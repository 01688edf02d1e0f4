// Real browsers, and a shop's own server for the pages they open: of another origin than the node, with a strict
// Content-Security-Policy. Owns how each browser is started and driven; what is tested belongs to the scripts beside it.

import { createServer } from "node:http";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".map": "application/json", ".wasm": "application/wasm", ".css": "text/css" };
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Chromium by Playwright: a profile that lasts as long as what is returned. */
export async function chromium(executablePath, more = {}) {
  const { chromium } = await import("playwright-core");
  const profile = await mkdtemp(join(tmpdir(), "selvedge-chromium-"));
  const context = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS, chromiumSandbox: false, ...more });
  return {
    name: "chromium",
    context,
    page: () => context.newPage(),
    close: async () => {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/** Firefox by WebDriver BiDi. */
export async function firefox(executablePath) {
  const { default: puppeteer } = await import("puppeteer-core");
  const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
  return { name: "firefox", page: () => browser.newPage(), close: () => browser.close() };
}

/**
 * Serves `pages` (a text by path, or what makes one of a request) and the files of `folders` by what stands before them in a path. With
 * `wasm` the policy lets pages compile WebAssembly, as the local engine needs.
 */
export async function shop({ connect, pages, folders, wasm }) {
  const policy = `default-src 'none'; script-src 'self'${wasm ? " 'wasm-unsafe-eval'" : ""}; style-src 'self'; img-src 'self'; connect-src 'self' ${connect}`;
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://shop");
    const page = pages[pathname];
    response.setHeader("content-security-policy", policy);
    // A sandboxed page is of no origin.
    response.setHeader("access-control-allow-origin", "*");
    try {
      if (page !== undefined) {
        const type = TYPES[extname(pathname)] ?? "text/html";
        const text = typeof page === "function" ? await page(request, response) : page;
        return response.writeHead(200, { "content-type": `${type}; charset=utf-8` }).end(text);
      }
      const [prefix, folder] = Object.entries(folders).find(([prefix]) => pathname.startsWith(prefix));
      const file = await readFile(join(folder, normalize(pathname.slice(prefix.length))));
      // As a shop serves what does not change.
      const headers = { "content-type": TYPES[extname(pathname)] ?? "application/octet-stream", "cache-control": "max-age=3600" };
      response.writeHead(200, headers).end(file);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return { origin, close: () => new Promise((done) => server.close(done).closeAllConnections()) };
}

/** A page that has the SDK as `sdk` and does nothing by itself. */
export const BLANK = '<!doctype html><html lang="en"><title>Shop</title><script type="module" src="/blank.js"></script><p>Shop</p></html>';
export const BLANK_JS = 'import * as sdk from "/sdk/esm/index.js"; window.sdk = sdk; document.documentElement.dataset.loaded = "yes";';

/** Waits until `look` says something true. */
export async function until(what, look, ms = 20_000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}
