// The client of a page: who reads and who is told. The one file that wires the others; each of them owns its own trouble, and this one
// keeps all of it away from the caller.

import { answers } from "./answers.js";
import { asks, isDecision, read, type Held } from "./decision.js";
import type { Engine, EngineRequest, EngineSetup, WireDecision } from "./engine.js";
import { identity, mint } from "./identity.js";
import { CONSENTS, meant } from "./options.js";
import { queue } from "./queue.js";
import { remote } from "./remote.js";
import { openStore } from "./store.js";
import { stream } from "./stream.js";
import { transport, whole } from "./transport.js";
import type { Cause, Client, Consent, Decision, Happenings, Json, Options, Ready } from "./types.js";
import { call, isoTime, warner, within } from "./manners.js";

/** How long a question waits for the events before it to be taken, so that the answer knows them. */
const SETTLE_MS = 250;
/** How many decisions that were read are remembered, for what they bring. */
const READ_MOST = 500;
/** The id of a decision that a page made: no node has a token for it. */
const BY_A_PAGE = /[2367abef].{7}$/;

/** What of an event is not said by its name and properties. */
interface Told {
  messageId?: string;
  decision_id?: string;
  item?: string;
  token?: string;
}

/** The client of a page. Whatever is wrong with the options or the network: defaults, and one warning on the console. */
export function createClient(options: Options): Client {
  const warn = warner();
  const set = meant(options, warn);
  const start = set.bootstrap;
  // @ts-ignore: a build without the engine has no such source.
  const local = set.engine === "local" && import("./local.js");
  // What waits belongs to a node's address: keys are rotated.
  const scope = `${set.baseUrls[0]}`;
  const cache = `selvedge:cache:${scope}`;
  const store = openStore(set.storage, warn);
  const net = transport(set);
  const who = identity(set, start ?? {}, store, set.consent, (gone) => (gone ? setConsent("denied") : void anew()));
  const lane = (what: string, path: string, member: string, most: number) =>
    queue({ what, path, member, most }, scope, store, net, set.consent, mint, warn);
  const events = lane("events", set.eventsPath, "batch", 20_000);
  const records = lane("records", set.beside("records"), "records", 60_000);
  const lanes = [events, records];
  const listeners = new Map<string, Set<(told: any) => void>>();
  /** What was read, by decision and, the last one, by placement. */
  const exposed = new Map<string, WireDecision>();
  const last = new Map<string, WireDecision>();
  /** Names the page in the ids of its messages. */
  const page = mint();
  let count = 0;
  let engine: Engine = remote(net, set.decidePath);
  /** Whether something was tracked since the last question. */
  let news = false;
  let context = set.context;
  let consent = set.consent;
  let closed = false;

  const held = answers({
    decide: (placements) =>
      engine.decide({
        ...who.whom(),
        context,
        placements,
        distinct: set.distinct,
        tz_offset_min: -new Date().getTimezoneOffset(),
      }),
    instant: () => engine.instant,
    update: (release) => engine.update(release),
    subject: () => who.whom().subject,
    async settled() {
      if (!news) return;
      news = false;
      // What a session's events come to is counted by the node.
      await within(SETTLE_MS, events.drain().then(() => engine.update()).catch(() => {}));
    },
    happen,
    keep: () => (consent === "granted" ? store : undefined),
    cache,
    timeoutMs: set.timeoutMs,
    warn,
  });

  function happen<K extends keyof Happenings>(what: K, told: Happenings[K]): void {
    for (const listener of [...(listeners.get(what) ?? [])]) call(listener, told);
  }

  // === Telling ===

  function tell(event: string, properties: Record<string, unknown>, more?: Told): void {
    if (consent === "denied" || closed) return;
    let line;
    try {
      line = JSON.stringify({ event, messageId: `${page}-${count++}`, timestamp: isoTime(), ...who.whom(), ...more, properties });
    } catch (error) {
      return warn("event_not_json", `${event} is no JSON: ${(error as Error).message}`);
    }
    events.push(line);
  }

  /** Somebody sees it: told once, whoever reads it how often. */
  function expose(entry: WireDecision): void {
    last.set(entry.placement, entry);
    if (exposed.has(entry.decision_id)) return;
    if (exposed.size >= READ_MOST) exposed.delete(exposed.keys().next().value as string);
    exposed.set(entry.decision_id, entry);
    const { decision_id, placement, release, experiment, arm, choices } = entry;
    // The same message wherever it is told from: the server's page, another tab, a page that had it from the cache.
    tell("$exposure", { placement, release, experiment, arm }, { messageId: `x-${decision_id}`, decision_id, item: choices[0]?.id });
  }

  /** The decision and the choice that an event follows from, as far as a node believes it. */
  function follows({ decision, placement, decisionId, item, token }: Cause): Told {
    const said = decisionId ?? decision?.decisionId;
    const entry = said === undefined ? last.get(placement as string) : exposed.get(said);
    const id = said ?? entry?.decision_id;
    const choices = decision?.choices ?? entry?.choices ?? [];
    const chosen = item ?? choices[0]?.id;
    const word = token ?? choices.find((choice) => choice.id === chosen)?.token;
    if (!id || word || BY_A_PAGE.test(id)) return { decision_id: id, item: chosen, token: word };
    warn("no_token", `told alone: no token of ${chosen}`);
    return { item };
  }

  // === Reading ===

  function show<T>(placement: string, fallback: T, found: Held | undefined): Decision<T> {
    const decision = read(placement, fallback, found, held.problem());
    if (decision.error?.code === "type_mismatch") warn(`${placement}_type`, decision.error.message);
    if (found && isDecision(found.entry)) expose(found.entry);
    return decision;
  }

  // === From the first moment to the last ===

  async function begin(): Promise<Ready> {
    const entries = start?.decisions ?? [];
    held.start(entries);
    for (const entry of entries) if (isDecision(entry) && start?.read.includes(entry.decision_id)) expose(entry);
    const end = Date.now() + set.timeoutMs;
    if (making) await within(set.timeoutMs, making);
    const state = await held.begin([...(start?.placements ?? []), ...set.placements], end - Date.now());
    happen("ready", state);
    if (visible()) listen();
    return state;
  }

  /** Decides in the page from now on; if it cannot, the node goes on deciding. */
  async function here(loading: Exclude<typeof local, false>): Promise<void> {
    try {
      const send = (name: string, init: EngineRequest) => net.send(set.beside(name), init, whole);
      const ids = who.whom();
      // Asked for while the file that wants it comes.
      const early = send("release", { query: { ...ids, inline: "1" } });
      let at: number | undefined;
      early.then(() => (at = Date.now()), () => {});
      const { createEngine } = await loading;
      const setup: EngineSetup = { ...set, ...ids, send, early, at, record: records.push };
      const made: Engine = await createEngine(setup);
      if (closed) return made.close();
      engine = made;
    } catch (error) {
      warn("local_engine", `a node decides: ${(error as Error).message}`);
    }
  }

  const visible = () => !globalThis.document?.hidden;
  const releases = stream(net, set.beside, held.runs);

  function listen(): void {
    if (set.streaming && !closed && set.baseUrls[0]) releases.open();
  }

  function happened({ type, persisted }: Event & { persisted?: boolean }): void {
    // The first showing of a page is no return.
    if (type === "pageshow" && !persisted) return;
    if (type === "online") held.online();
    const seen = visible() && type !== "pagehide";
    for (const each of lanes) {
      if (type === "online") void each.drain();
      else if (type === "pageshow") each.arrive();
      else each.seen(seen);
      if (type === "pagehide") each.leave();
    }
    if (seen) listen();
    else releases.close();
  }

  /** Somebody else looks at the page. */
  function anew(): Promise<Ready> {
    exposed.clear();
    last.clear();
    return held.renew(undefined, true);
  }

  function setConsent(to: Consent): void {
    if (!CONSENTS.includes(to)) return warn("option_consent", `option consent is none of ${CONSENTS}`);
    if (to === consent) return;
    const before = who.whom();
    consent = to;
    who.consent(to);
    if (to !== "granted") store.remove(cache);
    const after = who.whom();
    // What waited for the answer was told by whom it turns out to be.
    const as = (line: string) => line.split(before.subject).join(after.subject).split(before.session).join(after.session);
    for (const each of lanes) each.consent(to, as);
    if (after.subject !== before.subject) void anew();
  }

  async function flush(): Promise<boolean> {
    return (await Promise.all(lanes.map((each) => each.drain()))).every(Boolean);
  }

  // Before all that can wait: a page's first decision waits for this.
  const making = local && here(local);
  const marks = globalThis.document ? ["online", "pageshow", "pagehide", "visibilitychange"] : [];
  for (const name of marks) addEventListener(name, happened);
  for (const each of lanes) each.arrive();
  if (consent === "denied") store.remove(cache);
  const ready = begin().catch((): Ready => "defaults");

  return {
    ready: () => ready,
    decide(placement, fallback) {
      const name = String(placement);
      held.want({ placement: name });
      return show(name, fallback, held.of(name));
    },
    async decideAsync(placement, fallback) {
      const name = String(placement);
      await ready;
      if (!held.of(name)) await held.wait({ placement: name });
      return show(name, fallback, held.of(name));
    },
    async decideAll(placements) {
      const all = asks(placements);
      await held.ask(all);
      return Object.fromEntries(all.map(({ placement }) => [placement, show<Json>(placement, null, held.of(placement))]));
    },
    async rank(placement, candidates, count) {
      const given = Array.from(candidates ?? [], String);
      const found = await held.once({ placement: String(placement), candidates: given, slots: count });
      const decision = show<Json>(String(placement), null, found);
      return found && isDecision(found.entry) ? decision : { ...decision, ids: given.slice(0, count) };
    },
    setContext(next) {
      context = { ...next };
      return held.renew();
    },
    refresh: (placements) => held.renew(placements && asks(placements)),
    track(event, properties = {}, cause?: Cause) {
      if (typeof event !== "string" || !event) return warn("event_name", "track() without a name");
      tell(event, properties, cause ? follows(cause) : undefined);
      news = true;
    },
    identify(subject, traits = {}) {
      const before = who.whom().subject;
      const next = String(subject ?? "");
      // Said again on every page, it is no news.
      if (next === before) return ready;
      who.become(next);
      if (!next) return anew();
      tell("identify", { ...traits, anonymous_id: before });
      return held.renew(undefined, true);
    },
    setConsent,
    visitor: () => ({ ...who.whom(), context: { ...context } }),
    on(what, listener) {
      const of = listeners.get(what) ?? new Set();
      listeners.set(what, of.add(listener));
      return () => of.delete(listener);
    },
    off: (what, listener) => listeners.get(what)?.delete(listener),
    flush,
    async close() {
      if (closed) return;
      closed = true;
      releases.close();
      held.close();
      // What waits is written down by now; the page may end before it is sent.
      await flush();
      for (const name of marks) removeEventListener(name, happened);
      for (const each of lanes) each.leave();
      engine.close();
    },
  };
}
