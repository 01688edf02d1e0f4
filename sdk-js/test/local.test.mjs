// What the local engine fetches when, and by whose rows it decides. The decision core is a stand-in, which says whose rows it has; that
// the real one decides as a node does is tested against a node (tests/javascript/browser/local.mjs).

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import test, { beforeEach } from "node:test";
import { build } from "esbuild";

const STAND_INS = {
  "engine.js": `
    const text = (bytes) => new TextDecoder().decode(bytes);
    export const initSync = () => {};
    export class Engine {
      constructor(plan) { this.release = text(plan); }
      take(bytes, at) {
        globalThis.taken.push(at);
        const { release, subject } = JSON.parse(text(bytes));
        if (release !== this.release) throw "rows of another release";
        if (subject) this.subject = subject;
      }
      decide({ placement, candidates = [], context }) {
        globalThis.decided.push([placement, this.subject]);
        const record = new Uint8Array(candidates.join("").length);
        return Object.assign(record, { outcome: { decisionId: this.release + this.subject, candidates: [this.subject], choices: [{ candidate: 0, score: 1, propensity: 1 }], values: [], reason: "RULED", arm: null, fault: null, maxLagMs: 0 }, context });
      }
      free() { globalThis.freed.push(this.release); }
    }`,
  "postcard.js": `
    export const FAULTS = [];
    export const encodeAsk = (ask, declared, context) => ({ ...ask, context });
    export const decodeRecord = ({ outcome }) => outcome;`,
};
const plugin = {
  name: "stand-ins",
  setup: (on) => {
    on.onResolve({ filter: /(engine\/pkg\/engine|local\/postcard|\.\/postcard)\.js$/ }, ({ path }) => ({ path: path.split("/").pop(), namespace: "stand-in" }));
    on.onLoad({ filter: /.*/, namespace: "stand-in" }, ({ path }) => ({ contents: STAND_INS[path] }));
  },
};
const source = fileURLToPath(new URL("../src/local.ts", import.meta.url));
const { outputFiles } = await build({ entryPoints: [source], bundle: true, format: "esm", write: false, plugins: [plugin] });
const { createEngine } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);

const EMPTY = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);

/** What was asked, each with how to answer it; what was recorded. */
let asked;
let recorded;
let running;
let waits;
/** Whether the node's rows are too large to come with the release; modules of it, and those of them that come with it. */
let large;
let modules;
let small;
/** Whether the node has the visitor's rows. */
let isFetched;
/** By what visitors are decided for, if not by what runs. */
let releases;
beforeEach(() => {
  Object.assign(globalThis, { freed: [], decided: [], taken: [] });
  [asked, recorded, running, waits, large, modules, small, isFetched, releases] = [[], [], "r1", false, false, [], {}, true, {}];
});

function answer(name, query, release = releases[query.subject] ?? running) {
  const rows = (subject) => JSON.stringify({ release, ...(subject && { subject }) });
  if (name === "features") return rows(query.all ? undefined : query.subject);
  const placements = { hero: { context: [["country", "symbol"], ["cart", "number"]], values: [] } };
  const inline = query.inline && !large && { rows: [rows(), ...(isFetched ? [rows(query.subject)] : [])].map(btoa), modules: small };
  if (name === "release") return JSON.stringify({ release, modules, remote: ["far"], placements, plan: btoa(release), inline: inline || undefined });
  return '{"decisions":[],"release":"r9"}';
}

async function send(name, { query = {}, body } = {}) {
  const of = { name, query, body };
  asked.push(of);
  // Nothing is answered before it was asked.
  await undefined;
  if (waits) await new Promise((go) => (of.go = go));
  if (of.failure) throw of.failure;
  if (name.startsWith("modules/")) return new Response(EMPTY, { headers: { "Content-Type": "application/wasm" } });
  const text = of.text ?? answer(name, query, of.release);
  // A release that may be kept brings nothing else.
  const headers = name === "release" && !text.includes("inline") ? { ETag: "a" } : {};
  return new Response(of.stream ?? text, { headers });
}

const ids = { subject: "u-1", session: "s" };
const early = () => send("release", { query: { ...ids, inline: "1" } });
const make = (wasm, release = early(), at) => createEngine({ send, early: release, at, wasm, ...ids, record: (text) => recorded.push(text) });
const module = new WebAssembly.Module(EMPTY);
const engine = () => make(module);
const of = (subject, more = {}) => ({ subject, session: "s", context: {}, placements: [{ placement: "hero", ...more }] });
const who = ({ decisions }) => decisions.map(({ choices, error }) => error?.code ?? choices[0].id).join();
const moment = () => new Promise((done) => setTimeout(done));

