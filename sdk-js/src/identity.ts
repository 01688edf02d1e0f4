// Who the visitor is: the ids that were given, else minted ones, when those are replaced, and what of them is kept. Knows nothing of
// the network.

import { parse, type Store } from "./store.js";
import type { Consent } from "./types.js";

/** An anonymous id is replaced after 13 months. */
const SUBJECT_MS = 395 * 86_400_000;
/** A session ends after half an hour without activity, and after a day in any case. */
const IDLE_MS = 30 * 60_000;
const SESSION_MS = 86_400_000;
/** How often activity is written down. */
const TOUCH_MS = 10_000;

export interface Identity {
  subject(): string;
  /** The session; asking for it is activity. */
  session(): string;
  /** Somebody else from now on: the id, or none for somebody we do not know. */
  become(subject: string | undefined): void;
  /** What the visitor agreed to by now. */
  consent(to: Consent): void;
}

interface Ids {
  subject?: string;
  session?: string;
}

/** What was minted, and in milliseconds since 1970: when, and when it was last used. */
interface Minted extends Ids {
  since?: number;
  begun?: number;
  at?: number;
}

const KEY = "selvedge:ids";

/** 128 random bits as text. Not a UUID, because `randomUUID` is there on secure pages only, and slow to imitate. */
export function mint(): string {
  return crypto.getRandomValues(new Uint32Array(4)).reduce((text, part) => text + part.toString(36).padStart(7, "0"), "");
}

/** `given` are ids that somebody else knows and keeps; `adopted` are those that a server minted for this page. */
export function identity(given: Ids, adopted: Ids, store: Store, now: () => number, agreed: Consent): Identity {
  let known = given.subject;
  let state = agreed;
  let minted: Minted = {};
  let written = 0;

  function current(): Minted {
    const time = now();
    // A clock that was set back or far ahead makes an id old, not immortal.
    const near = (then = -Infinity, ms: number) => Math.abs(time - then) < ms;
    // Another page may have gone on.
    if (!near(minted.at, IDLE_MS) && state === "granted") minted = parse(store.get(KEY)) ?? minted;
    if (!near(minted.since, SUBJECT_MS)) minted = { ...minted, subject: mint(), since: time };
    if (!near(minted.begun, SESSION_MS) || !near(minted.at, IDLE_MS)) minted = { ...minted, session: mint(), begun: time };
    minted.at = time;
    if (state === "granted" && !near(written, TOUCH_MS)) {
      written = time;
      store.set(KEY, JSON.stringify(minted));
    }
    return minted;
  }

  function renew(ids: Ids): void {
    const time = now();
    minted = { subject: ids.subject ?? mint(), session: ids.session ?? mint(), since: time, begun: time, at: time };
    written = 0;
  }

  if (agreed === "denied") store.remove(KEY);
  if (adopted.subject && agreed !== "denied") renew({ session: current().session, ...adopted });

  return {
    subject: () => (state !== "denied" && known) || `${current().subject}`,
    session: () => (state !== "denied" && given.session) || `${current().session}`,
    become(next) {
      known = next;
      if (!next) renew({});
    },
    consent(to) {
      if (to === "denied") store.remove(KEY);
      // Nobody from here on is who they were on the other side.
      if (to === "denied" || state === "denied") renew({});
      state = to;
    },
  };
}
