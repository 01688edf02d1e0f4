// What a server writes into a page: nothing in it ends the script element, and a parser reads the same.

import assert from "node:assert/strict";
import test from "node:test";
import { createServer, serialize } from "../dist/modules/server.js";
import { chosen } from "./page.mjs";

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
  const other = server.visitor(header, { anew: true });
  assert.ok(other.subject !== first.subject && other.session !== first.session);
});

test("ids end however often they come back", (context) => {
  const day = 86_400_000;
  context.mock.timers.enable({ apis: ["Date"], now: 1_700_000_000_000 });
  const server = createServer({ baseUrl: "http://127.0.0.1:9" });
  const first = server.visitor(undefined);
  const age = ({ cookies }) => cookies.map((cookie) => Number(/Max-Age=(\d+)/.exec(cookie)[1]));
  assert.deepEqual(age(first), [395 * 86_400, 1_800]);
  let last = first;
  const after = (ms) => {
    context.mock.timers.setTime(1_700_000_000_000 + ms);
    last = server.visitor(last.cookies.map((cookie) => cookie.split(";")[0]).join("; "));
    return [last.subject === first.subject, last.session === first.session];
  };
  assert.deepEqual(after(day - 600_000), [true, true]);
  assert.deepEqual(age(last), [394 * 86_400 + 600, 600]);
  assert.deepEqual(after(day), [true, false]);
  assert.deepEqual(after(394 * day), [true, false]);
  assert.deepEqual(after(395 * day), [false, false]);
  // A cookie of before had no time in it: it is from now on.
  const old = server.visitor("selvedge_visitor=abcdefgh12345678");
  assert.equal(old.subject, "abcdefgh12345678");
  assert.equal(age(old)[0], 395 * 86_400);
});

test("a page of many placements is asked for in parts, one of none is not", async () => {
  const asked = [];
  const { fetch } = globalThis;
  globalThis.fetch = async (_, { body }) => {
    asked.push(JSON.parse(body).placements.length);
    return new Response(JSON.stringify(chosen(JSON.parse(body))));
  };
  const server = createServer({ baseUrl: "http://node.example" });
  const placements = Array.from({ length: 70 }, (_, at) => `p-${at}`);
  const page = await server.page({ subject: "u", placements });
  const none = await server.page({ subject: "u", placements: [] });
  globalThis.fetch = fetch;
  assert.deepEqual(asked, [32, 32, 6]);
  assert.deepEqual([page.source, none.source], ["fresh", "fresh"]);
  for (const placement of placements) assert.equal(page.decide(placement, "code").value, "dark");
});

test("whatever is said, a page is rendered with its defaults", async () => {
  const warned = [];
  const { warn } = console;
  console.warn = (text) => warned.push(text);
  try {
    for (const options of [undefined, null, {}, { baseUrl: "shop.example" }]) {
      const server = createServer(options);
      for (const request of [undefined, null, {}, { placements: "home-hero" }]) {
        const page = await server.page(request);
        assert.equal(page.decide("home-hero", "plain").value, "plain");
        assert.match(page.script(), /"placements":\[/);
      }
      const odd = await server.page({ context: { id: 1n }, placements: ["home-hero"] });
      assert.match(odd.script(), /"context":\{\},"placements":\[\]/);
      assert.equal(server.visitor(undefined, null).cookies.length, 2);
    }
  } finally {
    console.warn = warn;
  }
  const [bases, others] = [warned.filter((text) => text.endsWith("[option_baseUrl]")), warned.filter((text) => text.endsWith("[unexpected]"))];
  assert.deepEqual([bases.length, others.length], [4, 4]);
  for (const text of bases) assert.match(text, /option baseUrl is .*: pages are rendered with defaults/);
});
