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
  check({ baseUrl, subject: 42, placements: "hero" }, { subject: "42", placements: [] });
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
