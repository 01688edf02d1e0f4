// What is held of the page's placements: asked for, asked for again after changes and failures, kept for the next page. Owns which
// answer counts when several are under way; reading and counting are the client's.

import { isDecision, isEntry, seen, type Held } from "./decision.js";
import type { DecideAnswer, Failure, WireEntry } from "./engine.js";
import { parse, type Store } from "./store.js";
import { backoff } from "./transport.js";
import type { Ask, Happenings, Problem, Ready } from "./types.js";
import { within, type Warn } from "./manners.js";

/** How old decisions may be that stand in for a node that does not answer. */
const CACHE_MS = 86_400_000;
/** The most placements of one question: a node's `http.max_batch`. */
const ASK_MOST = 32;

/** What it needs of the client. */
export interface Surroundings {
  /** Asks the engine. */
  decide(placements: Ask[]): DecideAnswer | Promise<DecideAnswer>;
  /** Whether it answers without a promise. */
  instant(): boolean;
  /** Another release runs. */
  update(release: string): Promise<void>;
  /** Whom answers are for. */
  subject(): string;
  /** Resolves when what happened before a question is told, or after a moment. */
  settled(): Promise<unknown>;
  emit<K extends keyof Happenings>(what: K, told: Happenings[K]): void;
  /** Where answers may be kept now; nowhere without consent. */
  keep(): Store | undefined;
  /** In the key of what is kept. */
  scope: string;
  timeoutMs: number;
  now(): number;
  warn: Warn;
}

export interface Answers {
  of(placement: string): Held | undefined;
  /** Why there is none. */
  problem(): Problem | undefined;
  /** Holds what the server decided. */
  start(entries: WireEntry[]): void;
  /** The first question; in time, else what was kept. */
  begin(asks: Ask[], withinMs: number): Promise<Ready>;
  /** Asks for one that is read and was not asked for: at once where the engine can, else with others of the same moment. */
  want(ask: Ask): void;
  /** Asks now; whether it was answered within the time. */
  ask(asks: Ask[]): Promise<boolean>;
  /** Asks for one that is not held, because each question is another. */
  once(ask: Ask): Promise<Held | undefined>;
  /** Asks again for all, or for others from now on. With `forget`, what is held is somebody else's. */
  renew(asks?: Ask[], forget?: boolean): Promise<Ready>;
  /** The stream tells which release runs, and which beside it for some. */
  runs(release: string, canary?: string): void;
  /** There may be a way to a node again. */
  online(): void;
  /** Forgets what was kept. */
  forget(): void;
  close(): void;
}

