// What is held of the page's placements: asked for, asked for again after changes and failures, kept for the next page. Owns which
// answer counts when several are under way; reading and counting are the client's.

import { ASK_MOST, isDecision, isEntry, seen, type Held } from "./decision.js";
import type { DecideAnswer, Failure, WireEntry } from "./engine.js";
import { parse, type Store } from "./store.js";
import { backoff } from "./transport.js";
import type { Ask, Happenings, Problem, Ready } from "./types.js";
import { timer, within, type Warn } from "./manners.js";

/** How old decisions may be that stand in for a node that does not answer. */
const CACHE_MS = 86_400_000;

/** How often an answer by the release before is asked for again: some minutes. */
const OLD_MOST = 9;

/** What it needs of the client. */
export interface Surroundings {
  /** Asks the engine. */
  decide(placements: Ask[]): DecideAnswer | Promise<DecideAnswer>;
  /** Whether it answers without a promise. */
  instant(): boolean | undefined;
  /** Another release runs. */
  update(release: string): Promise<void>;
  /** Whom answers are for. */
  subject(): string;
  /** Resolves when what happened before a question is told, or after a moment. */
  settled(): Promise<unknown>;
  happen<K extends keyof Happenings>(what: K, told: Happenings[K]): void;
  /** Where answers may be kept now; nowhere without consent. */
  keep(): Store | undefined;
  /** The key of what is kept. */
  cache: string;
  timeoutMs: number;
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
  /** The same, and waits for the answer as long as a page waits. */
  wait(ask: Ask): Promise<unknown>;
  /** Asks now, and waits for the answer as long as a page waits. */
  ask(asks: Ask[]): Promise<unknown>;
  /** Asks for one that is not held, because each question is another. */
  once(ask: Ask): Promise<Held | undefined>;
  /** Asks again for all, or for others from now on. With `forget`, what is held is somebody else's. */
  renew(asks?: Ask[], forget?: boolean): Promise<Ready>;
  /** It is told which release runs and which for some, where there is no canary the same; or by a poll, without. */
  runs(release: string, canary?: string): void;
  /** There may be a way to a node again. */
  online(): void;
  close(): void;
}

