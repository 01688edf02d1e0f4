// What is held of a page's placements when some are answered and some are not.

import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";
import { answers } from "../dist/modules/answers.js";
import { Failure } from "../dist/modules/engine.js";
import { chosen, client, fresh, refuse, sleep, until, world } from "./page.mjs";

beforeEach(fresh);
const names = ({ placements }) => placements.map(({ placement }) => placement);

/** Answers over an engine of the test's own; what it told is in `told`. */
function over(decide, more = {}) {
  const told = [];
  const around = {
    decide,
    instant: () => false,
    update: async () => {},
    subject: () => "u",
    settled: async () => {},
    happen: (what, said) => told.push([what, said]),
    keep: () => undefined,
    cache: "c",
    timeoutMs: 200,
    warn: () => {},
    ...more,
  };
  return { held: answers(around), told };
}
const down = new Failure("unreachable", "down", true, 1);

test("one placement's answer does not end the wait for another's", async () => {
  let up = false;
  const { held, told } = over(async (placements) => {
    // What the page itself asks for fails once more than the other.
    if (!up && placements.some(({ placement }) => placement === "hero")) throw new Failure("unreachable", "down", true, 60_000);
    return chosen({ placements });
  });
  assert.equal(await held.begin([{ placement: "hero" }], 100), "defaults");
  held.want({ placement: "theme" });
  await until("the other", () => held.of("theme"));
  assert.deepEqual([held.of("hero"), held.problem()?.code, told.filter(([what]) => what === "ready")], [undefined, "unreachable", []]);
  up = true;
  held.want({ placement: "list" });
  // Long before the next try is due.
  await until("what failed", () => held.of("hero"));
  assert.equal(held.problem(), undefined);
  assert.deepEqual(told.filter(([what]) => what === "ready"), [["ready", "fresh"]]);
  held.close();
});

test("what is wanted at once by many is asked for once", async () => {
  const page = client({ placements: ["theme", { placement: "theme" }] });
  page.decide("hero", "code");
  const [one, other] = await Promise.all([page.decideAsync("hero", "code"), page.decideAsync("hero", "code")]);
  const late = page.decideAsync("list", "code");
  page.decide("list", "code");
  await late;
  assert.deepEqual(world.asked.flatMap(names).sort(), ["hero", "list", "theme"]);
  assert.equal(one.decisionId, other.decisionId);
  await page.flush();
  assert.deepEqual(world.told.map(({ properties }) => properties.placement).sort(), ["hero", "list"]);
  await page.close();
});

test("a page is ready when all of it is there, whoever decided it", async () => {
  const { decisions } = chosen({ placements: [{ placement: "hero" }] });
  const whole = client({ bootstrap: { decisions }, placements: ["hero"] });
  assert.equal(await whole.ready(), "bootstrap");
  assert.deepEqual(world.asked, []);

  let answer;
  world.decide = () => new Promise((done) => (answer = done));
  const part = client({ bootstrap: { decisions }, placements: ["hero", "theme"] });
  let state;
  void part.ready().then((found) => (state = found));
  await until("the question for the rest", () => answer);
  assert.deepEqual([names(world.asked[0]), state], [["theme"], undefined]);
  answer(chosen(world.asked[0]));
  assert.equal(await part.ready(), "fresh");

  const none = client({ bootstrap: { decisions: [], placements: [{ placement: "hero" }] }, storage: "memory", timeoutMs: 50 });
  assert.equal(await none.ready(), "defaults");
  await Promise.all([whole.close(), part.close(), none.close()]);
});

test("that nobody answers in time is told, and so is the late answer", async () => {
  let answer;
  world.decide = () => new Promise((done) => (answer = done));
  const page = client({ placements: ["theme"], timeoutMs: 50 });
  const told = [];
  for (const what of ["ready", "stale", "error", "change"]) page.on(what, (said) => told.push([what, said.code ?? said]));
  assert.equal(await page.ready(), "defaults");
  assert.equal(page.decide("theme", "code").error.code, "timeout");
  answer(chosen(world.asked[0]));
  await until("the answer", () => page.decide("theme", "code").source === "fresh");
  assert.deepEqual(told, [["stale", "timeout"], ["ready", "defaults"], ["change", ["theme"]], ["ready", "fresh"]]);
  await page.close();
});

test("a page that shows nothing waits for nobody", async () => {
  const slow = over(async () => chosen({ placements: [] }), { settled: () => sleep(50), timeoutMs: 10 });
  await slow.held.begin([], 10);
  await slow.held.renew();
  assert.deepEqual([slow.told, slow.held.problem()], [[], undefined]);
  slow.held.close();
});