const names = () => asked.splice(0).map(({ name, query }) => (query.all ? "everybody" : query.inline ? "start" : name)).join();

test("rows come with a release, and after that the visitor's own", async () => {
  const made = await engine();
  assert.equal(names(), "start");
  await made.update();
  assert.deepEqual(asked.map(({ query }) => ({ ...query })), [{ subject: "u-1", session: "s" }]);
  assert.equal(names(), "features");
  // Told of what runs already: rows may be others.
  await made.update("r1");
  assert.equal(names(), "everybody,features");
  running = "r2";
  await made.update("r2");
  assert.equal(names(), "start");
  assert.equal(made.decide(of("u-1")).release, "r2");
});

test("rows that are too large to come with a release are asked for apart, before it is read", async () => {
  large = true;
  waits = true;
  const making = engine();
  await moment();
  let end;
  asked[0].stream = new ReadableStream({ start: (body) => (end = () => (body.enqueue(new TextEncoder().encode(answer("release", {}))), body.close())) });
  asked[0].go();
  await moment();
  // The session is not in everybody's: a browser finds again what it kept.
  assert.deepEqual(asked.map(({ query }) => ({ ...query })).slice(1), [{ subject: "u-1", all: "1" }, { subject: "u-1", session: "s" }]);
  for (const each of asked) each.go();
  end();
  waits = false;
  const made = await making;
  assert.equal(who(made.decide(of("u-1"))), "u-1");
  assert.equal(names(), "start,everybody,features");
  running = "r2";
  await made.update("r2");
  assert.equal(made.decide(of("u-1")).release, "r2");
  assert.equal(names(), "start,everybody,features");
});

test("rows of a visitor that the node does not have yet are asked for apart, alone", async () => {
  isFetched = false;
  const made = await engine();
  assert.equal(names(), "start,features");
  assert.equal(who(made.decide(of("u-1"))), "u-1");
});

test("rows say what time it was when they came, though the page looked later", async () => {
  const release = early();
  await release;
  const made = await make(module, release, Date.now() - 60_000);
  assert.equal(names(), "start");
  const now = performance.now() * 1000;
  for (const at of globalThis.taken.splice(0)) assert.ok(Math.abs(now - at - 60_000_000) < 5_000_000, `${now} ${at}`);
  running = "r2";
  await made.update("r2");
  for (const at of globalThis.taken) assert.ok(Math.abs(performance.now() * 1000 - at) < 5_000_000, `${at}`);
  assert.equal(globalThis.taken.length, 2);
});

test("a module that came with the release is not asked for", async () => {
  modules = [{ index: 0, name: "a", digest: "sha256:a" }, { index: 1, name: "b", digest: "sha256:b" }];
  small = { 1: btoa(String.fromCharCode(...EMPTY)) };
  await engine();
  assert.equal(names(), "start,modules/sha256:a");
  small = { 0: btoa("<!doctype html>") };
  await assert.rejects(engine(), { code: "not_wasm" });
});

test("rows are those of whom they were asked for, whoever looks at the page by then", async () => {
  const made = await engine();
  asked = [];
  waits = true;
  // Another release for the first visitor, and rows of this one for the second, which are there before.
  running = "r2";
  const update = made.update("r2");
  await moment();
  const decided = made.decide(of("u-2"));
  await moment();
  const [start, rows] = asked;
  Object.assign(rows, { release: "r1" }).go();
  await decided;
  waits = false;
  start.go();
  await update;
  const next = await made.decide(of("u-2"));
  assert.deepEqual([next.release, who(next)], ["r2", "u-2"]);

  // The first one's rows, asked for before and here after those of the second.
  asked = [];
  waits = true;
  const third = made.decide(of("u-3"));
  const again = made.update();
  await moment();
  asked[0].go();
  assert.equal(who(await third), "u-3");
  asked[1].go();
  await again;
  waits = false;
  assert.equal(who(await made.decide(of("u-3"))), "u-3");
});

test("a visitor who comes into a canary is decided for by it", async () => {
  const made = await engine();
  // What the node answers this visitor by, beside the release that it tells all pages of.
  running = "canary";
  await made.update("r1");
  assert.equal(made.decide(of("u-1")).release, "canary");
});

test("another visitor is decided for by their own release, with few questions", async () => {
  for (const isLarge of [false, true]) {
    large = isLarge;
    const made = await engine();
    releases = { "u-1": "r1", "u-2": "canary" };
    names();
    for (const [subject, release] of [["u-2", "canary"], ["u-1", "r1"]]) {
      const decided = await made.decide(of(subject));
      assert.deepEqual([decided.release, who(decided)], [release, subject]);
      assert.equal(names(), large ? "features,start,everybody,features" : "features,start");
    }
    made.close();
  }
});

