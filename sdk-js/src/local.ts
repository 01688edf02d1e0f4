// Deciding in the page, by the same decision core and the same module bytes as a node: the engine's file, the browser-visible part of
// the release, rows. Owns what is fetched when, and the answer's words; what is decided is the core's alone. The client loads this
// file only when it was created with `engine: "local"`.

import { Engine as Core, initSync } from "../engine/pkg/engine.js";
import { warner } from "./manners.js";
import { Failure, type DecideAnswer, type DecideRequest, type Engine, type EngineSetup, type WireEntry } from "./engine.js";
import { Runner, canCompile, compile } from "./local/runner.js";
import { decodeRecord, encodeAsk, type Kind } from "./local/postcard.js";
import type { Ids } from "./identity.js";
import { json } from "./transport.js";
import type { Ask, Choice, Context, ContextValue, Json } from "./types.js";

/** What `GET release` answers. */
interface Release {
  release: string;
  modules: { index: number; name: string; digest: string }[];
  placements: Record<string, Shown>;
  remote: string[];
  plan: string;
  /** What else a first decision needs, in base64, where that is little: everybody's rows, the visitor's if they are here, small modules by index. */
  inline?: { rows: string[]; modules: Record<string, string> };
}

interface Shown {
  context: [string, Kind][];
  values: { name: string; type: Kind; symbols?: string[] }[];
  payloads?: Record<string, Json>;
  arms?: Record<string, Record<string, Record<string, Json>>>;
}

/** A release that can decide, and whose rows it holds. */
interface Ready extends Ids {
  release: Release;
  core: Core;
  /** Rows were asked for so many times, and those of this time are the newest that came. */
  asked: number;
  taken: number;
}

/** The most slots that one may ask for, the longest id and the longest text of a context in bytes, as a node has them. */
const MOST_SLOTS = 1000;
const MOST_ID = 512;
const MOST_TEXT = 4096;
const MOST_OFFSET_MIN = 1440;
/** The largest record that reaches a node, in bytes: it is a line of its lane, as text. */
const MOST_RECORD = 44_000;