test("a release that could not be taken over is tried again", async () => {
  const tried = [];
  const { held, told } = over(async (placements) => ({ ...chosen({ placements }), release: tried.length > 1 ? "sha256:2" : "sha256:1" }), {
    update: async (release) => {
      tried.push(release);
      if (tried.length === 1) throw down;
    },
  });
  await held.begin([{ placement: "theme" }], 100);
  const before = held.of("theme").entry.decision_id;
  held.runs("sha256:2");
  await until("the second try", () => tried.length === 2);
  await until("an answer by it", () => held.problem() === undefined);
  assert.deepEqual(tried, ["sha256:2", "sha256:2"]);
  assert.notEqual(held.of("theme").entry.decision_id, before);
  assert.deepEqual(told.map(([what]) => what).filter((what) => what !== "change"), ["stale", "ready"]);
  held.close();
});

/** Time goes by in steps of a second, and all that is settled meanwhile is done. */
async function pass(t, seconds) {
  for (let at = 0; at < seconds; at++) {
    t.mock.timers.tick(1000);
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  }
}

/** Answers by whatever release `runs.by` is, or fails by `runs.failure`; `asked` counts questions, `updated` are releases to be taken over. */
function nodes(by) {
  const runs = { by, asked: 0, updated: [] };
  const decide = async (placements) => {
    runs.asked += 1;
    if (runs.failure) throw runs.failure;
    return { ...chosen({ placements }), release: runs.by };
  };
  const { held, told } = over(decide, { update: async (release) => void runs.updated.push(release) });
  return { held, told, runs };
}

test("a node that does not run yet what another one told is asked again", async (t) => {
  const { held, told, runs } = nodes("1");
  await held.begin([{ placement: "theme" }], 100);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  held.runs("1", "1");
  await pass(t, 10);
  assert.equal(runs.asked, 1);
  held.runs("2", "2");
  await pass(t, 3);
  assert.equal(runs.asked, 3);
  runs.by = "2";
  await pass(t, 4);
  assert.equal(runs.asked, 4);
  await pass(t, 600);
  assert.equal(runs.asked, 4, "who runs it is not asked again");
  assert.deepEqual([held.problem(), told.filter(([what]) => what !== "change")], [undefined, []]);
  held.close();
});

test("a page whose stream tells of no canary asks a node again that is late", async () => {
  class Stream extends EventTarget {
    constructor() {
      super();
      Stream.open = this;
    }
    say(event, data) {
      this.dispatchEvent(Object.assign(new Event(event), { data: JSON.stringify(data) }));
    }
    close() {}
  }
  globalThis.EventSource = Stream;
  try {
    const page = client({ placements: ["theme"], streaming: true });
    await page.ready();
    Stream.open.say("hello", { release: "sha256:1" });
    assert.equal(world.asked.length, 1);
    Stream.open.say("release", { release: "sha256:2" });
    await until("the late node to be asked again", () => world.asked.length === 3);
    await page.close();
  } finally {
    delete globalThis.EventSource;
  }
});

test("a page that was told what runs before anybody answered asks a node again that is late", async (t) => {
  const { held, runs } = nodes("1");
  t.mock.timers.enable({ apis: ["setTimeout"] });
  held.runs("2", "2");
  assert.equal(runs.asked, 0, "there is nothing to be asked again");
  await held.begin([{ placement: "theme" }], 100);
  assert.equal(runs.asked, 1);
  runs.by = "2";
  await pass(t, 4);
  assert.equal(runs.asked, 2);
  await pass(t, 600);
  assert.equal(runs.asked, 2);

  // What is newer than what was told is not old, however it was told.
  runs.by = "3";
  await held.renew();
  await pass(t, 600);
  assert.equal(runs.asked, 3);
  held.close();

  // By a poll it knows of no canary, by which it may be answered.
  const polled = nodes("canary");
  polled.held.runs("2");
  await polled.held.begin([{ placement: "theme" }], 100);
  await pass(t, 600);
  assert.equal(polled.runs.asked, 1);
  polled.held.close();
});

test("what is told again changes nothing of what is old", async (t) => {
  const { held, runs } = nodes("1");
  await held.begin([{ placement: "theme" }], 100);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  held.runs("1", "1");
  runs.by = "2";
  held.runs("2", "2");
  await pass(t, 4);
  assert.equal(runs.asked, 2);
  // The page was hidden and is seen again; and a late node answers.
  held.runs("2", "2");
  runs.by = "1";
  await held.renew();
  runs.by = "2";
  await pass(t, 4);
  assert.equal(runs.asked, 4);
  held.close();
});

