// OpenFeature's own OFREP provider for servers against a node: its address is the argument. Exits 1 with what is wrong.

import assert from "node:assert/strict";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: process.argv[2] }));
const client = OpenFeature.getClient();
const person = { targetingKey: "u-1", session: "s-1", cart_value: 20, provoke: 1 };

function flag({ flagKey, value, reason, variant, errorCode, flagMetadata }, expected, because, chosen) {
  assert.deepEqual({ value, reason, variant, errorCode }, { value: expected, reason: because, variant: chosen, errorCode: undefined }, flagKey);
  return flagMetadata;
}

flag(await client.getBooleanDetails("banner", false, person), true, "STATIC", "on");
flag(await client.getNumberDetails("page-size", 1, person), 24, "STATIC", "some");
flag(await client.getNumberDetails("free-from", 1, person), 15, "STATIC", "low");
flag(await client.getStringDetails("theme", "", person), "light", "STATIC", "light");
const metadata = flag(await client.getObjectDetails("hero", {}, person), { banner: "vip.svg" }, "TARGETING_MATCH", "vip");
assert.equal(metadata.decision_id.length, 36);
assert.equal(metadata.reason, "SCORED");
const { arm } = flag(await client.getObjectDetails("greeting", {}, person), { banner: "vip.svg" }, "SPLIT", "vip");
assert.ok(["a", "b"].includes(arm), arm);
flag(await client.getObjectDetails("broken", {}, person), { banner: "plain.svg", rows: [1, 2] }, "UNKNOWN", "plain");
flag(await client.getBooleanDetails("banner", false), true, "STATIC", "on");

function wrong({ flagKey, value, errorCode }, byDefault, code) {
  assert.deepEqual({ value, errorCode }, { value: byDefault, errorCode: code }, flagKey);
}

wrong(await client.getStringDetails("nothing", "code", person), "code", "FLAG_NOT_FOUND");
wrong(await client.getStringDetails("plp-rank", "code", person), "code", "FLAG_NOT_FOUND");
wrong(await client.getObjectDetails("hero", {}, {}), {}, "TARGETING_KEY_MISSING");
wrong(await client.getObjectDetails("hero", {}, { targetingKey: "u-1", cart_value: "x" }), {}, "INVALID_CONTEXT");
wrong(await client.getStringDetails("banner", "code", person), "code", "TYPE_MISMATCH");
await OpenFeature.close();
