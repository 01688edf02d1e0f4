// Deciding in the page, by the same decision core and the same module bytes as a node: the engine's file, the browser-visible part of
// the release, rows. Owns what is fetched when, and the answer's words; what is decided is the core's alone. The client loads this
// file only when it was created with `engine: "local"`.

import { Engine as Core, initSync } from "../engine/pkg/engine.js";
import { Failure, type DecideAnswer, type DecideRequest, type Engine, type EngineSetup, type WireEntry } from "./engine.js";
import { Runner, compile } from "./local/runner.js";
import { decodeRecord, encodeAsk, type Kind } from "./local/postcard.js";
import type { Ask, Choice, Context, Json } from "./types.js";

/** What `GET release` answers. */
interface Release {
  release: string;
  modules: { index: number; name: string; digest: string }[];
  placements: Record<string, Shown>;
  remote: string[];
  plan: string;
}

interface Shown {
  context: [string, Kind][];
  values: { name: string; type: Kind; symbols?: string[] }[];
  payloads?: Record<string, Json>;
  arms?: Record<string, Record<string, Record<string, Json>>>;
}

/** A release that can decide, and whose rows it holds. */
interface Ready {
  release: Release;
  etag: string | null;
  core: Core;
  subject?: string;
  session?: string;
}

/** The most slots that one may ask for, as a node has it. */
const MOST_SLOTS = 1000;

