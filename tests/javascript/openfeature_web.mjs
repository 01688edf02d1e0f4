// OpenFeature's own OFREP provider for pages against a node: its address is the argument. Says "listening" when its flags are right,
// then waits to be told by the node's stream that they changed, and says "changed". Exits 1 with what is wrong.

import assert from "node:assert/strict";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";

const statuses = [];
const seen = async (request, options) => {
  const response = await fetch(request, options);
  statuses.push(response.status);
  return response;
};

await OpenFeature.setContext({ targetingKey: "u-1", session: "s-1", cart_value: 20, provoke: 1 });
const provider = new OFREPWebProvider({ baseUrl: process.argv[2], cacheMode: "disabled", fetchImplementation: seen });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();

function flag({ flagKey, value, reason, variant, errorCode }, expected, because, chosen) {
  assert.deepEqual({ value, reason, variant, errorCode }, { value: expected, reason: because, variant: chosen, errorCode: undefined }, flagKey);
}

flag(client.getBooleanDetails("banner", false), true, "STATIC", "on");
flag(client.getNumberDetails("page-size", 1), 24, "STATIC", "some");
flag(client.getNumberDetails("free-from", 1), 15, "STATIC", "low");
flag(client.getStringDetails("theme", ""), "light", "STATIC", "light");
flag(client.getObjectDetails("hero", {}), { banner: "vip.svg" }, "TARGETING_MATCH", "vip");
flag(client.getObjectDetails("greeting", {}), { banner: "vip.svg" }, "SPLIT", "vip");
// Nothing was chosen: the default of the code counts, and it is no error.
flag(client.getStringDetails("none", "code"), "code", "DISABLED", "");
const release = client.getBooleanDetails("banner", false).flagMetadata.release;

// No flag, because it ranks what a request names.
assert.equal(client.getStringDetails("plp-rank", "code").errorCode, "FLAG_NOT_FOUND");
// Asked again for the same, the node says that nothing changed.
await OpenFeature.setContext({ targetingKey: "u-1", session: "s-1", cart_value: 21, provoke: 1 });
assert.deepEqual(statuses, [200, 304]);
// Somebody else, and nobody.
await OpenFeature.setContext({ targetingKey: "u-2" });
assert.equal(client.getObjectDetails("visits", {}).errorCode, "INVALID_CONTEXT");
await OpenFeature.setContext({});
assert.equal(client.getObjectDetails("hero", {}).errorCode, "TARGETING_KEY_MISSING");
flag(client.getBooleanDetails("banner", false), true, "STATIC", "on");
await OpenFeature.setContext({ targetingKey: "u-1", session: "s-1", cart_value: 20, provoke: 1 });

const changed = new Promise((resolve) => client.addHandler(ProviderEvents.ConfigurationChanged, resolve));
console.log("listening");
const { flagsChanged } = await changed;
assert.ok(flagsChanged.includes("banner"), flagsChanged);
flag(client.getBooleanDetails("banner", true), false, "STATIC", "off");
assert.notEqual(client.getBooleanDetails("banner", false).flagMetadata.release, release);
console.log("changed");
await OpenFeature.close();
