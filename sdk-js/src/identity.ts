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
  /** Who it is, and the session; asking is activity. */
  whom(): Required<Ids>;
  /** Somebody else from now on: the id, or none for somebody we do not know. */
  become(subject: string | undefined): void;
  /** What the visitor agreed to by now. */
  consent(to: Consent): void;
}

export interface Ids {
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

/**
 * `said` are ids that somebody else knows and keeps, `adopted` those by which a server decided for this page. `elsewhere` is called when
 * another page made the visitor somebody else, or took all ids back.
 */
export function identity(said: Ids, adopted: Ids, store: Store, agreed: Consent, elsewhere: (gone: boolean) => void): Identity {
  // Whose id a server said it knows as well: it is not ours to keep.
  let known: Ids = { subject: said.subject ?? adopted.subject, session: said.session };
  let state = agreed;
  let minted: Minted = {};
  /** What stands in the store as far as we know. */
  let kept: string | null = null;
  let written = 0;
  let looked = 0;

  // A clock that was set back or far ahead makes an id old, not immortal; what never was is not near.
  const near = (then: number | undefined, ms: number) => Math.abs(Date.now() - then!) < ms;

  function current(): Minted {
    const time = Date.now();
    // A page may track thousands in a moment.
    if (time === looked) return minted;
    looked = time;
    if (state === "granted" && follow()) elsewhere(false);
    if (!near(minted.since, SUBJECT_MS)) minted = { ...minted, subject: mint(), since: time };
    if (!near(minted.begun, SESSION_MS) || !near(minted.at, IDLE_MS)) minted = { ...minted, session: mint(), begun: time };
    minted.at = time;
    if (!near(written, TOUCH_MS)) write();
    return minted;
  }

  /** Goes on as whom another page wrote down, as far as that counts still; whether it is somebody else. */
  function follow(): boolean {
    const text = store.get(KEY);
    const before = minted.subject;
    if (text === kept) return false;
    kept = text;
    if (text === null) {
      elsewhere(true);
      return false;
    }
    const { subject, session, since, begun, at }: Minted = parse(text) ?? {};
    if (near(since, SUBJECT_MS)) minted = { ...minted, subject, since };
    if (near(begun, SESSION_MS) && near(at, IDLE_MS)) minted = { ...minted, session, begun, at };
    return !known.subject && before !== undefined && before !== minted.subject;
  }

  function write(): void {
    if (state !== "granted") return;
    written = Date.now();
    store.set(KEY, JSON.stringify(minted));
    // Where nothing can be kept, nothing is missed.
    kept = store.get(KEY);
  }

  function forget(): void {
    store.remove(KEY);
    kept = null;
  }

  function renew(): void {
    const at = Date.now();
    minted = { subject: mint(), session: mint(), since: at, begun: at, at };
    write();
  }

  if (agreed === "denied") forget();
  else if (adopted.session && current().session !== adopted.session) {
    minted = { ...minted, session: adopted.session, begun: Date.now() };
    write();
  }

  return {
    whom() {
      const { subject, session } = current();
      const given = state === "denied" ? {} : known;
      return { subject: given.subject || subject, session: given.session || session } as Required<Ids>;
    },
    become(next) {
      known = next ? { ...known, subject: next } : {};
      if (!next) renew();
    },
    consent(to) {
      // Nobody from here on is who they were on the other side.
      const crossed = to === "denied" || state === "denied";
      state = to;
      if (to !== "granted") forget();
      else follow();
      if (crossed) renew();
      else write();
    },
  };
}
