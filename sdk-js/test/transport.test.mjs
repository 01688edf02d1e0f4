// Servers that answer as no node does, or not at all: each is one failure with a code and words, and another address is tried where
// that can help.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import test, { after } from "node:test";
import { Failure } from "../dist/modules/engine.js";
import { backoff, json, transport, whole } from "../dist/modules/transport.js";

const servers = [];
after(() => servers.forEach((server) => server.close().closeAllConnections()));

async function server(answer) {
  const asked = [];
  const made = createServer((request, response) => {
    asked.push(request.url);
    answer(response);
  });
  servers.push(made);
  await new Promise((done) => made.listen(0, "127.0.0.1", done));
  return { base: `http://127.0.0.1:${made.address().port}`, asked };
}

const say = (status, body, headers = {}) => (response) => response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));
const error = (code) => ({ error: { code, message: "because" } });
const good = say(200, { decisions: [] });
const send = (baseUrls, patienceMs) => transport({ baseUrls, key: "pk_1", timeoutMs: 2000 }, patienceMs).send("/d", { body: "{}" }, json("decisions"));

test("what went wrong has a code, and says whether it may pass", async () => {
  for (const [answer, code, passing, retryAfterMs] of [
    [say(401, error("bad_key")), "bad_key", false],
    [say(403, error("foreign_origin")), "foreign_origin", false],
    [say(426, error("protocol")), "protocol", false],
    [say(429, error("too_many_requests"), { "retry-after": "7" }), "too_many_requests", true, 7000],
    [say(503, error("not_ready"), { "retry-after": "x" }), "not_ready", true],
    // Somebody else stands in for a node, for a while: a login page, a proxy.
    [say(200, "<!doctype html>", { "content-type": "text/html" }), "not_a_node", true],
    [say(404, "<!doctype html>"), "not_a_node", true],
    [say(502, "Bad gateway"), "not_a_node", true],
    [say(200, { else: 1 }), "not_a_node", true],
    [say(200, "null"), "not_a_node", true],
    [(response) => response.destroy(), "unreachable", true],
  ]) {
    const { base } = await server(answer);
    await assert.rejects(send([base]), (failure) => {
      assert.deepEqual([failure.code, failure.passing, failure.retryAfterMs], [code, passing, retryAfterMs]);
      assert.ok(failure.message.length >= 7, failure.message);
      return true;
    });
  }
});

test("what a node did with a batch is an answer, also where it took none of it", async () => {
  const { base } = await server(say(400, { accepted: 0, rejected: [{ code: "too_deep" }], ...error("bad_batch") }));
  const net = transport({ baseUrls: [base], timeoutMs: 2000 });
  assert.deepEqual((await net.send("/e", { body: "{}" }, json("rejected"))).rejected, [{ code: "too_deep" }]);
  await assert.rejects(net.send("/m", {}, whole), { code: "bad_batch", passing: false });
});

test("pages do not all come back at once, and none before it was asked to", () => {
  for (const [failure, failures, least] of [
    [new Failure("outbox_full", "", true, 5_000), 0, 5_000],
    [new Failure("unreachable", "", true), 0, 1_000],
    [new Failure("unreachable", "", true), 40, 60_000],
  ]) {
    const waits = Array.from({ length: 100 }, () => backoff(failure, failures));
    assert.ok(waits.every((wait) => wait >= least && wait <= 1.5 * least), `${waits}`);
    assert.ok(new Set(waits).size > 50);
  }
});

test("one that is silent is left after the time", async () => {
  const { base } = await server(() => {});
  await assert.rejects(send([base], 50), { code: "timeout", passing: true });
});

test("the next address is tried where that can help, and kept", async () => {
  const silent = await server(() => {});
  const node = await server(good);
  const net = transport({ baseUrls: [silent.base, node.base], timeoutMs: 100 });
  for (const _ of [1, 2]) await net.send("/d", {}, json("decisions"));
  assert.deepEqual([silent.asked.length, node.asked.length], [1, 2]);
  assert.ok(net.url("/x").startsWith(node.base));

  const refuses = await server(say(401, error("bad_key")));
  const other = await server(good);
  await assert.rejects(send([refuses.base, other.base]), { code: "bad_key" });
  assert.equal(other.asked.length, 0);
  const gone = await server(say(502, "Bad gateway"));
  assert.deepEqual(await send([gone.base, other.base]), { decisions: [] });
});

test("key and version are in the address", async () => {
  const node = await server(good);
  await send([node.base]);
  assert.deepEqual(node.asked, ["/d?key=pk_1&v=1"]);
});
