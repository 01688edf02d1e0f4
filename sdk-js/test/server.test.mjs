// What a server writes into a page: nothing in it ends the script element, and a parser reads the same.

import assert from "node:assert/strict";
import test from "node:test";
import { createServer, serialize } from "../dist/modules/server.js";

test("whatever is serialised stays inside of its element", () => {
  for (const text of ["</script><script>alert(1)</script>", "<!--", "-->", "]]>", "&lt;", "\u2028\u2029", '"\\', "é😀", "\ud800"]) {
    const written = serialize({ [text]: text });
    assert.doesNotMatch(written, /[<>&\u2028\u2029]/);
    assert.deepEqual(JSON.parse(written), { [text]: text });
  }
});

test("without a node a page is rendered with defaults", async () => {
  const warned = [];
  const { warn } = console;
  console.warn = (text) => warned.push(text);
  const server = createServer({ baseUrl: "http://127.0.0.1:9", timeoutMs: 200 });
  for (const _ of [1, 2]) {
    const page = await server.page({ subject: "u", placements: ["hero"] });
    assert.equal(page.source, "defaults");
    assert.equal(page.decide("hero", "code").value, "code");
    assert.deepEqual(page.bootstrap().decisions, []);
  }
  console.warn = warn;
  assert.equal(warned.length, 1);
});

test("a visitor keeps both ids, and nobody chooses them", () => {
  const server = createServer({ baseUrl: "http://127.0.0.1:9" });
  const first = server.visitor(undefined);
  assert.match(first.subject, /^[0-9a-z]{28}$/);
  const header = first.cookies.map((cookie) => cookie.split(";")[0]).join("; ");
  const again = server.visitor(`a=b; ${header}`);
  assert.deepEqual([again.subject, again.session], [first.subject, first.session]);
  assert.notEqual(server.visitor("selvedge_visitor=<script>").subject, "<script>");
});
