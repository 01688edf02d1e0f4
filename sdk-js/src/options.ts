// What a page said, turned once into what it means. What is wrong is said on the console and replaced: nothing here throws.

import { asks, isEntry } from "./decision.js";
import type { WireEntry } from "./engine.js";
import type { Ask, Bootstrap, Consent, Context, Options } from "./types.js";
import { parse } from "./store.js";
import type { Warn } from "./manners.js";
import { addresses } from "./transport.js";

/** The last is what is meant by whatever else is said: nothing is kept or told until it is clear. */
export const CONSENTS: readonly Consent[] = ["granted", "denied", "pending"];

export interface Meant extends Omit<Options, "bootstrap" | "placements"> {
  baseUrls: string[];
  context: Context;
  placements: Ask[];
  bootstrap?: Bootstrap & { placements: Ask[]; decisions: WireEntry[]; read: string[] };
  timeoutMs: number;
  consent: Consent;
  decidePath: string;
  eventsPath: string;
  /** The path of a neighbour of the one that decides. */
  beside(name: string): string;
}

export function meant(options: Options, warn: Warn): Meant {
  const wrong = (name: string, why: string) => warn(`option_${name}`, `option ${name} ${why}`);
  const said = { ...options };
  /** What was said, or the first; the last where it is none of them. */
  function one<T>(name: keyof Options, ...known: T[]): T {
    const value = (said[name] as T | undefined) ?? known[0];
    if (known.includes(value)) return value;
    wrong(name, `is none of ${known.slice(1)}`);
    return known[known.length - 1];
  }

  const baseUrls = addresses(said.baseUrl);
  if (!baseUrls.length) wrong("baseUrl", "is no https://…");

  const text = (value: unknown) => (value ? String(value) : undefined);
  const key = text(said.key);
  if (key && !key.startsWith("pk_")) wrong("key", "is no pk_…");
  const subject = text(said.subject);
  const start = bootstrap(said.bootstrap, subject);
  // A page that a cache kept for everybody has somebody else's.
  if (said.bootstrap && !start) wrong("bootstrap", "is of another version or person");
  const { decidePath = "/v1/browser/decide", eventsPath = "/v1/browser/events" } = said;
  const privacy = (globalThis.navigator as { globalPrivacyControl?: boolean } | undefined)?.globalPrivacyControl;
  return {
    ...said,
    baseUrls,
    key,
    subject,
    session: text(said.session),
    context: { ...start?.context, ...said.context },
    placements: asks(said.placements),
    bootstrap: start,
    timeoutMs: Number(said.timeoutMs) > 0 ? Number(said.timeoutMs) : 1000,
    // What the person said to this page counts for more than what the browser says to all.
    consent: one("consent", privacy ? "denied" : "granted", ...CONSENTS),
    storage: one("storage", "local", "memory", "local"),
    engine: one("engine", "remote", "local", "remote"),
    streaming: one("streaming", true, false, true),
    decidePath,
    eventsPath,
    beside: (name) => (name === "decide" ? decidePath : decidePath.replace(/[^/]*$/, name)),
  };
}

function bootstrap(said: Options["bootstrap"], subject: string | undefined): Meant["bootstrap"] {
  const found = typeof said === "string" ? parse(said) : said;
  const { v = 1, decisions, placements, read } = found ?? {};
  if (v !== 1 || !Array.isArray(decisions) || !decisions.every(isEntry) || (subject && found.subject !== subject)) return undefined;
  return { ...found, read: Array.isArray(read) ? read : [], placements: asks(placements ?? decisions.map((each) => each.placement)) };
}
