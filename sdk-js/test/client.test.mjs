// A client where there is no page: whatever it is given, it answers with defaults and throws nothing. What a page does is tested in real
// browsers (tests/javascript/browser).

import assert from "node:assert/strict";
import test from "node:test";
import { createClient } from "../dist/esm/index.js";

test("no option and no argument makes it throw", async () => {
  const { warn } = console;
  const warned = [];
  console.warn = (text) => warned.push(text);
  const circular = {};
  circular.self = circular;
  const throws = { get x() { throw new Error("a getter of the page"); } };
  for (const options of [undefined, null, 7, {}, { baseUrl: "nonsense" }, { baseUrl: new URL("http://127.0.0.1:9") }, { baseUrl: Symbol("x") }, { baseUrl: "http://127.0.0.1:9", placements: ["hero", null], bootstrap: "{", timeoutMs: "x" }]) {
    const client = createClient(options);
    const ended = client.on("change", () => {});
    client.on("ready", () => { throw undefined; })();
    assert.equal(await client.ready(), "defaults");
    for (const placement of ["hero", "", undefined, null, 7, {}]) assert.equal(client.decide(placement, "code").value, "code");
    assert.equal((await client.decideAsync("hero", 1)).value, 1);
    assert.equal((await client.decideAll(["hero", null])).hero.value, null);
    assert.deepEqual((await client.rank("rank", ["a", "b", "c"], 2)).ids, ["a", "b"]);
    for (const none of [undefined, null, 7, {}]) assert.deepEqual((await client.rank("rank", none)).ids, []);
    for (const name of ["ok", "", undefined, 7]) client.track(name, circular);
    client.track("ok", throws, null);
    client.track("ok", { big: "x".repeat(40_000) });
    assert.equal(await client.identify("u-1"), "defaults");
    assert.equal(await client.identify(null), "defaults");
    assert.equal(await client.setContext(undefined), "defaults");
    assert.equal(await client.refresh(null), "defaults");
    for (const consent of ["pending", "denied", "granted"]) client.setConsent(consent);
    assert.equal(typeof (await client.flush()), "boolean");
    ended();
    await client.close();
    await client.close();
    client.track("late");
  }
  console.warn = warn;
  assert.ok(warned.length > 0 && warned.every((text) => text.startsWith("[selvedge] ")), warned.join("\n"));
});

test("minted ids are kept apart from given ones, and end with the visitor", async () => {
  const client = createClient({ baseUrl: "http://127.0.0.1:9", subject: "u-1", timeoutMs: 50, consent: "pending" });
  assert.equal(client.visitor().subject, "u-1");
  const { session } = client.visitor();
  await client.identify(null);
  const next = client.visitor();
  assert.ok(next.subject !== "u-1" && next.session !== session);
  client.setConsent("denied");
  const nobody = client.visitor();
  assert.ok(nobody.subject !== next.subject && nobody.session !== next.session);
  client.setConsent("granted");
  assert.ok(![next.subject, nobody.subject, "u-1"].includes(client.visitor().subject));
  await client.close();
});
