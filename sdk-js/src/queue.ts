// What is to reach a node and did not yet: in memory, and in localStorage where that is allowed. Owns batches, retries, and what
// happens when the page is hidden, ends, or another one left something behind. A batch is what is stored, sent and removed as one.

import type { Failure } from "./engine.js";
import type { Store } from "./store.js";
import { backoff, json, type Transport } from "./transport.js";
import type { Consent } from "./types.js";
import { isoTime, timer, type Warn } from "./manners.js";

/** The most lines of a batch: a node takes no more records at once. */
const BATCH_LINES = 100;
/** The most that waits: localStorage holds some five million characters for the whole origin. */
const QUEUE_CHARS = 3_000_000;
/** What blocks trackers blocks a path that looks like one. */
const HINT = "; see eventsPath";
/** How long a line waits for others before it is written down and sent. */
const GATHER_MS = 200;

/** What travels, and where to. */
export interface Lane {
  /** What they are called, in a warning as in the keys of localStorage; never changes. */
  what: string;
  path: string;
  /** The member of the body that holds the lines. */
  member: string;
  /** The most characters of a batch, and so of a line: a beacon carries 64 KiB, and a letter may be three bytes. */
  most: number;
}

export interface Queue {
  /** Takes one line of JSON. */
  push(line: string): void;
  /** Writes down what waits, and sends until nothing does or something fails; whether nothing waits. */
  drain(): Promise<boolean>;
  /** The visitor agreed to something else; `as` says what a line of before is now. */
  consent(to: Consent, as: (line: string) => string): void;
  /** The page is seen, or hidden from now on: then all is written down, and sent without waiting for an answer. */
  seen(is: boolean): void;
  /** The page is left, perhaps for good: what is written down belongs to whichever page comes next. */
  leave(): void;
  /** The page is there (again): takes over what others left. */
  arrive(): void;
}

interface Batch {
  /** Where it is written down; of one that another page left, where that one did. */
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
  const locks = nav?.locks;
  const prefix = `selvedge:${lane.what}:${scope}:`;
  const writing = timer(write);
  const sending = timer(drain);
  let tab: string;
  let count = 0;
  let batches: Batch[] = [];
  let state = agreed;
  let hidden = false;
  let failures = 0;
  /** A refusal that the page cannot mend: what waits is kept for the next one. */
  let refused = false;
  let draining: Promise<boolean> | undefined;
  /** Settled when the page is left: so long others see by locks that its batches are somebody's. */
  let here: Promise<void> | undefined;
  let letGo = () => {};

  if (agreed === "denied") clear();

  function add(key: string, lines: string[], chars: number, sealed: boolean): void {
    batches.push({ key, lines, chars, sealed, dirty: !sealed });
  }

  function write(): void {
    if (state !== "granted") return;
    // A line of JSON has no line end in it.
    for (const each of batches) if (each.dirty) each.dirty = !store.set(each.key, each.lines.join("\n"));
  }

  function remove(gone: Batch): void {
    batches = batches.filter((each) => each !== gone);
    store.remove(gone.key);
  }

  function clear(): void {
    for (const key of store.keys(prefix)) store.remove(key);
    batches = [];
  }

  function body(of: Batch): string {
    return `{"${lane.member}":[${of.lines}],"sentAt":"${isoTime()}"}`;
  }

  function drain(): Promise<boolean> {
    write();
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
        const { rejected, detached = [] } = await transport.send(lane.path, { body: body(first) }, json("rejected"));
        failures = 0;
        // Refused, or taken without its decision.
        for (const { code, message } of [...rejected, ...detached]) warn(`${lane.what}_${code}`, `wrong ${lane.what}: ${message}`);
        remove(first);
      } catch (error) {
        const { code, message, passing } = error as Failure;
        // A page whose decisions failed for the same reason was told.
        warn(code, `${lane.what} are not sent: ${message}${code === "unreachable" ? HINT : ""}`);
        if (/^bad_(batch|json)$/.test(code)) {
          // It will not be taken as it is, now or ever.
          remove(first);
          continue;
        }
        refused = !passing;
        if (passing) {
          sending.stop();
          sending.start(backoff(error as Failure, failures++));
        }
        return false;
      }
    }
    return batches.length === 0;
  }

  function adopt(): void {
    if (state !== "granted") return;
    const until = here;
    for (const other of new Set(store.keys(prefix).map((key) => key.slice(0, key.lastIndexOf(":"))))) {
      if (other === prefix + tab) continue;
      // Without locks a page that lives may be taken for gone: both send then, and the node counts once by the message id.
      if (!locks) take(other);
      else
        locks
          .request(other, { ifAvailable: true }, (lock) => {
            if (!lock || until !== here) return;
            take(other);
            return until;
          })
          .catch(() => {});
    }
  }

  /** Takes over what is written down under a page's name; it stays there until it is sent. */
  function take(other: string): void {
    for (const key of store.keys(`${other}:`)) {
      const text = store.get(key);
      if (text && !batches.some((each) => each.key === key)) add(key, text.split("\n"), text.length, true);
    }
    sending.start(GATHER_MS);
  }

  /** Sends without waiting for an answer; whether it is on its way. */
  function beacon(text: string): boolean {
    const url = transport.url(lane.path);
    try {
      if (nav?.sendBeacon) return nav.sendBeacon(url, text);
      // Some browsers have none, and some extensions take it away.
      fetch(url, { method: "POST", body: text, keepalive: true, credentials: "omit" }).catch(() => {});
      return true;
    } catch {
      return false;
    }
  }

  return {
    drain,
    push(line) {
      if (state === "denied") return;
      const chars = line.length;
      const last = batches[batches.length - 1];
      if (last && !last.sealed && last.lines.length < BATCH_LINES && last.chars + chars <= lane.most) {
        last.lines.push(line);
        last.chars += chars;
        last.dirty = true;
      } else {
        const waiting = batches.reduce((sum, each) => sum + each.chars, chars);
        if (chars > lane.most || waiting > QUEUE_CHARS) return warn("queue_full", `${lane.what} are dropped: too much`);
        add(`${prefix}${tab}:${count++}`, [line], chars, false);
      }
      sending.start(GATHER_MS);
      // The timers of a hidden page may sleep for a minute. What is told in one moment is written once.
      if (hidden) queueMicrotask(write);
      else writing.start(GATHER_MS);
    },
    consent(to, as) {
      state = to;
      if (to === "denied") return clear();
      for (const each of batches) {
        each.lines = each.lines.map(as);
        each.dirty = true;
        if (to === "pending") store.remove(each.key);
      }
      if (to === "granted") {
        write();
        adopt();
        sending.start(0);
      }
    },
    seen(is) {
      write();
      if (is !== hidden) return;
      hidden = !is;
      if (is || state !== "granted" || refused) return;
      for (const each of batches) {
        each.sealed = true;
        // It stays written down until a request was answered: a beacon tells nothing of its fate.
        if (!beacon(body(each))) return;
      }
    },
    leave() {
      write();
      writing.stop();
      sending.stop();
      letGo();
      here = undefined;
    },
    arrive() {
      hidden = false;
      // Kept in a cache and shown again: another page may have taken over what was written down.
      batches = batches.filter((each) => each.dirty);
      tab = id();
      const until = (here = new Promise<void>((done) => (letGo = done)));
      locks?.request(prefix + tab, () => until).catch(() => {});
      adopt();
      if (batches.length) sending.start(GATHER_MS);
    },
  };
}