/** Fetches all that a decision needs; then the engine decides without a network. */
export async function createEngine(setup: EngineSetup): Promise<Engine> {
  // A page that can never decide by itself asks for nothing but the release, which the client asked for.
  canCompile();
  const early = heardLater(timed(setup.early, setup.at));
  if (!setup.wasm) throw new Failure("not_wasm", "option wasm is missing", false);
  const loaded = heardLater(engineModule(setup.wasm).then((module) => initSync({ module })));
  const compiled = new Map<string, Promise<WebAssembly.Module>>();
  const warn = warner();
  let ready = await stage(setup, compiled, setup, null, loaded, early).catch((error) => {
    // Another release came while the page fetched what it needs for this one: once more, by that one.
    if ((error as Failure).code !== OTHER_RELEASE) throw error;
    return stage(setup, compiled, setup, null, loaded);
  });
  let staging = 0;
  let closed = false;
  /** Rows that are under way because somebody else looks at the page, and whose. */
  let fetching: { ids: Ids; rows: Promise<void> } | undefined;

  async function update(release?: string, visitor: Ids = ready): Promise<void> {
    if (release === undefined) return rows(visitor);
    const mine = ++staging;
    try {
      if (release === ready.release.release) return await takeRows(setup, ready, ready, true);
    } catch (error) {
      // Another one decides for this visitor by now.
      if ((error as Failure).code !== OTHER_RELEASE) throw error;
    }
    const next = await stage(setup, compiled, visitor, ready, loaded);
    // Meanwhile another one was told of, or the page has gone.
    if (mine === staging && !closed) ready = next;
    else if (next !== ready) next.core.free();
  }

  /** The rows of somebody, by the release that their node runs now. */
  async function rows(whose: Ids): Promise<void> {
    try {
      await takeRows(setup, ready, whose, false);
    } catch (error) {
      if ((error as Failure).code !== OTHER_RELEASE) throw error;
      await update("", whose);
    }
  }

  /** The same for whoever asks meanwhile: several questions of one visitor ask for the rows once. */
  function rowsOf(whose: Ids): Promise<void> {
    const { subject, session } = fetching?.ids ?? {};
    if (!fetching || subject !== whose.subject || session !== whose.session) {
      const mine = { ids: idsOf(whose), rows: rows(whose).finally(() => fetching === mine && (fetching = undefined)) };
      fetching = mine;
    }
    return fetching.rows;
  }

  /** `left` times the visitor's rows are asked for: meanwhile it may be somebody else again. */
  function decide(request: DecideRequest, left = 3): DecideAnswer | Promise<DecideAnswer> {
    // As soon as one placement is a node's, a node decides the page: on one view of the features, and distinct.
    const far = request.placements.find((ask) => ready.release.remote.includes(ask.placement))?.placement;
    if (far !== undefined) {
      warn("decided_remotely", `a node decides, not the page: ${far} cannot be decided here. \`selvedge check -v\` says why`);
      return remote(request);
    }
    const isOther = request.subject !== ready.subject || request.session !== ready.session;
    if (isOther && left) return rowsOf(request).then(() => decide(request, left - 1));
    return (isOther ? undefined : here(request)) ?? remote(request);
  }

  /** Decided in the page; nothing when a record of it would not reach a node. */
  function here(request: DecideRequest): DecideAnswer | undefined {
    const taken: string[] = [];
    const records: Uint8Array[] = [];
    const decisions = request.placements.map((ask) => {
      const { entry, record } = one(ready, ask, request, request.distinct ? taken : []);
      if (record) records.push(record);
      if ("choices" in entry) taken.push(...entry.choices.map((choice) => choice.id));
      return entry;
    });
    if (records.some((record) => record.length > MOST_RECORD)) return undefined;
    for (const record of records) setup.record(`"${base64(record)}"`);
    return { decisions, release: ready.release.release };
  }

  async function remote(request: DecideRequest): Promise<DecideAnswer> {
    return json("decisions")(await setup.send("decide", { body: JSON.stringify(request) }));
  }

  return {
    instant: true,
    decide: (request) => decide(request),
    update: (release) => update(release),
    close() {
      closed = true;
      ready.core.free();
    },
  };
}

/** Decides one placement: an entry as a node answers, and the record that goes back to it. */
function one(
  { release, core }: Ready,
  ask: Ask,
  request: DecideRequest,
  taken: string[],
): { entry: WireEntry; record?: Uint8Array } {
  const { placement } = ask;
  const shown = release.placements[placement];
  const refuse = (code: string, message: string) => ({ entry: { placement, error: { code, message } } });
  if (!shown) return refuse("unknown_placement", `there is no placement ${JSON.stringify(placement)} for this page`);
  const context = given(shown, request.context ?? {});
  const offset = request.tz_offset_min ?? 0;
  const wrong = mistake(ask, shown, context, offset);
  if (wrong) return refuse(...wrong);
  let record: Uint8Array;
  try {
    record = core.decide(encodeAsk(ask, shown.context, context, taken, offset), now());
  } catch (error) {
    // The engine tells a code and why.
    const [, code = "bad_field", message = String(error)] = /^(\w+): ([^]*)$/.exec(String(error)) ?? [];
    return refuse(code, message);
  }
  const { decisionId, candidates, choices, values, reason, experiment, arm, fault, maxLagMs } = decodeRecord(record);
  const own = experiment !== undefined && arm !== null ? shown.arms?.[experiment]?.[arm] : undefined;
  const told = choices.map(({ candidate, score, propensity }): Choice => {
    const id = candidates[candidate]!;
    const payload = own?.[id] ?? shown.payloads?.[id];
    return { id, score: Number.isNaN(score) ? null : score, propensity, ...(payload === undefined ? {} : { payload }) };
  });
  const entry = {
    decision_id: decisionId,
    placement,
    release: release.release,
    reason,
    ...(experiment === undefined ? {} : { experiment }),
    arm,
    choices: told,
    values: named(shown, values),
    max_lag_ms: maxLagMs,
    fault,
  };
  return { entry, record };
}