test("what was told before is old, though the page had seen the new one by then", async (t) => {
  const { held, runs } = nodes("1");
  await held.begin([{ placement: "theme" }], 100);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  held.runs("1", "1");
  // A node that swapped answers before the stream tells of it, and a late one after.
  runs.by = "2";
  await held.renew();
  runs.by = "1";
  held.runs("2", "2");
  await pass(t, 1);
  runs.by = "2";
  await pass(t, 4);
  assert.equal(runs.asked, 4);
  held.close();
});

test("what was under way when the page closed is of no consequence", async (t) => {
  const { held, runs } = nodes("1");
  await held.begin([{ placement: "theme" }], 100);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  held.runs("2", "2");
  await pass(t, 1);
  const { asked } = runs;
  const once = held.once({ placement: "list" });
  while (runs.asked === asked) await Promise.resolve();
  held.close();
  await once;
  const { length } = runs.updated;
  await pass(t, 100);
  assert.equal(runs.updated.length, length);
});

test("what is asked for once tells of an old node as well", async (t) => {
  const { held, runs } = nodes("1");
  t.mock.timers.enable({ apis: ["setTimeout"] });
  held.runs("2", "2");
  await held.once({ placement: "list" });
  await pass(t, 4);
  assert.deepEqual(runs.updated, ["2"]);
  held.close();
});

test("that all is answered is told at once, also by nodes that stay apart", async (t) => {
  const { held, told, runs } = nodes("1");
  runs.failure = down;
  await held.begin([{ placement: "theme" }], 100);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  held.runs("2", "2");
  runs.failure = undefined;
  held.online();
  await pass(t, 1);
  assert.deepEqual(told.filter(([what]) => what === "ready"), [["ready", "fresh"]]);
  held.close();
});

test("nodes that stay apart are not asked for ever", async (t) => {
  const { held, runs } = nodes("1");
  await held.begin([{ placement: "theme" }], 100);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  held.runs("1", "1");
  held.runs("2", "2");
  await pass(t, 3600);
  const { asked } = runs;
  assert.ok(asked > 5 && asked < 13, `${asked}`);
  await pass(t, 3600);
  assert.equal(runs.asked, asked);
  held.close();
});

test("what a canary answers, or what is newer than what was told, is not old", async (t) => {
  const { held, runs } = nodes("1");
  await held.begin([{ placement: "theme" }], 100);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  held.runs("1", "1");
  runs.by = "canary";
  held.runs("2", "canary");
  await pass(t, 100);
  assert.equal(runs.asked, 2);
  held.runs("3", "canary");
  await pass(t, 100);
  assert.equal(runs.asked, 3);
  // A poll is told of no canary.
  held.runs("4");
  await pass(t, 100);
  assert.equal(runs.asked, 4);
  // A node swaps before it tells.
  held.runs("5", "5");
  runs.by = "6";
  await pass(t, 100);
  assert.equal(runs.asked, 5);
  held.close();
});

test("of two questions under way the one that an old node answered is asked again", async (t) => {
  const answering = [];
  const { held } = over((placements) => new Promise((done) => answering.push((release) => done({ ...chosen({ placements }), release }))));
  const begun = held.begin([{ placement: "theme" }], 100);
  answering.shift()("1");
  await begun;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  held.runs("1", "1");
  held.runs("2", "2");
  await pass(t, 1);
  held.want({ placement: "list" });
  await pass(t, 1);
  const [theme, list] = answering.splice(0);
  theme("1");
  await pass(t, 1);
  list("2");
  await pass(t, 3);
  assert.equal(answering.length, 1);
  held.close();
});

test("nothing that was asked is no answer, and after the end nothing is asked", async () => {
  let asked = 0;
  const { held } = over(async () => {
    asked++;
    throw down;
  });
  await held.begin([], 100);
  assert.equal(await held.once({ placement: "list" }), undefined);
  assert.equal(held.problem().code, "unreachable");
  assert.equal(await held.ask([]), false);
  assert.equal(held.problem().code, "unreachable");
  held.close();
  const before = asked;
  assert.equal(await held.once({ placement: "list" }), undefined);
  assert.equal(await held.ask([{ placement: "list" }]), false);
  await sleep(20);
  assert.equal(asked, before);
});

test("a page asks again by itself", async () => {
  world.decide = () => refuse(503, "not_ready");
  const page = client({ placements: ["theme"] });
  assert.equal(await page.ready(), "defaults");
  world.decide = chosen;
  await until("the next question", () => page.decide("theme", "code").value === "dark");
  await page.close();
});
