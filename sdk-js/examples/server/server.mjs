// Server rendering with Node.js alone: the page is decided before it is sent, and starts from that.

import { readFile } from "node:fs/promises";
import { createServer as listen } from "node:http";
import { fileURLToPath } from "node:url";
import { createServer } from "@selvedge/sdk/server";

const node = process.env.SELVEDGE_URL ?? "http://127.0.0.1:7070";
const selvedge = createServer({ baseUrl: node, key: process.env.SELVEDGE_KEY });
const files = { "/page.js": new URL("page.js", import.meta.url), "/sdk.js": import.meta.resolve("@selvedge/sdk") };

const server = listen(async (request, response) => {
  const file = files[request.url];
  if (file) {
    response.setHeader("content-type", "text/javascript");
    return response.end(await readFile(fileURLToPath(file)));
  }
  const visitor = selvedge.visitor(request.headers.cookie);
  const page = await selvedge.page({ ...visitor, context: { country: "DE" }, placements: ["home-hero"] });
  const hero = page.decide("home-hero", { title: "Welcome" });
  response.writeHead(200, {
    "content-type": "text/html; charset=utf-8",
    // What is decided for one visitor is no other's.
    "cache-control": "private, no-store",
    "content-security-policy": `default-src 'none'; script-src 'self'; connect-src ${node}`,
    "set-cookie": visitor.cookies,
  });
  response.end(`<!doctype html>
<html lang="en" data-node="${node}">
  <head><meta charset="utf-8"><title>Shop</title></head>
  <body>
    <h1 id="hero">${hero.value.title.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</h1>
    ${page.script()}
    <script type="module" src="/page.js"></script>
  </body>
</html>`);
});
server.listen(Number(process.env.PORT ?? 8081), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