/** What of the context a placement declares, as JSON would say it to a node. */
function given({ context: declared }: Shown, context: Context): Context {
  const plain = (value: ContextValue) => (typeof value === "number" && !Number.isFinite(value) ? null : value);
  return Object.fromEntries(declared.map(([name]) => [name, plain(context[name] ?? null)]));
}

/** What a node would refuse before it decides. */
function mistake(ask: Ask, shown: Shown, context: Context, offsetMin: number): [string, string] | undefined {
  const bad = (what: string): [string, string] => ["out_of_bounds", what];
  if (ask.slots !== undefined && !(Number.isInteger(ask.slots) && ask.slots >= 1 && ask.slots <= MOST_SLOTS)) {
    return bad(`slots is ${ask.slots}, expected 1 to ${MOST_SLOTS}`);
  }
  if (Math.abs(offsetMin) > MOST_OFFSET_MIN) return bad(`tz_offset_min is ${offsetMin}, expected -${MOST_OFFSET_MIN} to ${MOST_OFFSET_MIN}`);
  for (const [at, id] of (ask.candidates ?? []).entries()) {
    if (!id || isLonger(id, MOST_ID)) return bad(`candidates[${at}]: expected 1 to ${MOST_ID} bytes`);
    if (id.includes("\0")) return bad(`candidates[${at}]: holds U+0000, which no id may`);
  }
  const types = { number: "number", flag: "boolean", symbol: "string" };
  for (const [name, kind] of shown.context) {
    const value = context[name];
    if (value === null) continue;
    if (typeof value !== types[kind]) return ["bad_field", `context.${name}: is a ${typeof value}, but the placement declares a ${kind}`];
    if (typeof value !== "string") continue;
    if (isLonger(value, MOST_TEXT)) return bad(`context.${name}: at most ${MOST_TEXT} bytes`);
    if (value.includes("\0")) return bad(`context.${name}: holds U+0000, which no id may`);
  }
  return undefined;
}

/** Whether a text is more bytes than that. */
function isLonger(text: string, bytes: number): boolean {
  // A character is one to three bytes.
  return text.length > bytes || (3 * text.length > bytes && encoder.encode(text).length > bytes);
}

const encoder = new TextEncoder();

/** The values of rules and models by name; those without a value are left out. */
function named({ values }: Shown, numbers: number[]): Record<string, Json> {
  const named: Record<string, Json> = {};
  values.forEach(({ name, type, symbols }, at) => {
    const number = numbers[at]!;
    if (Number.isNaN(number)) return;
    named[name] = type === "flag" ? number !== 0 : type === "symbol" ? (symbols?.[number] ?? null) : number;
  });
  return named;
}

// === what is fetched ===

/**
 * The release that a node runs, its modules and its rows, made ready. Nothing of what decides until then is touched. The first decision of
 * a page waits for this: what needs not wait for something else does not.
 */