test("several questions of another visitor ask for their rows once", async () => {
  for (const isLarge of [false, true]) {
    large = isLarge;
    const made = await engine();
    releases = { "u-2": "canary" };
    names();
    const all = await Promise.all(Array.from({ length: 5 }, () => made.decide(of("u-2"))));
    assert.deepEqual([...new Set(all.map((one) => `${one.release} ${who(one)}`))], ["canary u-2"]);
    assert.equal(names(), large ? "features,start,everybody,features" : "features,start");
    made.close();
  }
});

test("a visitor who is somebody else again whenever rows come is decided for by a node", async () => {
  const made = await engine();
  asked = [];
  waits = true;
  const decided = made.decide(of("u-2"));
  for (let at = 0; at < 3; at++) {
    await moment();
    const [theirs] = asked.splice(0);
    // Somebody else's are newer when theirs come.
    const other = made.decide(of(`other-${at}`));
    await moment();
    asked.splice(0)[0].go();
    await other;
    theirs.go();
  }
  await moment();
  assert.equal(names(), "decide");
});

test("what decides is called before anybody asks, of which nothing is told; and once", async () => {
  const made = await engine();
  assert.deepEqual(globalThis.decided.splice(0), [["hero", "u-1"]]);
  running = "r2";
  await made.update("r2");
  assert.deepEqual([globalThis.decided, recorded], [[], []]);
});

test("rows decide for whom they are, in whatever order they come", async () => {
  const made = await engine();
  asked = [];
  waits = true;
  const update = made.update();
  const other = made.decide(of("u-2"));
  assert.ok(other instanceof Promise);
  await moment();
  const [old, next] = asked;
  next.go();
  assert.equal(who(await other), "u-2");
  assert.equal(recorded.length, 1);
  // These were asked for before: they are no news.
  old.go();
  await update;
  assert.equal(who(made.decide(of("u-2"))), "u-2");

  // Two visitors at once, the later one's rows first: each decides by their own.
  asked = [];
  const third = made.decide(of("u-3"));
  const fourth = made.decide(of("u-4"));
  await moment();
  asked[1].go();
  assert.equal(who(await fourth), "u-4");
  asked[0].go();
  await moment();
  asked.at(-1).go();
  assert.equal(who(await third), "u-3");
});

test("of two releases the later counts, and what the node runs by now decides", async () => {
  const made = await engine();
  asked = [];
  waits = true;
  const slow = made.update("r2");
  await moment();
  const first = asked.splice(0);
  waits = false;
  running = "r3";
  await made.update("r3");
  for (const each of first) Object.assign(each, { release: "r2" }).go();
  await slow;
  assert.equal(made.decide(of("u-1")).release, "r3");
  assert.deepEqual(freed, ["r2"]);
  // Nobody told of this one: its rows do.
  running = "r4";
  const decided = await made.decide(of("u-2"));
  assert.deepEqual([decided.release, who(decided)], ["r4", "u-2"]);

  // One that cannot be fetched changes nothing, and is told.
  running = "r5";
  waits = true;
  const failing = made.update("r5");
  await moment();
  Object.assign(asked.findLast(({ name }) => name === "release"), { failure: new Error("down") }).go();
  await assert.rejects(failing, /down/);
  assert.equal(made.decide(of("u-2")).release, "r4");

  // One that is here when the page has gone is let go.
  freed.length = 0;
  waits = false;
  running = "r6";
  const late = made.update("r6");
  made.close();
  await late;
  assert.deepEqual(freed, ["r4", "r6"]);
});

test("what a node refuses a page refuses", async () => {
  const made = await engine();
  const long = "é".repeat(257);
  for (const [more, context, code] of [
    [{ slots: 0 }, {}, "out_of_bounds"],
    [{ candidates: ["a", ""] }, {}, "out_of_bounds"],
    [{ candidates: [long] }, {}, "out_of_bounds"],
    [{ candidates: ["a\0b"] }, {}, "out_of_bounds"],
    [{}, { country: "é".repeat(2_049) }, "out_of_bounds"],
    [{}, { country: "D\0" }, "out_of_bounds"],
    [{}, { country: 7 }, "bad_field"],
    [{}, { cart: "7" }, "bad_field"],
    [{ candidates: ["é".repeat(256)], slots: 1_000 }, { country: "é".repeat(2_048), cart: NaN, other: {} }, "u-1"],
  ]) {
    assert.equal(who(made.decide({ ...of("u-1", more), context })), code, JSON.stringify([more, context]));
  }
  assert.equal(who(made.decide({ ...of("u-1"), tz_offset_min: 1_441 })), "out_of_bounds");
  assert.equal(recorded.length, 1);
});