export function answers(around: Surroundings): Answers {
  const held = new Map<string, Held>();
  /** What the page shows, and what is asked for again. */
  let shown = new Map<string, Ask>();
  /** Asked for and not answered yet: the question that is under way, or none where it failed. Who wants the same waits for it. */
  const open = new Map<string, Promise<boolean> | undefined>();
  /** The question that what is wanted in this moment becomes. */
  let moment: Promise<boolean> | undefined;
  let problem: Problem | undefined;
  let release: string | undefined;
  /** What the stream told last: the release, and the canary. And of it the release that is not taken over yet. */
  let heard: (string | undefined)[] = [];
  /** What was told before, and the release of the answers then; of the first answer, where there was none. */
  let old: (string | undefined)[] = [];
  let due: string | undefined;
  /** It could not be taken over the last time. */
  let behind = false;
  /** Answers to questions of before are let go; whoever asked them waits for the latest. */
  let turn = 0;
  let latest: Promise<boolean>;
  let failures = 0;
  let begun = false;
  let closed = false;
  const retry = timer(() => {
    failures++;
    void again();
  });

  /** Asks and takes over what is answered; whether it was. Never rejects. */
  function ask(placements: Ask[], mine = turn): Promise<boolean> {
    const work: Promise<boolean> = answered(placements, mine).then((done) => {
      for (const { placement } of placements) {
        if (open.get(placement) !== work) continue;
        open.set(placement, undefined);
        if (done) open.delete(placement);
      }
      if (done && placements.length) well();
      return done;
    });
    for (const { placement } of placements) open.set(placement, work);
    return work;
  }

  async function answered(placements: Ask[], mine: number): Promise<boolean> {
    if (closed) return false;
    if (!placements.length) return !problem;
    try {
      for (let from = 0; from < placements.length; from += ASK_MOST) {
        const answer = around.decide(placements.slice(from, from + ASK_MOST));
        // What is answered at once is held at once.
        const known = answer instanceof Promise ? await answer : answer;
        if (mine !== turn) return latest;
        if (closed) return false;
        take(known);
      }
      return true;
    } catch (error) {
      if (mine !== turn) return latest;
      failed(error as Failure);
      return false;
    }
  }

  /** A node answers: what failed before is asked for at once, and all is well when nothing is left to be asked or taken over. */
  function well(): void {
    if (open.size) return void ask(those((name) => open.has(name) && !open.get(name)));
    if (!due) {
      failures = 0;
      retry.stop();
    }
    if (!problem || behind) return;
    problem = undefined;
    if (begun) around.happen("ready", "fresh");
  }

  /** Whether the last answer is of a release that does not run. */
  const isOld = () => release && !heard.includes(release);

  /** What is shown of these. */
  function those(are: (placement: string) => boolean): Ask[] {
    return [...shown.values()].filter(({ placement }) => are(placement));
  }

  /** Behind one address are several nodes: the one that answered may not run yet what another one told; or never will. */
  function noted(answer: DecideAnswer): void {
    if (!release && heard[1]) old = [answer.release];
    release = answer.release ?? release;
    if (failures < OLD_MOST && old.includes(release) && isOld()) {
      due ??= heard[0];
      retry.start(backoff({}, failures));
    }
  }

  function take(answer: DecideAnswer): void {
    const changed: string[] = [];
    for (const entry of answer.decisions.filter(isEntry)) {
      const before = held.get(entry.placement);
      if (!before || seen(before.entry) !== seen(entry)) changed.push(entry.placement);
      held.set(entry.placement, { entry, source: "fresh" });
      if (!isDecision(entry)) around.warn(`${entry.placement}_${entry.error.code}`, `${entry.placement}: ${entry.error.message}`);
    }
    noted(answer);
    // Not in the way of whoever waits for the answer.
    setTimeout(remember);
    if (begun && changed.length) around.happen("change", changed);
  }

  function failed(failure: Failure): void {
    if (closed) return;
    const { code = "unexpected", message, passing } = failure;
    const told = problem && passing;
    problem = { code, message };
    around.warn(code, `no decisions: ${message}`);
    if (!told) around.happen(passing ? "stale" : "error", problem);
    if (passing) {
      retry.stop();
      retry.start(backoff(failure, failures));
    }
  }

  /** What is asked for within the time that a page waits. That nobody answers in it is told. */
  async function inTime(ms: number, work: Promise<boolean>): Promise<boolean | undefined> {
    const fresh = await within(ms, work);
    if (!fresh && open.size && !problem && !closed) around.happen("stale", (problem = { code: "timeout", message: "no answer in time" }));
    return fresh;
  }

  function again(): Promise<boolean> {
    const mine = ++turn;
    open.clear();
    for (const name of shown.keys()) open.set(name, undefined);
    latest = renewed(mine);
    return latest;
  }

  async function renewed(mine: number): Promise<boolean> {
    await around.settled();
    const digest = due;
    due = undefined;
    try {
      if (digest) await around.update(digest);
      behind = false;
    } catch (error) {
      behind = true;
      due ??= digest;
      failed(error as Failure);
    }
    return mine === turn ? ask([...shown.values()], mine) : latest;
  }

  function want(one: Ask): Promise<boolean> | undefined {
    const { placement } = one;
    if (shown.has(placement)) return open.get(placement);
    shown.set(placement, one);
    if (around.instant()) return ask([one]);
    const mine: Promise<boolean> = (moment ??= new Promise((done) => setTimeout(done)).then(() => {
      moment = undefined;
      const wanted = those((name) => open.get(name) === mine);
      // Or all is asked for again meanwhile.
      return wanted.length ? ask(wanted) : latest;
    }));
    open.set(placement, mine);
    return mine;
  }

  function show(asks: Ask[]): void {
    for (const each of asks) shown.set(each.placement, each);
  }

  // === Kept for the next page ===

  function remember(): void {
    const decided = [...held.values()].filter((each) => each.source === "fresh" && isDecision(each.entry));
    const kept = { subject: around.subject(), at: Date.now(), decisions: decided.map((each) => each.entry) };
    if (decided.length) around.keep()?.set(around.cache, JSON.stringify(kept));
  }

  function recall(): void {
    const kept = parse(around.keep()?.get(around.cache) ?? null);
    const age = Math.abs(Date.now() - kept?.at);
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
      release = entries.find(isDecision)?.release;
    },
    async begin(asks, withinMs) {
      show(asks);
      const missing = those((name) => !held.has(name));
      const rendered = missing.length < shown.size;
      let fresh;
      if (missing.length) {
        void ask(missing.filter(({ placement }) => !open.get(placement)));
        const all = Promise.all(missing.map(({ placement }) => open.get(placement)));
        fresh = await inTime(withinMs, all.then((each) => each.every(Boolean)));
        if (!fresh) recall();
      }
      begun = true;
      return fresh ? "fresh" : rendered ? "bootstrap" : held.size ? "cached" : "defaults";
    },
    want,
    wait(one) {
      return within(around.timeoutMs, want(one) ?? ask([shown.get(one.placement) ?? one]));
    },
    ask(asks) {
      show(asks);
      return within(around.timeoutMs, ask(asks));
    },
    async once(one) {
      await around.settled();
      if (closed) return undefined;
      try {
        const answer = await within(around.timeoutMs, around.decide([one]));
        if (answer && !closed) {
          noted(answer);
          well();
        }
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
      // Somebody else's is not kept as this one's.
      if (forget) for (const each of held.values()) each.source = "cached";
      const fresh = await inTime(around.timeoutMs, again());
      if (!fresh && forget) held.clear();
      return fresh ? "fresh" : held.size ? "cached" : "defaults";
    },
    runs(digest, canary) {
      const before = heard;
      heard = [digest, canary];
      // The first time it counts what the answers are of, then whether it is another.
      if (before[0] ? `${before}` === `${heard}` : !isOld()) return;
      // What a poll was told says nothing of a canary, by which this visitor may be answered.
      old = canary ? [release, ...before] : [];
      due = digest;
      void again();
    },
    online() {
      if (problem) void again();
    },
    close() {
      closed = true;
      retry.stop();
    },
  };
}
