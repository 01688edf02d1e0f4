// What a page may say, and what it then means: nothing of it throws.

import assert from "node:assert/strict";
import test from "node:test";
import { meant } from "../dist/modules/options.js";

function check(options, expected, warnings = []) {
  const said = [];
  const found = meant(options, (code) => said.push(code));
  for (const [name, value] of Object.entries(expected)) assert.deepEqual(found[name], value, name);
  assert.deepEqual(said, warnings);
}

test("addresses", () => {
  check({ baseUrl: "https://edge.example/" }, { baseUrls: ["https://edge.example"] });
  check({ baseUrl: ["https://a.example", "https://b.example/x/"] }, { baseUrls: ["https://a.example", "https://b.example/x"] });
  for (const baseUrl of [undefined, null, "", "ftp://a", 7, [], {}]) check({ baseUrl }, { baseUrls: [] }, ["option_baseUrl"]);
});

test("whatever is said, there are options", () => {
  for (const options of [undefined, null, 7, "x", []]) check(options, { timeoutMs: 1000, consent: "granted", placements: [] }, ["option_baseUrl"]);
  const baseUrl = "https://a.example";
  for (const timeoutMs of [-1, 0, "x", NaN, null]) check({ baseUrl, timeoutMs }, { timeoutMs: 1000 });
  check({ baseUrl, key: "sk_1" }, { key: "sk_1" }, ["option_key"]);
  check({ baseUrl, subject: 42, placements: "hero" }, { subject: "42", placements: [{ placement: "hero" }] });
});

test("what is said of a closed set is one of it", () => {
  const baseUrl = "https://a.example";
  check({ baseUrl }, { consent: "granted", storage: "local", engine: "remote", streaming: true });
  check({ baseUrl, consent: "denied", storage: "memory", engine: "local", streaming: false }, { consent: "denied", storage: "memory", engine: "local", streaming: false });
  // Nothing is kept or told until it is clear.
  for (const consent of ["Granted", true, 1, Symbol("x")]) check({ baseUrl, consent }, { consent: "pending" }, ["option_consent"]);
  check({ baseUrl, storage: "session", engine: "wasm", streaming: "no" }, { storage: "local", engine: "remote", streaming: true }, ["option_storage", "option_engine", "option_streaming"]);
  check({ baseUrl, consent: null, storage: undefined }, { consent: "granted", storage: "local" });
});

test("stream, release and records are neighbours of the path that decides", () => {
  const { beside, eventsPath } = meant({ baseUrl: "https://a.example", decidePath: "/s/d", eventsPath: "/e" }, () => {});
  assert.deepEqual([beside("stream"), beside("decide"), eventsPath], ["/s/stream", "/s/d", "/e"]);
});

test("a bootstrap of another shape, version or person is none", () => {
  const baseUrl = "https://a.example";
  const decisions = [{ decision_id: "d", placement: "hero", release: "r", reason: "RULED", choices: [] }];
  const whole = { decisions, read: [], placements: [{ placement: "hero" }] };
  check({ baseUrl, bootstrap: { decisions } }, { bootstrap: whole });
  check({ baseUrl, bootstrap: JSON.stringify({ v: 1, decisions }) }, { bootstrap: { v: 1, ...whole } });
  check({ baseUrl, subject: "u", bootstrap: { decisions, subject: "u" } }, { subject: "u" });
  for (const bootstrap of [7, "{", {}, { v: 2, decisions }, { decisions: {} }, { decisions: [{}] }]) check({ baseUrl, bootstrap }, { bootstrap: undefined }, ["option_bootstrap"]);
  check({ baseUrl, subject: "u", bootstrap: { decisions, subject: "v" } }, { bootstrap: undefined }, ["option_bootstrap"]);
});