test("what is a node's, or would make too long a record, a node decides", async (t) => {
  const warned = [];
  const { warn } = console;
  t.after(() => (console.warn = warn));
  console.warn = (text) => warned.push(text);
  const made = await engine();
  asked = [];
  for (const request of [{ ...of("u-1"), placements: [{ placement: "hero" }, { placement: "far" }] }, of("u-1", { candidates: Array.from({ length: 100 }, () => "x".repeat(500)) })]) {
    assert.equal((await made.decide(request)).release, "r9");
    assert.deepEqual(JSON.parse(asked.at(-1).body), request);
  }
  assert.deepEqual([asked.length, recorded.length, warned.length], [2, 0, 1]);
  assert.match(warned[0], /far cannot be decided here.*\[decided_remotely\]$/);
  waits = true;
  const page = made.decide({ ...of("u-1"), placements: [{ placement: "far" }] });
  await moment();
  Object.assign(asked.at(-1), { text: "<!doctype html>" }).go();
  await assert.rejects(page, { code: "not_a_node" });
});

test("rows that another node answered by another release are asked for once more", async () => {
  large = true;
  waits = true;
  const made = engine();
  await moment();
  const [release, ...rows] = asked.splice(0);
  waits = false;
  for (const each of rows) Object.assign(each, { release: "r0" }).go();
  release.go();
  assert.equal(who((await made).decide(of("u-1"))), "u-1");
  assert.deepEqual(asked.map(({ name }) => name), ["features", "features"]);
});

test("a release that came while the page fetched what the one before wants is asked for", async () => {
  large = true;
  const early = await send("release", { query: ids });
  running = "r2";
  const made = await make(module, Promise.resolve(early));
  assert.equal(made.decide(of("u-1")).release, "r2");
  assert.equal(asked.filter(({ name }) => name === "release").length, 2);
});

test("the engine's file may come as anything that is WebAssembly, and nothing else", async () => {
  const real = globalThis.fetch;
  const wasm = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);
  const engineOf = (body, headers, init) => {
    globalThis.fetch = async () => new Response(body, { headers, ...init });
    return make("/engine.wasm");
  };
  try {
    for (const type of ["application/wasm", "application/wasm; charset=utf-8", "application/octet-stream"]) {
      assert.equal(who((await engineOf(wasm, { "Content-Type": type })).decide(of("u-1"))), "u-1", type);
    }
    for (const type of ["application/wasm", "text/html"]) {
      await assert.rejects(engineOf("<!doctype html>", { "Content-Type": type }), { code: "not_wasm" }, type);
    }
    await assert.rejects(engineOf("", {}, { status: 404 }), { code: "not_wasm" });
    asked = [];
    await assert.rejects(make(), { code: "not_wasm" });
    assert.deepEqual(asked.map(({ name }) => name), ["release"], "a page that will never decide asks for nothing more");
    // A node that does not answer is not waited for when the engine's file is none.
    waits = true;
    await assert.rejects(engineOf("", {}, { status: 404 }), { code: "not_wasm" });
  } finally {
    globalThis.fetch = real;
  }
});

test("an answer that breaks off is a failure that may pass, and nothing of before is lost", async () => {
  const made = await engine();
  const broken = () => new ReadableStream({ start: (body) => (body.enqueue(new TextEncoder().encode("{")), queueMicrotask(() => body.error(new TypeError("network error")))) });
  for (const isLarge of [false, true]) {
    large = isLarge;
    running = `r-${isLarge}`;
    asked = [];
    waits = true;
    const update = made.update(running);
    update.catch(() => {});
    await moment();
    // The release, or rows that come apart from it.
    if (large) {
      asked.shift().go();
      await moment();
    }
    waits = false;
    Object.assign(asked[0], { stream: broken() });
    for (const each of asked) each.go();
    await assert.rejects(update, { code: "unreachable", passing: true, message: /did not come whole: .*network error/ });
    assert.equal(who(made.decide(of("u-1"))), "u-1");
    await made.update(running);
    assert.equal(made.decide(of("u-1")).release, running);
  }
});

test("a browser that makes no instance at once makes it later; one that may not compile says what allows it", async () => {
  const { Instance, Module } = WebAssembly;
  modules = [{ index: 0, name: "a", digest: "sha256:a" }];
  try {
    WebAssembly.Instance = class {
      constructor() {
        throw new RangeError("larger than 4KB");
      }
    };
    assert.equal(who((await engine()).decide(of("u-1"))), "u-1");
    WebAssembly.Module = class {
      constructor() {
        throw new WebAssembly.CompileError("the policy forbids it");
      }
    };
    await assert.rejects(make(module), { message: /^the policy forbids it; 'wasm-unsafe-eval'/ });
  } finally {
    Object.assign(WebAssembly, { Instance, Module });
  }
});
