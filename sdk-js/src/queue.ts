// What is to reach a node and did not yet: in memory, and in localStorage where that is allowed. Owns batches, retries, and what
// happens when the page is hidden, ends, or another one left something behind. A batch is what is stored, sent and removed as one.

import type { Failure } from "./engine.js";
import type { Store } from "./store.js";
import { backoff, json, type Transport } from "./transport.js";
import type { Consent } from "./types.js";
import type { Warn } from "./manners.js";

/** The most lines of a batch; what a beacon carries well. */
const BATCH_LINES = 25;
/** The most that waits: localStorage holds some five million characters for the whole origin. */
const QUEUE_CHARS = 3_000_000;
/** How long a line waits for others before it is written down and sent. */
const GATHER_MS = 200;

/** What travels, and where to. */
export interface Lane {
  /** In the keys of localStorage; never changes. */
  name: string;
  path: string;
  /** The member of the body that holds the lines. */
  member: string;
  /** The most characters of a batch, and so of a line: of events as many as cannot be more bytes than a node takes of one. */
  most: number;
  /** What they are called in a warning. */
  what: string;
  /** What to do where nothing answers. */
  hint: string;
}

export interface Queue {
  /** Takes one line of JSON. */
  push(line: string): void;
  /** Sends until nothing waits or something fails; whether nothing waits. */
  drain(): Promise<boolean>;
  consent(to: Consent): void;
  /** The page is hidden: written down, and sent without waiting for an answer. */
  hide(): void;
  /** It is seen again. */
  show(): void;
  /** The page is left, perhaps for good: what is written down belongs to whichever page comes next. */
  leave(): void;
  /** The page is there (again): takes over what others left. */
  arrive(): void;
}

type Timer = ReturnType<typeof setTimeout>;

interface Batch {
  key: string;
  lines: string[];
  chars: number;
  /** No more lines: it is being sent. */
  sealed: boolean;
  /** Not yet written down as it is. */
  dirty: boolean;
}