export function answers(around: Surroundings): Answers {
  const held = new Map<string, Held>();
  /** What the page shows, and what is asked for again. */
  let shown = new Map<string, Ask>();
  let wanted: Ask[] = [];
  let problem: Problem | undefined;
  let release: string | undefined;
  /** What the stream told last. */
  let heard: string | undefined;
  /** Answers to questions of before are let go; whoever asked them waits for the latest. */
  let turn = 0;
  let latest: Promise<boolean> = Promise.resolve(false);
  let failures = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let begun = false;
  let closed = false;

  /** Asks and takes over what is answered; whether it was. Never rejects. */
  async function ask(placements: Ask[], mine: number): Promise<boolean> {
    try {
      for (let from = 0; from < placements.length; from += ASK_MOST) {
        const answer = around.decide(placements.slice(from, from + ASK_MOST));
        // What is answered at once is held at once.
        const known = answer instanceof Promise ? await answer : answer;
        if (mine !== turn) return latest;
        if (closed) return false;
        take(known);
      }
      failures = 0;
      clearTimeout(retry);
      retry = undefined;
      if (problem) {
        problem = undefined;
        if (begun) around.emit("ready", "fresh");
      }
      return true;
    } catch (error) {
      if (mine === turn && !closed) failed(error as Failure);
      return false;
    }
  }

  function take(answer: DecideAnswer): void {
    const changed: string[] = [];
    for (const entry of answer.decisions.filter(isEntry)) {
      const before = held.get(entry.placement);
      if (!before || seen(before.entry) !== seen(entry)) changed.push(entry.placement);
      held.set(entry.placement, { entry, source: "fresh" });
      if (!isDecision(entry)) around.warn(`${entry.placement}_${entry.error.code}`, `${entry.placement} is not decided: ${entry.error.message}`);
    }
    release = answer.release ?? release;
    // Not in the way of whoever waits for the answer.
    setTimeout(remember);
    if (begun && changed.length) around.emit("change", changed);
  }

  function failed(failure: Failure): void {
    const { code = "unexpected", message, passing } = failure;
    const first = !problem;
    problem = { code, message };
    around.warn(code, `decisions are not a node's: ${message}`);
    if (first) around.emit(passing ? "stale" : "error", problem);
    if (passing && !retry) {
      retry = setTimeout(() => {
        retry = undefined;
        void again();
      }, backoff(failure, failures++));
    }
  }

  function again(): Promise<boolean> {
    const mine = ++turn;
    wanted = [];
    latest = around.settled().then(() => (mine === turn ? ask([...shown.values()], mine) : latest));
    return latest;
  }

  function show(asks: Ask[]): void {
    for (const each of asks) shown.set(each.placement, each);
  }

  // === Kept for the next page ===

  const cache = `selvedge:cache:${around.scope}`;

  function remember(): void {
    const decided = [...held.values()].filter((each) => each.source === "fresh" && isDecision(each.entry));
    const kept = { subject: around.subject(), at: around.now(), decisions: decided.map((each) => each.entry) };
    if (decided.length) around.keep()?.set(cache, JSON.stringify(kept));
  }

  function recall(): void {
    const kept = parse(around.keep()?.get(cache) ?? null);
    const age = Math.abs(around.now() - kept?.at);
    if (!(age < CACHE_MS) || kept.subject !== around.subject() || !Array.isArray(kept.decisions)) return;
    for (const entry of kept.decisions.filter(isEntry)) {
      const { placement } = entry;
      // What was chosen among others than the page has now is no answer.
      if (!held.has(placement) && !shown.get(placement)?.candidates) held.set(placement, { entry, source: "cached" });
    }
  }

  return {
    of: (placement) => held.get(placement),
    problem: () => problem,
    start(entries) {
      for (const entry of entries) held.set(entry.placement, { entry, source: "bootstrap" });
      release = entries.filter(isDecision)[0]?.release;
    },
    async begin(asks, withinMs) {
      const started = held.size > 0;
      show(asks);
      const missing = asks.filter((each) => !held.has(each.placement));
      const answer = missing.length ? ask(missing, turn) : undefined;
      const fresh = !started && answer !== undefined && (await within(withinMs, answer, false));
      if (!started && !fresh) recall();
      begun = true;
      return started ? "bootstrap" : fresh ? "fresh" : held.size ? "cached" : "defaults";
    },
    want(one) {
      if (shown.has(one.placement)) return;
      shown.set(one.placement, one);
      if (around.instant()) return void ask([one], turn);
      wanted.push(one);
      if (wanted.length > 1) return;
      const mine = turn;
      setTimeout(() => {
        if (mine === turn && !closed) void ask(wanted.splice(0), mine);
      });
    },
    ask(asks) {
      show(asks);
      return within(around.timeoutMs, ask(asks, turn), false);
    },
    async once(one) {
      await around.settled();
      try {
        const answer = await within(around.timeoutMs, Promise.resolve<DecideAnswer | undefined>(around.decide([one])), undefined);
        const entry = answer?.decisions.find(isEntry);
        return entry && { entry, source: "fresh" };
      } catch (error) {
        failed(error as Failure);
        return undefined;
      }
    },
    async renew(asks, forget) {
      if (asks) shown = new Map();
      show(asks ?? []);
      const fresh = await within(around.timeoutMs, again(), false);
      if (!fresh && forget) held.clear();
      return fresh ? "fresh" : held.size ? "cached" : "defaults";
    },
    runs(digest, canary) {
      const told = `${digest} ${canary}`;
      // The first time it counts what the answers are of, then whether it is another.
      const known = heard === undefined ? release === undefined || release === digest || release === canary : heard === told;
      heard = told;
      if (!known) void around.update(digest).then(again, () => {});
    },
    online() {
      if (problem) void again();
    },
    forget: () => around.keep()?.remove(cache),
    close() {
      closed = true;
      clearTimeout(retry);
    },
  };
}