async function stage(
  setup: EngineSetup,
  compiled: Map<string, Promise<WebAssembly.Module>>,
  visitor: Ids,
  before: Ready | null,
  loaded: Promise<unknown>,
  early?: Promise<[Response, number]>,
): Promise<Ready> {
  const ids = idsOf(visitor);
  const mine = before ? ++before.asked : 1;
  const asked = early ?? timed(askRelease(setup, ids));
  const [response, at] = await Promise.race([asked, loaded.then(() => asked)]);
  // A release that may be kept brings no rows: they are asked for before it is read.
  const apart = response.headers.has("ETag") ? heardLater(fetchRows(setup, ids, true)) : undefined;
  const { inline, ...release } = (await whole(json("plan")(response))) as Release;
  const rows = heardLater(inline ? restOf(setup, ids, inline.rows, at) : (apart ?? fetchRows(setup, ids, true)));
  if (before && isSame(release, before.release)) {
    await takeEarly(setup, before, ids, mine, rows);
    return before;
  }
  const runner = new Runner();
  const modules = release.modules.map(async ({ index, digest }) => {
    let module = compiled.get(digest);
    if (!module) {
      module = fetchModule(setup, digest, inline?.modules[index]);
      compiled.set(digest, module);
      // One that did not come is asked for again.
      module.catch(() => compiled.delete(digest));
    }
    await runner.add(index, await module);
  });
  const added = heardLater(Promise.all(modules));
  const [tag, count] = crypto.getRandomValues(new Uint32Array(2));
  let core: Core;
  await loaded;
  try {
    core = new Core(bytesOf(release.plan), runner, tag!, count!);
  } catch (error) {
    throw new Failure("other_core", `this engine cannot decide by the node's release: ${String(error)}`, false);
  }
  const ready: Ready = { release, core, asked: 1, taken: 0 };
  await takeEarly(setup, ready, ids, 1, rows);
  if (!before) rehearse(ready);
  await added;
  // The one before is left to the collector: a decision may be under way with it.
  return ready;
}

/** Browsers compile a function when it is called first: what decides is called while modules are on their way, and nobody is told. */
function rehearse(ready: Ready): void {
  const [placement] = Object.keys(ready.release.placements);
  if (placement !== undefined) one(ready, { placement }, { context: {}, placements: [] }, []);
}

function askRelease(setup: EngineSetup, ids: Ids): Promise<Response> {
  return setup.send("release", { query: { ...whose(ids), inline: "1" } });
}

/** Rows that came with a release, and the visitor's where those did not. */
async function restOf(setup: EngineSetup, ids: Ids, came: string[], at: number): Promise<Fetched> {
  const rows = came.map((text) => ({ bytes: bytesOf(text), at }));
  return rows.length > 1 ? rows : [...rows, ...(await fetchRows(setup, ids, false))];
}

/** An answer, and when it came by the page's clock: it may have waited for this file, since `came` in milliseconds since 1970. */
async function timed(asked: Promise<Response>, came?: number): Promise<[Response, number]> {
  const response = await asked;
  return [response, now() - (came === undefined ? 0 : Math.max(0, Date.now() - came) * 1000)];
}

/** Whether they are one, to this visitor. */
function isSame(release: Release, other: Release): boolean {
  return release.release === other.release && JSON.stringify(release) === JSON.stringify(other);
}

/** The code of the failure when the node runs another release by now. */
const OTHER_RELEASE = "other_release";

/** Rows for a release that decides already: of who looks at the page, and everybody's where `all` says so. */
async function takeRows(setup: EngineSetup, of: Ready, visitor: Ids, all: boolean): Promise<void> {
  const ids = idsOf(visitor);
  const mine = ++of.asked;
  take(of, ids, mine, await fetchRows(setup, ids, all));
}

/** Rows for a release that was just asked for: where they came apart, another node may have answered, by another release. Then once more. */
async function takeEarly(setup: EngineSetup, of: Ready, ids: Ids, mine: number, rows: Promise<Fetched>): Promise<void> {
  try {
    take(of, ids, mine, await rows);
  } catch (error) {
    if ((error as Failure).code !== OTHER_RELEASE) throw error;
    await takeRows(setup, of, ids, true);
  }
}

/** Rows as they came, and when that was by the page's clock: they say what time it was at the node. */
type Fetched = { bytes: Uint8Array; at: number }[];

