// What waits to be told when a page is closed, hidden, refused, or came after another one.

import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";
import { client, fresh, happens, refuse, sleep, stored, until, world } from "./page.mjs";

beforeEach(fresh);
const never = () => new Promise(() => {});
const lines = () => Object.values(stored("events")).flatMap((text) => text.split("\n"));

test("a page that ends while it closes loses nothing", async () => {
  world.events = never;
  const page = client();
  page.track("click", { n: 1 });
  const closed = page.close();
  // Before anything was awaited: it is written down, and leaving the page is still noticed.
  assert.equal(lines().length, 1);
  happens("pagehide");
  assert.equal(world.beacons.length, 1);

  // Locks are let go of a moment later.
  await sleep(1);
  world.events = () => ({ accepted: 1, duplicates: 0, rejected: [] });
  const next = client();
  await until("the next page to tell it", () => world.told.some(({ properties }) => properties.n === 1));
  await next.close();
  void closed;
});

test("without sendBeacon a hidden page sends as well, and throws nothing", async () => {
  for (const nav of [{}, { sendBeacon() { throw new Error("blocked"); } }]) {
    fresh();
    Object.defineProperty(globalThis, "navigator", { value: nav, configurable: true });
    const page = client();
    page.track("click", { n: 1 });
    const errors = [];
    process.once("uncaughtException", (error) => errors.push(error));
    document.hidden = true;
    happens("visibilitychange");
    if (!nav.sendBeacon) assert.ok(world.requests.some(({ path, keepalive }) => path === "events" && keepalive));
    assert.equal(lines().length, 1);
    await sleep(1);
    assert.deepEqual(errors, []);
    process.removeAllListeners("uncaughtException");
    await page.close();
  }
});

test("what was left is sent under the next key, and stays written down until it is", async () => {
  world.events = () => refuse(503, "outbox_full");
  const page = client({ key: "pk_old" });
  page.track("click", { n: 1 });
  await page.flush();
  await page.close();
  await sleep(1);
  assert.equal(lines().length, 1);

  // Nothing more can be written, and still nothing is lost.
  world.full = true;
  let answer;
  world.events = () => new Promise((done) => (answer = done));
  const next = client({ key: "pk_new" });
  await until("it to be sent", () => answer);
  assert.equal(lines().length, 1);
  answer({ accepted: 1, duplicates: 0, rejected: [] });
  await until("it to be taken", () => lines().length === 0);
  assert.equal(world.requests.at(-1).url.searchParams.get("key"), "pk_new");
  assert.deepEqual(world.told.map(({ properties }) => properties.n), [1]);
  await next.close();

  // Another node's is not this one's.
  fresh();
  world.events = () => refuse(503, "outbox_full");
  const here = client();
  here.track("click");
  await here.close();
  const elsewhere = client({ baseUrl: "http://other.example" });
  await elsewhere.flush();
  assert.equal(lines().length, 1);
  await elsewhere.close();
});

test("a batch of which nothing is taken is told with its reasons, and is gone", async () => {
  const rejected = [{ index: 0, code: "too_deep", message: "nested" }, { index: 1, code: "bad_text", message: "control" }];
  world.events = () => refuse(400, "bad_batch", { accepted: 0, duplicates: 0, rejected });
  const page = client();
  page.track("click");
  page.track("click");
  assert.equal(await page.flush(), true);
  assert.deepEqual(stored("events"), {});
  assert.deepEqual(world.warned.map((text) => text.match(/\[(\w+)\]$/)[1]), ["events_too_deep", "events_bad_text"]);
  await page.close();
});

test("an event that is taken without its decision is told", async () => {
  world.events = () => ({ accepted: 1, duplicates: 0, rejected: [], detached: [{ index: 0, code: "expired_token", message: "token: too old" }] });
  const page = client();
  page.track("purchase");
  assert.equal(await page.flush(), true);
  assert.deepEqual(world.warned, ["[selvedge] wrong events: token: too old [events_expired_token]"]);
  await page.close();
});

test("thousands of events in one moment go in few requests, each once and in its order", async () => {
  const page = client();
  for (let n = 0; n < 1000; n++) page.track("view_item", { n });
  assert.equal(await page.flush(), true);
  assert.deepEqual(world.told.map(({ properties }) => properties.n), Array.from({ length: 1000 }, (_, n) => n));
  const counts = world.requests.map(({ said }) => said.batch.length);
  assert.ok(counts.length <= 11 && Math.max(...counts) <= 100, `${counts}`);
  assert.deepEqual(stored("events"), {});
  await page.close();
});

test("what a hidden page sends is small enough for a beacon, whatever its letters", async () => {
  const page = client();
  for (let n = 0; n < 40; n++) page.track("view_item", { n, name: "靴".repeat(600) });
  document.hidden = true;
  happens("visibilitychange");
  const sizes = world.beacons.map(({ body }) => new TextEncoder().encode(body).length);
  assert.ok(sizes.length > 1 && Math.max(...sizes) <= 65_536, `${sizes}`);

  // It is seen, and hidden again: what was tracked meanwhile is sent then, and what is tracked while it is hidden is written down, once.
  document.hidden = false;
  happens("visibilitychange");
  world.beacons.length = 0;
  page.track("click", { n: 40 });
  document.hidden = true;
  happens("visibilitychange");
  assert.equal(world.beacons.filter(({ body }) => JSON.parse(body).batch.some(({ properties }) => properties.n === 40)).length, 1);
  const before = world.writes;
  for (let n = 41; n < 61; n++) page.track("click", { n });
  await sleep(0);
  assert.deepEqual(lines().map((line) => JSON.parse(line).properties.n), Array.from({ length: 61 }, (_, n) => n));
  assert.equal(world.writes - before, 1);
  await page.close();
});

test("an event has the time at which it was tracked, also after the clock was set", async () => {
  const { now } = Date;
  const page = client();
  try {
    const times = [86_400_000, 86_400_000, 86_400_001, 5];
    for (const time of times) {
      Date.now = () => time;
      page.track("click");
    }
    Date.now = now;
    await page.flush();
    assert.deepEqual(world.told.map(({ timestamp }) => Date.parse(timestamp)), times);
  } finally {
    Date.now = now;
  }
  await page.close();
});

test("a page that is left before it has its lock holds none", async () => {
  const page = client();
  page.track("click");
  world.events = () => refuse(503, "outbox_full");
  happens("pagehide");
  await sleep(1);
  const next = client();
  world.events = () => ({ accepted: 1, duplicates: 0, rejected: [] });
  await until("the next page to take it over", () => lines().length === 0 && world.told.length === 1);
  await Promise.all([page.close(), next.close()]);
});