export function queue(lane: Lane, scope: string, store: Store, transport: Transport, agreed: Consent, id: () => string, warn: Warn): Queue {
  const nav = globalThis.navigator as Navigator | undefined;
  const prefix = `selvedge:${lane.name}:${scope}:`;
  let tab = id();
  let count = 0;
  let batches: Batch[] = [];
  let total = 0;
  let state = agreed;
  let writing: Timer | undefined;
  let sending: Timer | undefined;
  let hidden = false;
  let failures = 0;
  /** A refusal that the page cannot mend: what waits is kept for the next one. */
  let refused = false;
  let draining: Promise<boolean> | undefined;
  let letGo = () => {};

  if (agreed === "denied") clear();

  function batch(lines: string[], chars: number, sealed = false): void {
    total += chars;
    batches.push({ key: `${prefix}${tab}:${count++}`, lines, chars, sealed, dirty: true });
  }

  function write(): void {
    if (state !== "granted") return;
    // A line of JSON has no line end in it.
    for (const each of batches) if (each.dirty && store.set(each.key, each.lines.join("\n"))) each.dirty = false;
  }

  function remove(gone: Batch): void {
    if (!batches.includes(gone)) return;
    batches = batches.filter((each) => each !== gone);
    total -= gone.chars;
    store.remove(gone.key);
  }

  function clear(): void {
    for (const key of store.keys(prefix)) store.remove(key);
    batches = [];
    total = 0;
  }

  function body(of: Batch): string {
    return `{"${lane.member}":[${of.lines}],"sentAt":"${new Date().toISOString()}"}`;
  }

  function sendIn(ms: number): void {
    sending ??= setTimeout(() => {
      sending = undefined;
      void drain();
    }, ms);
  }

  function drain(): Promise<boolean> {
    draining ??= work().finally(() => {
      draining = undefined;
    });
    return draining;
  }

  async function work(): Promise<boolean> {
    while (batches.length && state === "granted" && !refused) {
      const first = batches[0];
      first.sealed = true;
      try {
        const taken = await transport.send(lane.path, { body: body(first) }, json("rejected"));
        failures = 0;
        told(taken.rejected);
        remove(first);
      } catch (error) {
        if (!settle(first, error as Failure)) return false;
      }
    }
    return batches.length === 0;
  }

  /** After a failure: whether to go on with the next batch. */
  function settle(first: Batch, failure: Failure): boolean {
    // A page whose decisions failed for the same reason was told.
    warn(failure.code, `${lane.what} are not sent: ${failure.message}${failure.code === "unreachable" ? lane.hint : ""}`);
    if (failure.passing) {
      clearTimeout(sending);
      sending = undefined;
      sendIn(backoff(failure, failures++));
      return false;
    }
    // It will not be taken as it is, now or ever.
    if (/^bad_(batch|json)$/.test(failure.code)) {
      remove(first);
      return true;
    }
    refused = true;
    return false;
  }

  function told(rejected: { code: string; message: string }[]): void {
    for (const { code, message } of rejected) warn(`rejected_${code}`, `rejected among the ${lane.what}: ${message}`);
  }

  /** Holds a lock as long as the page lives, by which others see that its batches are somebody's. */
  function hold(): void {
    nav?.locks?.request(`${prefix}${tab}`, () => new Promise<void>((done) => (letGo = done))).catch(() => {});
  }

  function adopt(): void {
    if (state !== "granted") return;
    const others = new Set(store.keys(prefix).map((key) => key.slice(0, key.lastIndexOf(":"))));
    for (const other of others) {
      if (other === `${prefix}${tab}`) continue;
      // Without locks a page that lives may be taken for gone: both send then, and the node counts once by the message id.
      if (!nav?.locks) take(other);
      else void nav.locks.request(other, { ifAvailable: true }, async (lock) => void (lock && take(other))).catch(() => {});
    }
  }

  function take(other: string): void {
    for (const key of store.keys(`${other}:`)) {
      const text = store.get(key);
      // Under a name of ours before it is gone under theirs: if the page ends in between, it is there twice and counted once.
      if (text) batch(text.split("\n"), text.length, true);
      write();
      store.remove(key);
    }
    sendIn(GATHER_MS);
  }

  return {
    drain,
    push(line) {
      if (state === "denied") return;
      const chars = line.length;
      if (chars > lane.most || total + chars > QUEUE_CHARS) {
        return warn("queue_full", `${lane.what} are dropped: too long, or too many that wait`);
      }
      const last = batches[batches.length - 1];
      if (last && !last.sealed && last.lines.length < BATCH_LINES && last.chars + chars <= lane.most) {
        last.lines.push(line);
        last.chars += chars;
        total += chars;
        last.dirty = true;
      } else {
        batch([line], chars);
      }
      sendIn(GATHER_MS);
      // The timers of a hidden page may sleep for a minute.
      if (hidden) return write();
      writing ??= setTimeout(() => {
        writing = undefined;
        write();
      }, GATHER_MS);
    },
    consent(to) {
      state = to;
      if (to === "denied") return clear();
      if (to === "granted") {
        write();
        adopt();
        sendIn(0);
      }
    },
    hide() {
      write();
      if (hidden) return;
      hidden = true;
      for (const each of batches) {
        if (state !== "granted" || refused) return;
        each.sealed = true;
        // It stays written down until a request was answered: a beacon tells nothing of its fate.
        if (!nav!.sendBeacon(transport.url(lane.path), body(each))) return;
      }
    },
    leave() {
      write();
      clearTimeout(writing);
      clearTimeout(sending);
      writing = sending = undefined;
      letGo();
      letGo = () => {};
    },
    arrive() {
      hidden = false;
      // Kept in a cache and shown again: another page may have taken over what was written down.
      batches = batches.filter((each) => each.dirty);
      total = batches.reduce((sum, each) => sum + each.chars, 0);
      tab = id();
      hold();
      adopt();
      if (batches.length) sendIn(GATHER_MS);
    },
    show() {
      hidden = false;
    },
  };
}