async function fetchRows(setup: EngineSetup, { subject, session }: Ids, all: boolean): Promise<Fetched> {
  const own = whose({ subject, session });
  // Everybody's rows, too, are those of the release that decides for this one; the browser keeps them by their ETag.
  const everybodys = { ...(subject === undefined ? own : { subject }), all: "1" };
  const queries = [...(all ? [everybodys] : []), ...(Object.keys(own).length ? [own] : [])];
  return Promise.all(
    queries.map(async (query) => {
      const response = await setup.send("features", { query });
      const bytes = await whole(response.arrayBuffer());
      return { bytes: new Uint8Array(bytes), at: now() };
    }),
  );
}

/** Hands rows to the engine, unless newer ones are there: those that were asked for `mine` times. */
function take(of: Ready, { subject, session }: Ids, mine: number, fetched: Fetched): void {
  // What was asked for before newer ones that are here is old.
  if (mine < of.taken) return;
  try {
    for (const { bytes, at } of fetched) of.core.take(bytes, at);
  } catch (error) {
    throw new Failure(OTHER_RELEASE, String(error), true);
  }
  Object.assign(of, { subject, session, taken: mine });
}

async function fetchModule(setup: EngineSetup, digest: string, inline?: string): Promise<WebAssembly.Module> {
  const module = await whole(compile(inline === undefined ? await setup.send(`modules/${digest}`, {}) : bytesOf(inline)), MODULE_MS);
  if (!module) throw new Failure("not_wasm", `what came as module ${digest} is no WebAssembly`, false);
  return module;
}

/** The engine's own file: where it lies only the caller knows. */
async function engineModule(wasm: NonNullable<EngineSetup["wasm"]>): Promise<WebAssembly.Module> {
  if (wasm instanceof WebAssembly.Module) return wasm;
  let file: Response | ArrayBuffer;
  if (!["string", "object"].includes(typeof wasm)) throw new Failure("not_wasm", `option wasm is a ${typeof wasm}`, false);
  if (typeof wasm === "string" || wasm instanceof URL) {
    file = await fetch(wasm);
    if (!file.ok) throw new Failure("not_wasm", `the engine's file ${String(wasm)} was answered ${file.status}`, true);
  } else {
    file = ArrayBuffer.isView(wasm) ? (wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.byteLength) as ArrayBuffer) : wasm;
  }
  const module = await compile(file);
  if (!module) throw new Failure("not_wasm", `option wasm: ${typeof wasm === "string" ? wasm : "what it names"} is no WebAssembly`, false);
  return module;
}

/** How long rows and a release may take whose head is here. */
const BODY_MS = 60_000;
/** And a module, which may be large. */
const MODULE_MS = 600_000;

/** What becomes of a body: one that is cut off, or does not end, may come another time. */
async function whole<T>(read: Promise<T>, ms = BODY_MS): Promise<T> {
  const cut = (why: string) => new Failure("unreachable", `an answer of the node did not come whole: ${why}`, true);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, fail) => (timer = setTimeout(() => fail(cut("too slow")), ms)));
  try {
    return await Promise.race([read, late]);
  } catch (error) {
    throw error instanceof Failure ? error : cut((error as Error).message);
  } finally {
    clearTimeout(timer);
  }
}

// === small things ===

/** What is awaited only after something else, whose failure comes first: until then its own is no unhandled one. */
function heardLater<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Who it is now; whose rows a release has changes. */
function idsOf({ subject, session }: Ids): Ids {
  return { subject, session };
}

function whose({ subject, session }: Ids): Record<string, string> {
  return { ...(subject === undefined ? {} : { subject }), ...(session === undefined ? {} : { session }) };
}

/** The page's clock in microseconds: one that does not jump when somebody sets the time. */
function now(): number {
  return Math.round(performance.now() * 1000);
}


function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  // Newer browsers have a word for it.
  const { fromBase64 } = Uint8Array as { fromBase64?(text: string): Uint8Array<ArrayBuffer> };
  if (fromBase64) return fromBase64.call(Uint8Array, base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** What 16 KiB become is safely no more arguments than a call may have. */
const PIECE = 16_384;

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + PIECE) as unknown as number[]);
  }
  return btoa(text);
}
