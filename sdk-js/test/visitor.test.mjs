// Who a visitor is over pages, tabs and what they agree to, and what is told of them.

import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";
import { client, fresh, happens, sleep, stored, until, world } from "./page.mjs";

beforeEach(fresh);
const ids = () => JSON.parse(localStorage.getItem("selvedge:ids"));

test("who agrees on a later page is who they were", async () => {
  const first = client();
  const before = first.visitor();
  await first.close();

  const page = client({ consent: "pending", placements: ["theme"] });
  await page.ready();
  page.decide("theme", "code");
  page.track("click", { n: 1 });
  const pending = page.visitor();
  assert.notEqual(pending.subject, before.subject);
  assert.equal(await page.flush(), false);
  page.setConsent("granted");
  assert.deepEqual(page.visitor(), before);
  assert.equal(await page.flush(), true);
  const [exposure, click] = world.told;
  assert.equal(click.event, "click");
  // What was seen, in which placement and arm, and by which release.
  const { event, item, properties } = exposure;
  assert.deepEqual([event, item, properties], ["$exposure", "dark", { placement: "theme", release: "sha256:1", arm: null }]);
  for (const { subject, session } of world.told) assert.deepEqual([subject, session], [before.subject, before.session]);
  // What was decided for somebody new is decided again.
  await until("the question of whom it is", () => world.asked.at(-1).subject === before.subject);
  assert.equal(world.asked[0].subject, pending.subject);
  assert.equal(ids().subject, before.subject);
  await page.close();
});

test("who agrees for the first time goes on, and is kept", async () => {
  const page = client({ consent: "pending" });
  const { subject } = page.visitor();
  assert.deepEqual(stored(""), {});
  page.setConsent("granted");
  assert.equal(page.visitor().subject, subject);
  const { since, begun, at, ...kept } = ids();
  assert.deepEqual(kept, { subject, session: page.visitor().session });
  assert.ok([since, begun, at].every((time) => Math.abs(Date.now() - time) < 5_000));
  await page.close();
});

test("what one tab says of the visitor holds in the others", async () => {
  const [one, other] = [client(), client({ placements: ["theme"] })];
  await other.ready();
  assert.equal(one.visitor().subject, other.visitor().subject);
  await sleep(2);
  await one.identify(null);
  const next = one.visitor().subject;
  await sleep(2);
  other.track("click");
  assert.equal(other.visitor().subject, next);
  assert.equal(ids().subject, next);
  await until("the other tab to ask for somebody else", () => world.asked.at(-1).subject === next);

  // Taken back in one tab, it is taken back in all.
  one.setConsent("denied");
  await sleep(2);
  other.track("click");
  await Promise.all([one.flush(), other.flush()]);
  assert.notEqual(other.visitor().subject, next);
  assert.deepEqual(stored(""), {});
  assert.ok(world.told.every(({ subject }) => subject === next));
  await Promise.all([one.close(), other.close()]);
  assert.deepEqual(stored(""), {});
});

test("whom a server knows is not kept for the next page, and its session is", async () => {
  const decisions = [];
  const page = client({ bootstrap: { subject: "u-42", session: "session-9", decisions } });
  assert.deepEqual(page.visitor(), { subject: "u-42", session: "session-9", context: {} });
  page.track("click");
  await page.close();
  assert.doesNotMatch(JSON.stringify(stored("ids")), /u-42/);
  const { begun } = ids();
  await sleep(5);
  const again = client({ bootstrap: { subject: "u-42", session: "session-9", decisions } });
  again.track("click");
  assert.equal(ids().begun, begun);
  await again.identify(null);
  const { subject, session } = again.visitor();
  assert.ok(subject !== "u-42" && session !== "session-9");
  await again.close();
  const next = client();
  assert.equal(next.visitor().subject, subject);
  await next.close();
});

test("another answer of the visitor's makes another person of them, with other decisions", async () => {
  const page = client({ placements: ["theme"] });
  await page.ready();
  const first = page.decide("theme", "code");
  const { subject } = page.visitor();
  page.track("click");
  page.setConsent("pending");
  assert.deepEqual([stored(""), page.visitor().subject], [{}, subject]);
  page.setConsent("granted");
  assert.equal(Object.keys(stored("events")).length, 1);
  page.setConsent("denied");
  assert.deepEqual(stored(""), {});
  await until("somebody else's decisions", () => page.decide("theme", "code").decisionId !== first.decisionId);
  assert.notEqual(world.asked.at(-1).subject, subject);
  page.setConsent("granted");
  page.track("purchase", {}, { placement: "theme" });
  await page.flush();
  assert.equal(world.told.find(({ event }) => event === "purchase").decision_id, undefined);
  page.setConsent("perhaps");
  assert.ok(world.warned.at(-1).endsWith("[option_consent]"), world.warned.at(-1));
  await page.close();
});

test("an event that names what was not chosen is told without its decision", async () => {
  const page = client({ placements: ["theme"] });
  await page.ready();
  const decision = page.decide("theme", "code");
  page.track("purchase", { n: 1 }, { decision, item: "dark" });
  page.track("purchase", { n: 2 }, { placement: "theme", item: "sku-7" });
  page.track("purchase", { n: 3 }, { decisionId: decision.decisionId.replace(/.{8}$/, "20000001"), item: "sku-7" });
  await page.flush();
  const told = world.told.filter(({ event }) => event === "purchase").map(({ decision_id, item, token }) => ({ decision_id, item, token }));
  assert.deepEqual(told[0], { decision_id: decision.decisionId, item: "dark", token: "token-dark" });
  assert.deepEqual(told[1], { decision_id: undefined, item: "sku-7", token: undefined });
  // What a page decided itself has no token.
  assert.ok(told[2].decision_id.endsWith("20000001") && told[2].item === "sku-7");
  assert.equal(world.warned.filter((text) => text.endsWith("[no_token]")).length, 1);
  await page.close();
});