/** Fetches all that a decision needs; then the engine decides without a network. */
export async function createEngine(setup: EngineSetup): Promise<Engine> {
  // A page without WebAssembly, or whose policy forbids it, finds out here and not at a decision.
  initSync({ module: await engineModule(setup.wasm) });
  const compiled = new Map<string, Promise<WebAssembly.Module>>();
  let ready = await stage(setup, compiled, setup.subject, setup.session, null);
  let records: string[] = [];

  async function update(release?: string): Promise<void> {
    const { subject, session } = ready;
    if (release !== undefined && release !== ready.release.release) {
      ready = await stage(setup, compiled, subject, session, ready);
    } else {
      await takeRows(setup, ready.core, subject, session, true);
    }
  }

  function decideNow(request: DecideRequest): DecideAnswer {
    const taken: string[] = [];
    const decisions = request.placements.map((ask) => {
      const { entry, record } = one(ready, ask, request, request.distinct ? taken : []);
      if (record) {
        records.push(base64(record));
        if ("choices" in entry) taken.push(...entry.choices.map((choice) => choice.id));
      }
      return entry;
    });
    return { decisions, release: ready.release.release };
  }

  return {
    decide(request) {
      // As soon as one placement is a node's, a node decides the page: on one view of the features, and distinct.
      if (request.placements.some((ask) => ready.release.remote.includes(ask.placement))) {
        return setup.request("decide", { method: "POST", body: JSON.stringify(request) }).then((response) => response.json());
      }
      if (request.subject === ready.subject && request.session === ready.session) return decideNow(request);
      return takeRows(setup, ready.core, request.subject, request.session, false).then(() => {
        ready = { ...ready, subject: request.subject, session: request.session };
        return decideNow(request);
      });
    },
    update,
    // What a session's events come to is counted by the node that stores them: `update` brings it back.
    observe: () => {},
    takeRecords() {
      const taken = records;
      records = [];
      return taken;
    },
    close: () => ready.core.free(),
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
  const wrong = mistake(ask, shown, request.context ?? {});
  if (wrong) return refuse(...wrong);
  let record: Uint8Array;
  try {
    const bytes = encodeAsk(ask, shown.context, request.context ?? {}, taken, request.tz_offset_min ?? 0);
    record = core.decide(bytes, now());
  } catch (error) {
    // The engine tells a code and why.
    const [, code = "bad_field", message = ""] = /^(\w+): ([^]*)$/.exec(String(error)) ?? [];
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

/** What a node would refuse before it decides. */
function mistake(ask: Ask, shown: Shown, context: Context): [string, string] | undefined {
  if (ask.slots !== undefined && !(Number.isInteger(ask.slots) && ask.slots >= 1 && ask.slots <= MOST_SLOTS)) {
    return ["out_of_bounds", `slots is ${ask.slots}, expected 1 to ${MOST_SLOTS}`];
  }
  const types = { number: "number", flag: "boolean", symbol: "string" };
  for (const [name, kind] of shown.context) {
    const value = context[name];
    if (value !== undefined && value !== null && typeof value !== types[kind]) {
      return ["bad_field", `context.${name}: is a ${typeof value}, but the placement declares a ${kind}`];
    }
  }
  return undefined;
}

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

/** The release, its modules and its rows, made ready. Nothing of what decides until then is touched. */
async function stage(
  setup: EngineSetup,
  compiled: Map<string, Promise<WebAssembly.Module>>,
  subject: string | undefined,
  session: string | undefined,
  before: Ready | null,
): Promise<Ready> {
  const response = await setup.request("release", { query: whose(subject, session) });
  const etag = response.headers.get("ETag");
  const release = (await response.json()) as Release;
  if (before && etag !== null && etag === before.etag) {
    await takeRows(setup, before.core, subject, session, true);
    return before;
  }
  const runner = new Runner();
  const modules = release.modules.map(async ({ index, digest }) => {
    let module = compiled.get(digest);
    if (!module) {
      module = fetchModule(setup, digest);
      compiled.set(digest, module);
      // One that did not come is asked for again.
      module.catch(() => compiled.delete(digest));
    }
    await runner.add(index, await module);
  });
  const [tag, count] = crypto.getRandomValues(new Uint32Array(2));
  const core = new Core(bytesOf(release.plan), runner, tag!, count!);
  await Promise.all([...modules, takeRows(setup, core, subject, session, true)]);
  // The one before is left to the collector: a decision may be under way with it.
  return { release, etag, core, ...(subject === undefined ? {} : { subject }), ...(session === undefined ? {} : { session }) };
}

/** Rows: of who looks at the page, and everybody's where `all` says so. */
async function takeRows(
  setup: EngineSetup,
  core: Core,
  subject: string | undefined,
  session: string | undefined,
  all: boolean,
): Promise<void> {
  const own = subject !== undefined || session !== undefined;
  const who = whose(subject, session);
  // Everybody's rows, too, are those of the release that decides for this one.
  const queries = [...(all ? [{ ...who, all: "1" }] : []), ...(own ? [who] : [])];
  const answers = await Promise.all(
    queries.map(async (query) => new Uint8Array(await (await setup.request("features", { query })).arrayBuffer())),
  );
  for (const rows of answers) core.take(rows, now());
}

async function fetchModule(setup: EngineSetup, digest: string): Promise<WebAssembly.Module> {
  const bytes = await (await setup.request(`modules/${digest}`)).arrayBuffer();
  const module = await compile(bytes);
  if (!module) throw new Failure("not_wasm", `what came as module ${digest} is no WebAssembly`, false);
  return module;
}

/** The engine's own file: where it lies only the caller knows. */
async function engineModule(wasm: EngineSetup["wasm"]): Promise<WebAssembly.Module> {
  if (wasm instanceof WebAssembly.Module) return wasm;
  let bytes: ArrayBuffer;
  if (typeof wasm === "string" || wasm instanceof URL) {
    const response = await fetch(wasm);
    if (!response.ok) throw new Failure("not_wasm", `the engine's file ${String(wasm)} was answered ${response.status}`, true);
    bytes = await response.arrayBuffer();
  } else {
    bytes = ArrayBuffer.isView(wasm) ? (wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.byteLength) as ArrayBuffer) : wasm;
  }
  const module = await compile(bytes);
  if (!module) throw new Failure("not_wasm", `option wasm: ${typeof wasm === "string" ? wasm : "what it names"} is no WebAssembly`, false);
  return module;
}

// === small things ===

function whose(subject: string | undefined, session: string | undefined): Record<string, string> {
  return { ...(subject === undefined ? {} : { subject }), ...(session === undefined ? {} : { session }) };
}

/** The page's clock in microseconds: one that does not jump when somebody sets the time. */
function now(): number {
  return Math.round(performance.now() * 1000);
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
